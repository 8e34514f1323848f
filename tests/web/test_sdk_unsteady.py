"""Clients of the SDK behind a proxy that delays and breaks connections, and clients whose server restarts.

Each viewer's application sees every event of each room once and in order, or is told of a loss; each tip moves once.
"""

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio

from domain.ids import UserId
from server.context import Context
from tests.server.peers.absent import leave_out
from tests.server.peers.chromium import CHROMIUM
from tests.server.peers.node import INSTALL_SECONDS_MAX, MODULES
from tests.support.clients import Phone, go_live, token_of
from tests.support.lifeline import tied
from tests.support.npm import install_modules
from tests.support.processes import ServerProcess, run_command
from tests.support.servers import add_creator, add_fan, online
from tests.web import viewers_scenes
from tests.web.browser import play
from tests.web.node import SDK, require_node, run_node
from tests.web.unsteady_proxy import UnsteadyProxy, unsteady_proxy

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).parent / "sdk"
ROOMS = 3
VIEWERS, ROUNDS = 100, 2  # 200 histories
UNSTEADY_SECONDS = 8.0
LINE_SECONDS = 0.7  # between two lines of an owner, which the limit of chat allows
SECONDS_MAX = 110
VIEWER_TOKENS = 100
STORM_CLIENTS = 1000
STORM_SECONDS_MIN = 5.0

Watch = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the scripts beside the modules that they load."""
    require_node()
    directory = tmp_path_factory.mktemp("unsteady")
    if (missing := install_modules(directory, MODULES, INSTALL_SECONDS_MAX)) is not None:
        leave_out(missing)
    for name in ("viewers.mjs", "viewers_in_node.mjs", "storm.mjs"):
        shutil.copy(SCRIPTS / name, directory)
    return directory


async def watch_unsteadily(context: Context, chance: random.Random, watch: Watch) -> None:
    """Let viewers watch and tip through the proxy, and check what they saw and paid."""
    creators = [await add_creator(context, 60) for _ in range(ROOMS)]
    viewers = [await add_fan(context, VIEWER_TOKENS) for _ in range(VIEWERS)]
    async with (
        online(context, creators[0]) as first,
        online(context, creators[1]) as second,
        online(context, creators[2]) as third,
        unsteady_proxy(context.websocket_port, chance) as proxy,
        trio.open_nursery() as nursery,
    ):
        owners = [first, second, third]
        streams = [await trio.to_thread.run_sync(go_live, owner) for owner in owners]
        channels = [stream["channel"] for stream in streams]
        for owner, channel in zip(owners, channels, strict=True):
            await trio.to_thread.run_sync(owner.ask, {"type": "room:join", "channel": channel})
            nursery.start_soon(write_lines, owner, channel, proxy)
        settings = {
            "url": f"http://127.0.0.1:{context.http_port}",
            "websocketUrl": f"ws://127.0.0.1:{proxy.port}/ws",
            "tokens": [token_of(viewer) for viewer in viewers],
            "channels": channels,
        }
        seen = await trio.to_thread.run_sync(watch, settings)
        nursery.cancel_scope.cancel()
    assert min(proxy.ends.values()) > 3, proxy.ends
    for each in seen:
        await check_viewer(context, each)


async def write_lines(owner: Phone, channel: str, proxy: UnsteadyProxy) -> None:
    """Write lines until all viewers have been there for a while, and then the last line again and again."""
    while proxy.carried < VIEWERS:
        await write(owner, channel, "a line")
    with trio.move_on_after(UNSTEADY_SECONDS):
        while True:
            await write(owner, channel, "a line")
    proxy.steady()
    while True:
        await write(owner, channel, "the end")


async def write(owner: Phone, channel: str, text: str) -> None:
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(owner.ask_ok, {"type": "chat:send", "channel": channel, "text": text})
    await trio.sleep(LINE_SECONDS)  # the limit of chat


async def check_viewer(context: Context, seen: dict[str, Any]) -> None:
    for records in seen["records"]:
        check_order(records)
    assert set(seen["tips"]) <= {"booked"}, seen
    row = await context.postgres.fetchrow("SELECT balance FROM wallets WHERE id = $1", UserId(UUID(seen["userId"])))
    assert row is not None
    assert row["balance"] == VIEWER_TOKENS - len(seen["tips"]), "each tip moved once"


def check_order(records: list[dict[str, Any]]) -> None:
    """Numbers follow one another from the answer to a join on; `lost` comes before they begin anew."""
    expected: int | None = None
    for record in records:
        seq = record.get("seq")
        if record["type"] == "room:joined":
            expected = record["seq"] + 1
        elif record["type"] == "lost":
            expected = None
        elif seq is not None:
            assert expected is not None, ("an event of a lost room", records)
            assert seq == expected, ("out of order", record, expected, records)
            expected = seq + 1
    assert records[-1]["type"] != "closed too early", records


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_viewers_in_node_see_each_event_once_or_know_of_the_loss(
    context: Context, scripts: Path, seed: int
) -> None:
    def watch(settings: dict[str, Any]) -> list[dict[str, Any]]:
        given = json.dumps(settings | {"sdk": str(SDK / "halfminute.js")})
        seen: list[dict[str, Any]] = json.loads(
            run_node(scripts / "viewers_in_node.mjs", given, seconds=SECONDS_MAX, cwd=scripts)
        )
        return seen

    await watch_unsteadily(context, random.Random(seed), watch)


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_viewers_in_chromium_see_each_event_once_or_know_of_the_loss(
    context: Context, tmp_path: Path, seed: int
) -> None:
    if not CHROMIUM.exists():
        leave_out(f"there is no {CHROMIUM}")
    out = tmp_path / "seen.json"

    def watch(settings: dict[str, Any]) -> list[dict[str, Any]]:
        play(viewers_scenes.watch, url=settings["url"], out=str(out), settings=settings)
        seen: list[dict[str, Any]] = json.loads(out.read_text())
        return seen

    await watch_unsteadily(context, random.Random(100 + seed), watch)


def test_a_thousand_clients_return_spread_over_time(tmp_path: Path, scripts: Path) -> None:
    with ServerProcess(
        tmp_path / "data", settings={"HALFMINUTE_WEBSOCKET_SESSIONS_PER_USER": str(STORM_CLIENTS)}
    ) as server:
        words = "token", "--sub", "01900000-0000-7000-8000-000000000001", "--data", str(server.data_dir)
        token = run_command(*words, cwd=server.data_dir.parent).out.strip()
        url = f"http://127.0.0.1:{server.http_port}"
        settings = {"sdk": str(SDK / "halfminute.js"), "url": url, "token": token, "clients": STORM_CLIENTS}
        command = ["node", str(scripts / "storm.mjs"), json.dumps(settings)]
        with subprocess.Popen(command, cwd=scripts, stdout=subprocess.PIPE, text=True, preexec_fn=tied()) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "restart\n"
                server.kill()
                server.start()
                seen = json.loads(process.communicate(timeout=SECONDS_MAX)[0])
            finally:
                process.kill()
    times = sorted(time / 1000 for time in seen["times"])
    print(f"back after {times[0]:.1f} to {times[-1]:.1f} s, {sum(seen['attempts']) / STORM_CLIENTS:.1f} attempts each")
    assert len(times) == STORM_CLIENTS
    assert times[-1] - times[0] >= STORM_SECONDS_MIN
