"""npm's `ws` as a client: handshake, session, call, resume and every close code, as an independent peer sees them."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from server.context import Context
from tests.server.peers.absent import leave_out
from tests.server.peers.node import INSTALL_SECONDS_MAX, MODULES, SCRIPT, NodeSocket
from tests.server.peers.phone import FIRST_BYTES_MAX, JSON, MSGPACK, PeerPhone, close_code_after
from tests.support.clients import ring_and_join, token_of
from tests.support.npm import install_modules
from tests.support.servers import add_creator, add_fan, running_server, settings, with_section

BOTH = pytest.mark.parametrize("protocol", [JSON, MSGPACK])

in_thread = trio.to_thread.run_sync


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return our script, beside the modules that it loads."""
    directory = tmp_path_factory.mktemp("node")
    if (missing := install_modules(directory, MODULES, INSTALL_SECONDS_MAX)) is not None:
        leave_out(missing)
    return Path(shutil.copy(SCRIPT, directory))


def phone_of(script: Path, context: Context, user_id: Any, protocol: str) -> PeerPhone:
    dial = partial(NodeSocket, script, context.websocket_port, protocols=[protocol])
    return PeerPhone(context, user_id, dial, protocol)


async def test_a_header_opens_a_session_and_pings_are_answered_both_ways(dsn: str, script: Path) -> None:
    wanted = with_section("websocket", heartbeat_seconds=0.1, ping_timeout_seconds=0.5, presence_seconds=1)

    def story(port: int) -> None:
        with NodeSocket(script, port, headers={"Authorization": f"Bearer {token_of(uuid4())}"}) as peer:
            assert peer.events.wait_for("message")["message"]["type"] == "session:ready"
            peer.order("ping", "are you there?")
            assert peer.events.wait_for("pong")["payload"] == "are you there?"
            for _ in range(10):  # together longer than a client that does not answer is waited for
                peer.events.wait_for("ping")
            peer.order("send", {"type": "ping", "ref": "still"})
            assert peer.events.wait_for("message")["message"] == {"type": "pong", "ref": "still"}

    async with running_server(dsn, wanted) as context:
        await in_thread(story, context.websocket_port)


@BOTH
async def test_both_parties_of_a_call_receive_the_same(context: Context, script: Path, protocol: str) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)

    def story() -> None:
        with phone_of(script, context, fan, protocol) as fans, phone_of(script, context, creator, protocol) as creators:
            ring = ring_and_join(fans, creators)
            for phone in (fans, creators):
                assert phone.wait_for("block:charged", blockNo=3)["tokens"] == 1
            assert fans.wait_for("wallet:changed")["cause"] == "block"
            creators.ask_ok({"type": "call:end", "callId": ring["callId"]})
            ends = [phone.wait_for("call:ended") for phone in (fans, creators)]
            assert ends[0] == ends[1]
            assert ends[0]["reason"] == "creator_ended" and ends[0]["tokens"] >= 2
            assert fans.positions == creators.positions

    await in_thread(story)


@BOTH
async def test_a_phone_whose_socket_breaks_resumes_with_all_it_missed(dsn: str, script: Path, protocol: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context:
        fan, creator = await add_fan(context, 100), await add_creator(context, 60)

        def story() -> None:
            with (
                phone_of(script, context, fan, protocol) as fans,
                phone_of(script, context, creator, protocol) as creators,
            ):
                ring = ring_and_join(fans, creators)
                fans.wait_for("block:charged", blockNo=1)
                fans.lose_network()
                for command in ("call:pause", "call:resume"):
                    creators.ask_ok({"type": command, "callId": ring["callId"]})
                creators.wait_for("call:resumed")
                fans.open(resume=True)
                assert (fans.ready["resumed"], fans.ready["lost"]) == (True, [])
                assert fans.ready["missed"][0]["count"] >= 2
                fans.wait_for("call:resumed")
                assert fans.positions == creators.positions

        await in_thread(story)


@pytest.mark.parametrize(
    ("order", "argument", "code"),
    [
        ("close", 1000, 1000),
        ("close", 4321, 4321),
        ("text", "no json", 4400),
        ("bytes", [0xC1], 4400),
        ("send", {"type": "session:open", "token": "x.y.z"}, 4401),
        ("send", {"type": "ping"}, 4401),
        ("text", "x" * FIRST_BYTES_MAX, 4400),
        ("text", "x" * (FIRST_BYTES_MAX + 1), 1009),
        ("text", "x" * (600 * FIRST_BYTES_MAX), 1009),
    ],
)
async def test_each_end_has_its_own_code(context: Context, script: Path, order: str, argument: Any, code: int) -> None:
    peer = NodeSocket(script, context.websocket_port)
    assert await in_thread(close_code_after, peer, order, argument) == code


async def test_compression_that_is_offered_is_declined(context: Context, script: Path) -> None:
    def story() -> None:
        with NodeSocket(script, context.websocket_port, deflate=True) as peer:
            assert peer.events.wait_for("open")["extensions"] == ""
            peer.order("send", {"type": "session:open", "token": token_of(uuid4())})
            assert peer.events.wait_for("message")["message"]["type"] == "session:ready"
            peer.order("send", {"type": "ping", "ref": "x" * 60, "more": "x" * 10_000})
            assert peer.events.wait_for("message")["message"] == {"type": "pong", "ref": "x" * 60}

    await in_thread(story)


@pytest.mark.parametrize("wrong", [{"path": "/ws?token=abc"}, {"protocols": ["soap"]}])
async def test_an_invalid_handshake_is_refused(context: Context, script: Path, wrong: dict[str, Any]) -> None:
    def story() -> str:
        with NodeSocket(script, context.websocket_port, **wrong) as peer:
            return str(peer.events.next()["message"])

    assert await in_thread(story) == "Unexpected server response: 400"
