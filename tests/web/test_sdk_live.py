"""Two clients of the SDK in one Node process hold a call with a real server, and are cut in the middle."""

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from server.context import Context
from server.demo.seed import FAN_TOKENS as DEMO_FAN_TOKENS
from server.demo.users import CREATOR, FANS, DemoUser
from tests.server.peers.absent import leave_out
from tests.server.peers.node import INSTALL_SECONDS_MAX, MODULES
from tests.support.clients import go_live, token_of
from tests.support.lifeline import tied
from tests.support.npm import install_modules
from tests.support.processes import ServerProcess, run_command
from tests.support.servers import add_creator, add_fan, online
from tests.web.node import SDK, require_node, run_node

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parent / "sdk" / "live.mjs"
SECONDS_MAX = 120
FAN_TOKENS = 100
RATE_TOKENS_PER_MIN = 60  # with blocks of one second, one token a block
TIP_TOKENS = 5
TOKEN_SECONDS = 4


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the script, beside the modules that it loads."""
    require_node()
    directory = tmp_path_factory.mktemp("live")
    if (missing := install_modules(directory, MODULES, INSTALL_SECONDS_MAX)) is not None:
        leave_out(missing)
    return Path(shutil.copy(SCRIPT, directory))


async def hold_call(context: Context, script: Path, protocol: str) -> dict[str, Any]:
    fan, creator = await add_fan(context, FAN_TOKENS), await add_creator(context, RATE_TOKENS_PER_MIN)
    settings = {
        "sdk": str(SDK / "halfminute.js"),
        "url": f"http://127.0.0.1:{context.http_port}",
        "websocketPort": context.websocket_port,
        "fan": token_of(fan),
        "creator": token_of(creator),
        "creatorId": str(creator),
        "protocol": protocol,
    }
    run = partial(run_node, script, json.dumps(settings), seconds=SECONDS_MAX, cwd=script.parent)
    held: dict[str, Any] = json.loads(await trio.to_thread.run_sync(run))
    return held


@pytest.mark.parametrize("protocol", ["json", "msgpack"])
async def test_a_call_goes_on_when_both_clients_are_cut_in_the_middle(
    context: Context, script: Path, protocol: str
) -> None:
    held = await hold_call(context, script, protocol)
    assert held["resumed"] == [True, True] and held["lost"] == []
    for side in (held["fan"], held["creator"]):
        seqs = side["seqs"]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), "each event once and in order"
        assert side["errors"] == [] and "lost" not in side["types"]
        assert side["tips"] == 1 and side["reason"] == "hangup"
        assert side["blocks"] == list(range(1, len(side["blocks"]) + 1)) and len(side["blocks"]) >= 4
    receipt = held["receipt"]
    assert receipt["blocks"] == receipt["tokens"] == len(held["fan"]["blocks"])
    assert receipt["balance"] == FAN_TOKENS - TIP_TOKENS - receipt["tokens"]
    assert 0 < held["after"] < held["before"] <= FAN_TOKENS


@pytest.mark.parametrize("refreshes", [True, False])
async def test_a_token_that_expires_is_replaced(context: Context, script: Path, refreshes: bool) -> None:
    owner, viewer = await add_creator(context, RATE_TOKENS_PER_MIN), await add_fan(context, 0)
    async with online(context, owner) as owners:
        stream = await trio.to_thread.run_sync(go_live, owners)
        settings = {
            "sdk": str(SDK / "halfminute.js"),
            "url": f"http://127.0.0.1:{context.http_port}",
            "channel": stream["channel"],
            "first": token_of(viewer, ttl_seconds=TOKEN_SECONDS),
            "later": token_of(viewer),
            "refreshes": refreshes,
            "milliseconds": 2000 * TOKEN_SECONDS,
        }
        program = shutil.copy(SCRIPT.with_name("live_tokens.mjs"), script.parent)
        run = partial(run_node, program, json.dumps(settings), seconds=SECONDS_MAX, cwd=script.parent)
        held = json.loads(await trio.to_thread.run_sync(run))
    assert held["seen"][-1] == "chat:new"
    if refreshes:
        assert held["states"] == ["connecting", "connected"] and held["reasons"] == ["connect", "expiring"]
        assert "lost" not in held["seen"]
    else:
        assert held["states"] == ["connecting", "connected", "waiting", "connecting", "connected"]
        assert held["reasons"] == ["connect", "expiring", "unauthenticated"]
        assert held["seen"][:3] == ["access:revoked", "lost", "room:joined"]


def token(server: ServerProcess, user: DemoUser) -> str:
    words = "token", "--sub", str(user.user_id), "--data", str(server.data_dir)
    return run_command(*words, cwd=server.data_dir.parent).out.strip()


def hold_over_a_restart(server: ServerProcess, script: Path) -> dict[str, Any]:
    """Hold a call of the demo users, and kill and start the server when the script asks for it."""
    settings = {
        "sdk": str(SDK / "halfminute.js"),
        "url": f"http://127.0.0.1:{server.http_port}",
        "websocketPort": server.websocket_port,
        "fan": token(server, FANS[0]),
        "creator": token(server, CREATOR),
        "creatorId": str(CREATOR.user_id),
        "protocol": "json",
        "restarts": True,
    }
    command = ["node", str(script), json.dumps(settings)]
    with subprocess.Popen(command, cwd=script.parent, stdout=subprocess.PIPE, text=True, preexec_fn=tied()) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "restart\n"
            server.kill()
            server.start()
            held: dict[str, Any] = json.loads(process.communicate(timeout=SECONDS_MAX)[0])
        finally:
            process.kill()
    return held


def test_a_call_goes_on_after_the_server_was_killed(tmp_path: Path, script: Path) -> None:
    with ServerProcess(tmp_path / "data", "--demo", settings={"HALFMINUTE_CALLS_BLOCK_SECONDS": "1"}) as server:
        held = hold_over_a_restart(server, script)
    assert held["resumed"] == [False, False], "sessions end with their server"
    for side in (held["fan"], held["creator"]):
        lost = side["types"].index("lost")
        assert "room:joined" in side["types"][lost:], "the room was joined again"
        assert side["tips"] <= 1 and side["reason"] == "hangup"
        assert side["blocks"] == list(range(1, len(side["blocks"]) + 1)) and len(side["blocks"]) >= 4
    receipt = held["receipt"]
    assert receipt["blocks"] == receipt["tokens"] == len(held["fan"]["blocks"])
    assert receipt["balance"] == DEMO_FAN_TOKENS - TIP_TOKENS - receipt["tokens"], "the tip moved once"
