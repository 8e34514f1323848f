"""Passive members count each delivery, and resume with the events that they missed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio

from server.broadcast.codec import Encoding
from server.context import Context
from server.loadtest.client.client import Client
from server.loadtest.client.frames import HandshakeError
from server.loadtest.client.passive_members import NotJoined, PassiveMember, PassiveMembers
from server.loadtest.measures.figures import LoadCounts
from tests.server.loadtest.test_client import a_call, both_subprotocols, url_of
from tests.support.clients import token_of
from tests.support.processes import eventually
from tests.support.servers import add_fan


@asynccontextmanager
async def listening(
    context: Context, encoding: Encoding = Encoding.JSON
) -> AsyncIterator[tuple[PassiveMembers, LoadCounts]]:
    counts = LoadCounts()
    async with trio.open_nursery() as nursery:
        passive_members = PassiveMembers(url_of(context), encoding, counts, nursery)
        nursery.start_soon(passive_members.run)
        yield passive_members, counts
        nursery.cancel_scope.cancel()


def token_like(client: Client) -> str:
    """Return a token of the same user's."""
    return token_of(user_of(client))


def user_of(client: Client) -> UUID:
    return UUID(client.ready["userId"])


async def wait_received(member: PassiveMember, seq: int) -> None:
    await trio.to_thread.run_sync(eventually, lambda: member.position.seq >= seq, f"event {seq}")


@both_subprotocols
async def test_a_passive_member_receives_what_the_party_receives(context: Context, encoding: Encoding) -> None:
    async with a_call(context) as (fan, _, invitation), listening(context, encoding) as (passive_members, counts):
        member = PassiveMember(passive_members, token_like(fan))
        await member.connect()
        await member.join(invitation["channel"])
        joined_at = member.position.seq
        block = await fan.wait_for("block:charged", blockNo=3)
        await wait_received(member, block["seq"])
        assert (member.position.lost, member.position.doubled) == (0, 0)
        assert counts.deliveries == member.position.received == member.position.seq - joined_at > 0


async def test_a_passive_member_that_is_disconnected_resumes_with_what_it_missed(context: Context) -> None:
    async with a_call(context) as (fan, _, invitation), listening(context) as (passive_members, counts):
        member = PassiveMember(passive_members, token_like(fan))
        await member.connect()
        await member.join(invitation["channel"])
        session = [session for session in context.sessions.by_member.values() if session.user_id == user_of(fan)][-1]
        assert session.connection is not None
        session.connection.close(4000, "come back")
        block = await fan.wait_for("block:charged", blockNo=3)
        await wait_received(member, block["seq"])
        assert (counts.reconnects, dict(counts.errors)) == (1, {"closed with 4000": 1})
        assert (member.position.lost, member.position.doubled) == (0, 0)


async def test_a_passive_member_that_is_refused_does_not_try_again(context: Context) -> None:
    async with listening(context) as (passive_members, counts):
        with pytest.raises(HandshakeError, match="4401"):
            await PassiveMember(passive_members, "no token").connect()
        assert dict(counts.errors) == {"closed with 4401": 1}


async def test_a_refusal_is_counted(context: Context) -> None:
    async with listening(context) as (passive_members, counts):
        member = PassiveMember(passive_members, token_of(await add_fan(context, 0)))
        await member.connect()
        with pytest.raises(NotJoined):
            await member.join("nowhere")
        assert dict(counts.errors) == {"NOT_FOUND": 1}


async def test_a_client_that_leaves_leaves_no_session_behind(context: Context) -> None:
    async with listening(context) as (passive_members, _):
        await PassiveMember(passive_members, token_of(await add_fan(context, 0))).connect()
        assert len(context.sessions.by_member) == 1
    await trio.to_thread.run_sync(eventually, lambda: not context.sessions.by_member, "the end of the session")
