"""A session that pays or is paid is pinged every 5 seconds, others every 20 (contract.md, Presence)."""

from collections import Counter
from uuid import UUID

import pytest
import trio
import trio.testing

from domain.ids import UserId
from server.context import Context
from tests.support.clients import go_live, ring_and_join
from tests.support.servers import add_creator, add_fan, online, settings
from tests.support.virtual_time import pass_seconds, server_on, wait_quiet

in_thread = trio.to_thread.run_sync
OFTEN, SELDOM = 12, 3  # pings in a minute
SLACK = 1  # the last ping may fall into the next minute


@pytest.fixture
def by_hand(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return mock_clock


async def pings_of_a_minute(clock: trio.testing.MockClock, context: Context) -> dict[UUID, int]:
    """Return how often each user with a session was pinged."""
    counted: Counter[UUID] = Counter()
    last = {session.user_id: -1.0 for session in context.sessions.by_member.values()}
    for _ in range(60):
        await pass_seconds(clock, context, 1)
        for session in context.sessions.by_member.values():
            if session.connection is not None and session.connection.pinged_at != last[session.user_id]:
                counted[session.user_id] += 1
                last[session.user_id] = session.connection.pinged_at
    return {user_id: counted[user_id] - 1 for user_id in last}  # the first ping came before the minute


def check(pings: dict[UUID, int], often: set[UserId], seldom: set[UserId]) -> None:
    for users, expected in ((often, OFTEN), (seldom, SELDOM)):
        for user_id in users:
            assert abs(pings[user_id] - expected) <= SLACK, (user_id, pings)


async def test_parties_of_a_metered_stream_are_pinged_often_and_public_viewers_are_not(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    """One viewer is in both rooms; another leaves the metered one, and is then pinged seldom again."""
    async with server_on(by_hand, dsn, settings(block_seconds=30)) as context:
        paid, free = await add_creator(context, 2), await add_creator(context, 2)
        payer, viewer, both = await add_fan(context, 100), await add_fan(context, 0), await add_fan(context, 100)
        async with (
            online(context, paid) as paids,
            online(context, free) as frees,
            online(context, payer) as payers,
            online(context, viewer) as viewers,
            online(context, both) as boths,
        ):

            def join_all() -> str:
                metered = go_live(paids, type="private", rateTokensPerMin=2)["channel"]
                public = go_live(frees)["channel"]
                for phone, channel in (
                    (paids, metered),
                    (payers, metered),
                    (boths, metered),
                    (frees, public),
                    (viewers, public),
                    (boths, public),
                ):
                    assert phone.join(channel)["type"] == "room:joined"
                return str(metered)

            metered = await in_thread(join_all)
            check(await pings_of_a_minute(by_hand, context), {paid, free, payer, both}, {viewer})
            await in_thread(payers.ask_ok, {"type": "room:leave", "channel": metered})
            await in_thread(boths.ask_ok, {"type": "room:leave", "channel": metered})
            await pass_seconds(by_hand, context, 5)
            check(await pings_of_a_minute(by_hand, context), {paid, free}, {payer, both, viewer})
            session = context.sessions.of(viewer)[0]
            assert not session.is_silent, "who is asked seldom is not silent for that"


async def test_both_parties_of_a_call_are_pinged_often_from_the_moment_they_join(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    async with server_on(by_hand, dsn, settings(block_seconds=30)) as context:
        fan, creator = await add_fan(context, 1000), await add_creator(context, 2)
        async with online(context, fan) as fans, online(context, creator) as creators:
            check(await pings_of_a_minute(by_hand, context), set(), {fan, creator})
            await in_thread(ring_and_join, fans, creators)
            await wait_quiet(context)
            check(await pings_of_a_minute(by_hand, context), {fan, creator}, set())
