"""Attacks on a server's websockets, each with the close code that the contract has for it."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio

from server.broadcast.codec import Encoding
from server.loadtest.client.frames import BINARY, TEXT, masked_frame
from tests.torture.raw import (
    ABNORMAL_CLOSURE,
    Raw,
    Target,
    raw_member,
    raw_session,
    raw_websocket,
    until_hung_up,
)

DRIBBLE_SECONDS = 0.05  # between two bytes
FRAME_BYTES_MAX = 65_536  # the server's default
FRAGMENT = 0x00  # the opcode of a continuation frame
MASK = 0x80
HANDSHAKE = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
ENDLESS = 100_000  # times: far more than a server accepts
AT_ONCE = 50  # frames in one write
SIGNAL_BYTES = 16_385
NESTING = 20_000  # brackets: each frame is below the limit
JOINS = 100  # as many as are answered at once; each answer has the room's whole history
UNREAD_SECONDS = 1.5  # less than `close_seconds`


async def dribble_a_handshake(target: Target, _: Encoding) -> int | None:
    """Send a handshake slowly, and never its last byte."""
    stream = await trio.open_tcp_stream("127.0.0.1", target.port)
    async with stream:
        with until_hung_up():
            for byte in HANDSHAKE + b"X: " + b"x" * 1000:
                await stream.send_all(bytes((byte,)))
                await trio.sleep(DRIBBLE_SECONDS)
            raise AssertionError("the server waits for ever")
    return ABNORMAL_CLOSURE


async def send_nothing(target: Target, _: Encoding) -> int | None:
    """Open a connection and send nothing."""
    async with await trio.open_tcp_stream("127.0.0.1", target.port) as stream:
        assert await stream.receive_some(100) == b""
    return ABNORMAL_CLOSURE


async def request_another_protocol(target: Target, _: Encoding) -> int | None:
    async with await trio.open_tcp_stream("127.0.0.1", target.port) as stream:
        with until_hung_up():
            await stream.send_all(random.randbytes(1000) + b"\r\n\r\n")
            while await stream.receive_some(1000):
                pass
    return ABNORMAL_CLOSURE


async def never_open_a_session(target: Target, encoding: Encoding) -> int | None:
    async with raw_websocket(target, encoding) as raw:
        return await raw.end()


async def answer_no_ping(target: Target, encoding: Encoding) -> int | None:
    """Join a room, read, and never answer a ping."""
    async with raw_member(target, encoding) as raw:
        return await raw.end()


async def vanish_half_way(target: Target, encoding: Encoding) -> int | None:
    """Stop reading and writing; what the kernel received shows how the connection ended."""
    async with raw_session(target, encoding) as raw:
        raw.read_little()
        await trio.sleep(2 * PING_TIMEOUT_SECONDS)
        return await raw.end()


async def reset_in_mid_frame(target: Target, encoding: Encoding) -> int | None:
    async with raw_member(target, encoding) as raw:
        frame = raw.frame({"type": "chat:send", "channel": target.channel, "text": "never finished"})
        await raw.send(frame[: random.randrange(1, len(frame))])
        raw.reset()
    return ABNORMAL_CLOSURE


async def send_one_byte_too_many(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        size = FRAME_BYTES_MAX + 1
        head = bytes((0x80 | _opcode(encoding), MASK | 127)) + size.to_bytes(8, "big") + bytes(4)
        with until_hung_up():
            await raw.send(head + b"x" * size)
        return await raw.end()


async def never_end_a_message(target: Target, encoding: Encoding) -> int | None:
    """Send a message in fragments of a kilobyte each."""
    return await _fragments_without_end(target, encoding, b"x" * 1024)


async def never_end_an_empty_message(target: Target, encoding: Encoding) -> int | None:
    """Send empty fragments, which no limit of bytes stops."""
    return await _fragments_without_end(target, encoding, b"")


async def _fragments_without_end(target: Target, encoding: Encoding, payload: bytes) -> int | None:
    async with raw_session(target, encoding) as raw:
        await raw.send(_fragment(_opcode(encoding), payload))
        return await _repeat(raw, _fragment(FRAGMENT, payload))


async def ping_without_end(target: Target, encoding: Encoding) -> int | None:
    """Send pings of the websocket protocol without end, and read all answers."""
    async with raw_session(target, encoding) as raw:
        return await _repeat(raw, masked_frame(0x9, b"?"))


async def send_garbage(target: Target, encoding: Encoding) -> int | None:
    """Send bytes with reserved bits where a frame should begin."""
    async with raw_session(target, encoding) as raw:
        with until_hung_up():
            await raw.send(b"\xf3" + random.randbytes(500))
        return await raw.end()


async def send_invalid_text(target: Target, _: Encoding) -> int | None:
    """Send a text that is not UTF-8 in its second fragment."""
    async with raw_session(target, Encoding.JSON) as raw:
        with until_hung_up():
            await raw.send(_fragment(TEXT, b'{"type": "\xc3') + masked_frame(0, b'("}'))
        return await raw.end()


async def send_unmasked(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        with until_hung_up():
            await raw.send(bytes((0x80 | _opcode(encoding), 2)) + b"{}")
        return await raw.end()


async def nest_deeply(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        await raw.send(_nested(encoding))
        return await raw.end()


async def flood_with_messages(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        return await _repeat(raw, raw.frame({"type": "chat:send", "channel": target.channel, "text": "flood"}))


async def join_and_leave_without_end(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        join, leave = (raw.frame({"type": kind, "channel": target.channel}) for kind in ("room:join", "room:leave"))
        return await _repeat(raw, join + leave)


async def read_too_late(target: Target, encoding: Encoding) -> int | None:
    """Read too slowly; the last bytes that are read contain the close code."""
    async with raw_member(target, encoding) as raw:
        await _ask_for_more_than_may_wait(raw, target)
        await trio.sleep(UNREAD_SECONDS)
        return await raw.end()


async def never_read(target: Target, encoding: Encoding) -> int | None:
    """Never read, for longer than the server waits for a Close frame."""
    async with raw_member(target, encoding) as raw:
        await _ask_for_more_than_may_wait(raw, target)
        await trio.sleep(2 * IMPATIENCE["close_seconds"])
        return await raw.end()


async def _ask_for_more_than_may_wait(raw: Raw, target: Target) -> None:
    raw.read_little()
    with until_hung_up():
        await raw.send(raw.frame({"type": "room:join", "channel": target.channel}) * JOINS)


async def send_a_signal_too_large(target: Target, encoding: Encoding) -> int | None:
    """Send a signal that is too large; it is refused, and the connection remains open."""
    async with raw_session(target, encoding) as raw:
        joined = await raw.ask("room:join", channel=target.channel)
        signal = {"channel": target.channel, "to": joined["members"][0]["memberId"], "data": "x" * SIGNAL_BYTES}
        assert (await raw.ask("signal:send", **signal))["error"] == "VALIDATION_FAILED"
        return await raw.hang_up()


async def idle_until_the_token_expires(target: Target, encoding: Encoding) -> int | None:
    """Stay idle until the token expires."""
    async with raw_websocket(target, encoding) as raw:
        await raw.send_command("session:open", token=target.token(ttl_seconds=2))
        return await raw.end()


class Attack(NamedTuple):
    """An attack, and how the server may end it: with a close code, or without a Close frame."""

    begin: Callable[[Target, Encoding], Awaitable[int | None]]
    ends: tuple[int | None, ...]

    @property
    def name(self) -> str:
        return self.begin.__name__


ATTACKS = (
    Attack(dribble_a_handshake, (ABNORMAL_CLOSURE,)),
    Attack(send_nothing, (ABNORMAL_CLOSURE,)),
    Attack(request_another_protocol, (ABNORMAL_CLOSURE,)),
    Attack(never_open_a_session, (4408,)),
    Attack(answer_no_ping, (4002,)),
    Attack(vanish_half_way, (4002,)),
    Attack(reset_in_mid_frame, (ABNORMAL_CLOSURE,)),
    Attack(send_one_byte_too_many, (1009,)),
    Attack(never_end_a_message, (1009,)),
    Attack(never_end_an_empty_message, (1009,)),
    Attack(ping_without_end, (4429,)),
    Attack(send_garbage, (1002,)),
    Attack(send_invalid_text, (1007,)),
    Attack(send_unmasked, (1002,)),
    Attack(nest_deeply, (4002, 4400)),  # JSON is refused by name; its sender answers no ping and is closed later
    Attack(flood_with_messages, (4429,)),
    Attack(join_and_leave_without_end, (4429, 4001)),  # many answers are sent at once, each with the whole history
    Attack(read_too_late, (4001, ABNORMAL_CLOSURE)),  # on a busy machine it may read later than the server waits
    Attack(never_read, (4001, ABNORMAL_CLOSURE)),  # the kernel may still accept the Close frame
    Attack(send_a_signal_too_large, (1000,)),
    Attack(idle_until_the_token_expires, (4401,)),
)

# Settings of the server with which a round of all attacks is over within seconds.
PING_TIMEOUT_SECONDS = 4
IMPATIENCE = {
    "handshake_seconds": 2,
    "open_seconds": 2,
    "heartbeat_seconds": 1,
    "ping_timeout_seconds": PING_TIMEOUT_SECONDS,
    "presence_seconds": 3,
    "party_heartbeat_seconds": 1,
    "session_seconds": 2,
    "close_seconds": 3,
    "outbox_bytes": 65_536,
    "send_buffer_bytes": 4096,
}


async def attack_from_all_sides(target: Target) -> dict[str, int | None]:
    """Run every attack once in each subprotocol, all at the same time; return those that ended unexpectedly."""
    surprises: dict[str, int | None] = {}

    async def begin(attack: Attack, encoding: Encoding) -> None:
        ended = await attack.begin(target, encoding)
        if ended not in attack.ends:
            surprises[f"{attack.name} in {encoding.value}"] = ended

    async with trio.open_nursery() as nursery:
        for attack in ATTACKS:
            for encoding in Encoding:
                nursery.start_soon(partial(begin, attack, encoding))
    return surprises


async def _repeat(raw: Raw, data: bytes) -> int | None:
    """Send the bytes repeatedly while another task reads; return how the connection ends."""
    ended: list[int | None] = []

    async def read_to_the_end(sending: trio.CancelScope) -> None:
        ended.append(await raw.end())
        sending.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_to_the_end, nursery.cancel_scope)
        with until_hung_up():
            for _ in range(ENDLESS // AT_ONCE):
                await raw.send(data * AT_ONCE)
                await trio.lowlevel.checkpoint()
    return ended[0]


def _opcode(encoding: Encoding) -> int:
    return TEXT if encoding is Encoding.JSON else BINARY


def _fragment(first_byte: int, payload: bytes) -> bytes:
    """Return a frame like `masked_frame`, without FIN."""
    whole = masked_frame(first_byte, payload)
    return bytes((first_byte,)) + whole[1:]


def _nested(encoding: Encoding) -> bytes:
    if encoding is Encoding.JSON:
        return masked_frame(TEXT, b'{"type": "signal:send", "data": ' + b"[" * NESTING + b"]" * NESTING + b"}")
    return masked_frame(BINARY, b"\x82\xa4type\xabsignal:send\xa4data" + b"\x91" * NESTING + b"\x00")
