"""Bounds on the memory of a websocket and on the requests of a user, over any number of connections."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from websockets.sync.client import connect

from server.close_codes import CloseCode
from server.context import Context
from tests.server.gateway.test_handshakes import KEY, UPGRADE
from tests.support.clients import PATIENCE_SECONDS, Phone, go_live, token_of
from tests.support.servers import add_creator, add_fan, online, running_server, with_section

FEW_KIB = 16 * 1024
PARKED_BYTES_MAX = 256 * 1024  # kernel buffers of both ends, and the bytes that were read


@asynccontextmanager
async def shaken_hands(context: Context) -> AsyncIterator[trio.SocketStream]:
    """Open a websocket without a session, for raw bytes."""
    stream = await trio.open_tcp_stream("127.0.0.1", context.websocket_port)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4_096)
    async with stream:
        await stream.send_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n")
        assert (await stream.receive_some(4_096)).startswith(b"HTTP/1.1 101")
        yield stream


async def test_a_first_message_of_more_than_a_few_kib_is_refused_as_too_large(context: Context) -> None:
    async with shaken_hands(context) as stream:
        await stream.send_all(frame_of(b"x" * FEW_KIB))
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await stream.receive_some(4_096))[2:4] == CloseCode.TOO_LARGE.to_bytes(2, "big")


async def test_nothing_is_read_after_a_first_message_while_the_user_is_looked_up(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = trio.Event()

    async def never(token: str) -> None:
        looking.set()
        await trio.sleep_forever()

    monkeypatch.setattr(context.authenticator, "identify", never)
    async with shaken_hands(context) as stream:
        await stream.send_all(frame_of(json.dumps({"type": "session:open", "token": "x"}).encode()))
        await looking.wait()
        sent = 0
        with trio.move_on_after(2):
            while True:
                sent += await stream.socket.send(frame_of(b"x" * 8_000))
        assert sent < PARKED_BYTES_MAX


def frame_of(payload: bytes) -> bytes:
    """Build a masked text frame; its zero mask changes nothing."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + bytes(4) + payload


async def test_a_session_open_of_a_few_kib_is_read_and_the_usual_frames_after_it(context: Context) -> None:
    fan = await add_fan(context, 0)

    def story() -> None:
        with connect(f"ws://127.0.0.1:{context.websocket_port}/ws", proxy=None) as websocket:
            points = [{"channel": "c" * 64, "epoch": 1, "seq": 1} for _ in range(32)]
            resume = {"sessionId": str(fan), "channels": points}
            websocket.send(json.dumps({"type": "session:open", "token": token_of(fan), "resume": resume}))
            websocket.send(json.dumps({"type": "ping", "ref": "r", "pad": "x" * 60_000}))
            kinds = [json.loads(websocket.recv(PATIENCE_SECONDS))["type"] for _ in range(2)]
            assert kinds == ["session:ready", "pong"]

    await trio.to_thread.run_sync(story)


async def test_the_money_limit_is_one_for_rest_and_all_websockets(dsn: str) -> None:
    wanted = with_section("limits", money_per_second=0.01, money_burst=10)
    async with running_server(dsn, wanted) as context:
        creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
        async with online(context, creator) as creators, online(context, fan) as first, online(context, fan) as second:
            stream = await trio.to_thread.run_sync(go_live, creators)
            await trio.to_thread.run_sync(tip_from_everywhere, [first, second], stream["channel"], str(creator))


def tip_from_everywhere(phones: list[Phone], channel: str, creator: str) -> None:
    paid, refusals = 0, []
    for phone in phones:
        assert phone.join(channel)["type"] == "room:joined"
    for number in range(8):
        for phone in phones:
            tip = {"type": "tip:send", "channel": channel, "amountTokens": 1, "key": f"{id(phone)}-{number}"}
            answer = phone.ask(tip)
            paid += answer["type"] == "ok"
            refusals += [answer] if answer["type"] == "error" else []
        sent = phones[0].http.post("/tips/send", json={"toCreatorId": creator, "amountTokens": 1})
        paid += sent.status_code == 200
        refusals += [sent.json()] if sent.status_code != 200 else []
    assert paid == 10
    fields = {"error", "message", "title", "status", "detail", "retryAfterSeconds"}
    assert {name: refusals[0][name] for name in fields} == {name: refusals[-1][name] for name in fields} | {
        "retryAfterSeconds": refusals[0]["retryAfterSeconds"]
    }
    assert all(refusal["error"] == "RATE_LIMITED" for refusal in refusals)
    assert phones[0].ask({"type": "chat:send", "channel": channel, "text": "hello"})["type"] == "ok"
