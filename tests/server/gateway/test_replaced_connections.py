"""A replaced connection ends and changes nothing of its session, which goes on in a newer connection."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest
import trio

from domain.ids import UserId
from domain.protocol.events import TokenExpiring
from server.broadcast.codec import Encoding
from server.close_codes import CloseCode
from server.context import Context
from server.gateway import protocol
from server.loadtest.client.frames import CLOSE, masked_frame
from server.sessions import room_commands
from server.sessions.session import Session
from storage.database_errors import StorageUnavailable
from storage.ledger.wallets import Wallet, find_wallet
from storage.postgres import Postgres
from storage.rooms.streams import open_viewing_session
from tests.support.clients import PATIENCE_SECONDS, SECRET, go_live
from tests.support.servers import add_creator, add_fan, online
from tests.torture.raw import Raw, Target, raw_websocket

pytestmark = pytest.mark.parametrize("encoding", Encoding)


class Replaced(NamedTuple):
    """A session whose first connection is still open although the session goes on in the second."""

    session: Session
    first: Raw
    second: Raw


class Held:
    """Holds every call of a function until `go_on` is set; `called` is set at the first call."""

    def __init__(self, work: Any) -> None:
        self._work = work
        self.called, self.go_on = trio.Event(), trio.Event()

    async def __call__(self, *arguments: Any) -> Any:
        self.called.set()
        await self.go_on.wait()
        return await self._work(*arguments)


@asynccontextmanager
async def connections(context: Context, encoding: Encoding, count: int) -> AsyncIterator[list[Raw]]:
    """Open connections without a session."""
    target = Target(context.websocket_port, SECRET, "")
    with trio.fail_after(PATIENCE_SECONDS):
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(raw_websocket(target, encoding)) for _ in range(count)]


async def opened(context: Context, raw: Raw, user_id: UserId) -> Session:
    """Open a session over this connection."""
    await raw.send_command("session:open", token=_token(context, user_id))
    ready = await raw.wait_for("session:ready")
    session = _only_session(context, user_id)
    assert str(session.id) == ready["sessionId"]
    return session


async def ask_to_resume(context: Context, raw: Raw, session: Session) -> None:
    resume = {"sessionId": str(session.id), "channels": []}
    await raw.send_command("session:open", token=_token(context, session.user_id), resume=resume)


async def resumed(context: Context, raw: Raw, session: Session) -> None:
    await ask_to_resume(context, raw, session)
    assert (await raw.wait_for("session:ready"))["resumed"]


async def still_works(context: Context, session: Session, raw: Raw) -> None:
    """Check that the session lives, that this connection is its own, and that private events reach it."""
    assert (await raw.ask("ping"))["type"] == "pong"
    assert session.connection is not None and context.sessions.of(session.user_id) == [session]
    session.send(TokenExpiring(expires_at="soon"))
    await raw.wait_for("token:expiring")


async def test_the_close_of_the_old_connection_does_not_end_the_session(context: Context, encoding: Encoding) -> None:
    """The client closes with 1000 before it has read that the connection was replaced."""
    async with connections(context, encoding, 2) as (first, second):
        session = await opened(context, first, await add_fan(context, 0))
        await resumed(context, second, session)
        await first.send(masked_frame(CLOSE, CloseCode.NORMAL.to_bytes(2, "big")))
        await first.end()
        await still_works(context, session, second)


async def test_a_protocol_error_in_the_old_connection_does_not_end_the_session(
    context: Context, encoding: Encoding
) -> None:
    async with connections(context, encoding, 2) as (first, second):
        session = await opened(context, first, await add_fan(context, 0))
        await resumed(context, second, session)
        await first.send(b"\xff" * 20)
        await first.end()
        await still_works(context, session, second)


async def test_a_client_that_stopped_waiting_does_not_replace_its_own_later_connection(
    context: Context, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user is looked up for so long that the client closes and reconnects before the answer."""
    identify = context.authenticator.identify
    held = Held(identify)
    async with connections(context, encoding, 3) as (first, slow, second):
        session = await opened(context, first, await add_fan(context, 0))
        monkeypatch.setattr(context.authenticator, "identify", held)
        await ask_to_resume(context, slow, session)
        await held.called.wait()
        await slow.send(masked_frame(CLOSE, CloseCode.NORMAL.to_bytes(2, "big")))
        while (await slow.next_frame() or (CLOSE,))[0] != CLOSE:
            pass
        monkeypatch.setattr(context.authenticator, "identify", identify)
        await resumed(context, second, session)
        held.go_on.set()
        await slow.end()
        await still_works(context, session, second)


async def test_a_token_refresh_queued_in_the_old_connection_changes_nothing(
    context: Context, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refresh is queued behind a join that waits for the database; such a queue is never carried out."""
    held = Held(open_viewing_session)
    monkeypatch.setattr(room_commands, "open_viewing_session", held)
    fan = await add_fan(context, 100)
    async with (
        online(context, await add_creator(context, 60)) as cleo,
        connections(context, encoding, 2) as (first, second),
    ):
        stream = await trio.to_thread.run_sync(lambda: go_live(cleo, type="private", rateTokensPerMin=60))
        room = context.registry.find_channel(stream["channel"])
        assert room is not None and room.stream is not None
        session = await opened(context, first, fan)
        await first.send_command("room:join", channel=stream["channel"])
        await held.called.wait()
        await first.send_command("token:refresh", token=_token(context, fan, ttl_seconds=7))
        await first.send_command("room:leave", channel=stream["channel"])
        await resumed(context, second, session)
        identity = session.identity
        held.go_on.set()
        joined = await second.ask("room:join", channel=stream["channel"])
        assert joined["type"] == "room:joined"
        await first.end()
        await still_works(context, session, second)
        assert session.identity is identity
        assert list(session.live_memberships()) == [stream["channel"]]
        assert [member.member_id for member in room.stream.members.of(fan)] == [session.member_id]


async def test_a_balance_that_is_read_for_the_old_connection_is_sent_to_the_new_one(
    context: Context, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connections(context, encoding, 3) as (first, slow, second):
        session = await opened(context, first, await add_fan(context, 70))
        held = Held(find_wallet)
        session.missed_events = True
        monkeypatch.setattr(protocol, "find_wallet", held)
        await resumed(context, slow, session)
        await held.called.wait()
        monkeypatch.setattr(protocol, "find_wallet", _away)
        await resumed(context, second, session)
        held.go_on.set()
        await slow.end()
        assert session.missed_events, "no event was sent"
        await still_works(context, session, second)


async def _away(postgres: Postgres, user_id: UserId) -> Wallet | None:
    raise StorageUnavailable("away")


def _token(context: Context, user_id: UserId, ttl_seconds: int = 3600) -> str:
    return Target(context.websocket_port, SECRET, "").token(user_id, ttl_seconds)


def _only_session(context: Context, user_id: UserId) -> Session:
    (session,) = context.sessions.of(user_id)
    return session
