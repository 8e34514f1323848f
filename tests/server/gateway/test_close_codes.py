"""Each way to be disconnected has its own close code, in both subprotocols, which says whether to reconnect."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import trio

from server.broadcast.codec import Encoding
from server.close_codes import CloseCode
from server.config.settings import WebsocketSettings
from server.context import Context
from server.gateway.asyncapi.document import asyncapi
from server.ids import new_uuid
from server.loadtest.client.close_codes import may_reconnect
from tests.server.rest.database_proxy import proxy_to
from tests.support.clients import SECRET
from tests.support.servers import running_server, with_section
from tests.torture.attacks import (
    flood_with_messages,
    never_end_an_empty_message,
    never_open_a_session,
    ping_without_end,
    send_garbage,
    send_invalid_text,
    send_one_byte_too_many,
    send_unmasked,
)
from tests.torture.raw import Target, raw_session, raw_websocket

NOWHERE = "x" * 21  # a channel without a room: a client that only sends frames needs none
NOISE_BYTES = 100_000


class Way(NamedTuple):
    """One way to be disconnected, under these settings of the websocket."""

    code: int
    go: Callable[[Context, Target, Encoding], Awaitable[int | None]]
    settings: Mapping[str, Any] = MappingProxyType({})


def alone(attack: Callable[[Target, Encoding], Awaitable[int | None]]) -> Any:
    """Adapt an attack that needs nothing of the server's context."""

    async def go(context: Context, target: Target, encoding: Encoding) -> int | None:
        return await attack(target, encoding)

    go.__name__ = attack.__name__
    return go


async def open_while_it_drains(context: Context, target: Target, encoding: Encoding) -> int | None:
    context.draining = True
    return await _open_with(target, encoding, target.token())


async def be_there_when_it_stops(context: Context, target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw, trio.open_nursery() as nursery:
        nursery.start_soon(context.sessions.close_all, 4000, "shutting down")
        return await raw.end()


async def read_nothing(context: Context, target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        line = next(iter(context.sessions.by_member.values())).connection
        assert line is not None
        for _ in range(20):
            line.send_queue.push(encoding.frame({"type": "noise", "text": "x" * NOISE_BYTES}))
        return await raw.end()


async def answer_no_ping(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        return await raw.end()


async def send_undecodable_bytes(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        await raw.send(raw.frame_of(b"\xc1 {" if encoding is Encoding.MSGPACK else b"{ no"))
        return await raw.end()


async def send_the_wrong_kind_of_frame(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding) as raw:
        raw.encoding = Encoding.JSON if encoding is Encoding.MSGPACK else Encoding.MSGPACK
        await raw.send_command("ping")
        return await raw.end()


async def open_with_a_bad_token(target: Target, encoding: Encoding) -> int | None:
    return await _open_with(target, encoding, "x.y.z")


async def begin_with_another_command(target: Target, encoding: Encoding) -> int | None:
    async with raw_websocket(target, encoding) as raw:
        await raw.send_command("ping")
        return await raw.end()


async def keep_open_past_the_token(target: Target, encoding: Encoding) -> int | None:
    async with raw_session(target, encoding, target.token(ttl_seconds=5)) as raw:
        return await raw.end()


async def open_the_session_elsewhere(target: Target, encoding: Encoding) -> int | None:
    token = target.token()
    async with raw_websocket(target, encoding) as first, raw_websocket(target, encoding) as second:
        await first.send_command("session:open", token=token)
        session_id = (await first.wait_for("session:ready"))["sessionId"]
        await second.send_command("session:open", token=token, resume={"sessionId": session_id, "channels": []})
        assert (await second.wait_for("session:ready"))["resumed"]
        return await first.end()


async def open_one_session_too_many(target: Target, encoding: Encoding) -> int | None:
    token = target.token(new_uuid())
    async with raw_session(target, encoding, token) as first:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.wait_for, "no:such:event")  # it answers pings meanwhile, so the session is in use
            code = await _open_with(target, encoding, token)
            nursery.cancel_scope.cancel()
        assert await first.hang_up() == CloseCode.NORMAL
    return code


async def _open_with(target: Target, encoding: Encoding, token: str) -> int | None:
    async with raw_websocket(target, encoding) as raw:
        await raw.send_command("session:open", token=token)
        return await raw.end()


LITTLE = {"outbox_bytes": 65_536, "send_buffer_bytes": 4096}
WAYS = (
    Way(1002, alone(send_garbage)),
    Way(1002, alone(send_unmasked)),
    Way(1007, alone(send_invalid_text)),
    Way(1009, alone(send_one_byte_too_many)),
    Way(1009, alone(never_end_an_empty_message)),
    Way(4000, open_while_it_drains),
    Way(4000, be_there_when_it_stops),
    Way(4001, read_nothing, LITTLE),
    Way(4002, alone(answer_no_ping), {"ping_timeout_seconds": 0.5}),
    Way(4400, alone(send_undecodable_bytes)),
    Way(4400, alone(send_the_wrong_kind_of_frame)),
    Way(4401, alone(open_with_a_bad_token)),
    Way(4401, alone(begin_with_another_command)),
    Way(4401, alone(keep_open_past_the_token)),
    Way(4408, alone(never_open_a_session), {"open_seconds": 0.3}),
    Way(4409, alone(open_the_session_elsewhere)),
    Way(4429, alone(flood_with_messages)),
    Way(4429, alone(ping_without_end)),
    Way(4429, alone(open_one_session_too_many), {"sessions_per_user": 1}),
)
AWAY_FROM_STORAGE = 4003  # has a test of its own, with a proxy that cuts the database connection
CODES = {code["code"]: code for code in asyncapi(WebsocketSettings(), 1)["channels"]["ws"]["x-close-codes"]}


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.code}-{way.go.__name__}")
async def test_each_way_to_be_disconnected_has_its_close_code(dsn: str, way: Way, encoding: Encoding) -> None:
    wanted = with_section("websocket", listen="127.0.0.1:0", close_seconds=1, **way.settings)
    async with running_server(dsn, wanted) as context:
        target = Target(context.websocket_port, SECRET, NOWHERE)
        assert await way.go(context, target, encoding) == way.code
        if not CODES[way.code]["reconnect"] and way.code != 4409:
            await _wait_no_sessions(context)


async def _wait_no_sessions(context: Context) -> None:
    """Wait until no session is left: a client that may not reconnect need not be waited for."""
    with trio.fail_after(5):
        while context.sessions.by_member:  # noqa: ASYNC110  # reason: the end of a session sets no event
            await trio.sleep(0.01)


@pytest.mark.parametrize("encoding", Encoding)
async def test_a_client_that_connects_while_storage_is_away_may_reconnect(dsn: str, encoding: Encoding) -> None:
    wanted = with_section("websocket", listen="127.0.0.1:0")
    async with proxy_to(dsn) as line, running_server(line.dsn, wanted) as context:
        line.cut()
        try:
            target = Target(context.websocket_port, SECRET, NOWHERE)
            assert await _open_with(target, encoding, target.token()) == AWAY_FROM_STORAGE
        finally:
            await line.mend()


def test_every_close_code_is_tried_here_and_says_whether_to_reconnect() -> None:
    unused = {1000, 4403}  # the client's own close, and one that is reserved
    assert {way.code for way in WAYS} | {AWAY_FROM_STORAGE} == CODES.keys() - unused
    for code, entry in CODES.items():
        assert entry["reconnect"] is (4000 <= code < 4100)
        assert entry["reconnect"] is may_reconnect(code), "our own client believes the document"
