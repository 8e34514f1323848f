"""Members that only listen count each delivery, and come back to what they missed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio

from server.broadcast.codec import Encoding
from server.context import Context
from server.loadtest.client.client import Client
from server.loadtest.client.frames import HandshakeError
from server.loadtest.client.listeners import Listener, Listeners, NotJoined
from server.loadtest.measures.figures import Tally
from tests.server.loadtest.test_client import a_call, both_subprotocols, url_of
from tests.support.clients import token_of
from tests.support.processes import eventually
from tests.support.servers import add_fan


@asynccontextmanager
async def listening(context: Context, encoding: Encoding = Encoding.JSON) -> AsyncIterator[tuple[Listeners, Tally]]:
    tally = Tally()
    async with trio.open_nursery() as nursery:
        listeners = Listeners(url_of(context), encoding, tally, nursery)
        nursery.start_soon(listeners.run)
        yield listeners, tally
        nursery.cancel_scope.cancel()


def token_like(client: Client) -> str:
    """A token of the same person's."""
    return token_of(user_of(client))


def user_of(client: Client) -> UUID:
    return UUID(client.ready["userId"])


async def wait_heard(listener: Listener, seq: int) -> None:
    await trio.to_thread.run_sync(eventually, lambda: listener.position.seq >= seq, f"event {seq}")


@both_subprotocols
async def test_a_listener_hears_what_the_party_hears(context: Context, encoding: Encoding) -> None:
    async with a_call(context) as (fan, _, invitation), listening(context, encoding) as (listeners, tally):
        listener = Listener(listeners, token_like(fan))
        await listener.connect()
        await listener.join(invitation["channel"])
        joined_at = listener.position.seq
        block = await fan.wait_for("block:charged", blockNo=3)
        await wait_heard(listener, block["seq"])
        assert (listener.position.lost, listener.position.doubled) == (0, 0)
        assert tally.deliveries == listener.position.heard == listener.position.seq - joined_at > 0


async def test_a_listener_that_is_sent_away_comes_back_to_what_it_missed(context: Context) -> None:
    async with a_call(context) as (fan, _, invitation), listening(context) as (listeners, tally):
        listener = Listener(listeners, token_like(fan))
        await listener.connect()
        await listener.join(invitation["channel"])
        session = [session for session in context.sessions.by_member.values() if session.user_id == user_of(fan)][-1]
        assert session.connection is not None
        session.connection.close(4000, "come back")
        block = await fan.wait_for("block:charged", blockNo=3)
        await wait_heard(listener, block["seq"])
        assert (tally.reconnects, dict(tally.errors)) == (1, {"closed with 4000": 1})
        assert (listener.position.lost, listener.position.doubled) == (0, 0)


async def test_a_listener_that_is_not_let_in_does_not_try_again(context: Context) -> None:
    async with listening(context) as (listeners, tally):
        with pytest.raises(HandshakeError, match="4401"):
            await Listener(listeners, "no token").connect()
        assert dict(tally.errors) == {"closed with 4401": 1}


async def test_a_refusal_is_counted(context: Context) -> None:
    async with listening(context) as (listeners, tally):
        listener = Listener(listeners, token_of(await add_fan(context, 0)))
        await listener.connect()
        with pytest.raises(NotJoined):
            await listener.join("nowhere")
        assert dict(tally.errors) == {"NOT_FOUND": 1}


async def test_whoever_leaves_leaves_no_session_behind(context: Context) -> None:
    async with listening(context) as (listeners, _):
        await Listener(listeners, token_of(await add_fan(context, 0))).connect()
        assert len(context.sessions.by_member) == 1
    await trio.to_thread.run_sync(eventually, lambda: not context.sessions.by_member, "the end of the session")
