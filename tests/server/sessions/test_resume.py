"""A phone that loses its network resumes with exactly the events that it missed, or learns that they are lost."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import trio

from domain.ids import UserId
from server.context import Context
from tests.support.clients import Phone, ring_and_join
from tests.support.servers import add_creator, add_fan, give, online, phone_of, running_server, settings, with_section

in_thread = trio.to_thread.run_sync


@asynccontextmanager
async def a_call(context: Context) -> AsyncIterator[tuple[Phone, Phone, dict[str, Any]]]:
    """Yield a fan and a creator in a running call."""
    fan, creator = await add_fan(context, 10_000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await in_thread(ring_and_join, fans, creators)
        await in_thread(lambda: fans.wait_for("block:charged", blockNo=1))
        yield fans, creators, ring


@asynccontextmanager
async def away(context: Context, user_id: UUID) -> AsyncIterator[Phone]:
    """A device that is not connected yet."""
    phone = phone_of(context, user_id)
    try:
        yield phone
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(phone.__exit__)


def _pause_and_resume(phone: Phone, call_id: str) -> None:
    for command in ("call:pause", "call:resume"):
        phone.ask_ok({"type": command, "callId": call_id})


async def test_missed_events_come_first_and_completely(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, creators, ring):
        await in_thread(fans.lose_network)
        await in_thread(_pause_and_resume, creators, ring["callId"])
        await in_thread(lambda: fans.open(resume=True))
        assert (fans.ready["resumed"], fans.ready["lost"]) == (True, [])
        (missed,) = fans.ready["missed"]
        assert missed["channel"] == ring["channel"] and missed["count"] >= 2
        await in_thread(lambda: fans.wait_for("call:resumed"))
        await in_thread(_pause_and_resume, fans, ring["callId"])
        await in_thread(lambda: creators.wait_for("call:resumed"))
        assert fans.all_events("member:left") == creators.all_events("member:left") == []


async def test_a_resumed_payer_receives_whether_the_funds_suffice(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, creators, _):
        for phone in (fans, creators):
            await in_thread(phone.lose_network)
            await in_thread(partial(phone.open, resume=True))
        ok = await in_thread(fans.wait_for, "balance:ok")
        assert (ok["balance"], ok["required"], ok["endsAt"]) == (9_970, 30, None)
        assert ok["secondsLeft"] == pytest.approx(9_970 + 30, abs=30)
        await in_thread(creators.ask, {"type": "ping"})
        assert creators.all_events("balance:ok") == []


async def test_a_missed_end_is_received(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, creators, ring):
        await in_thread(fans.lose_network)
        await in_thread(creators.ask_ok, {"type": "call:end", "callId": ring["callId"]})
        await in_thread(lambda: creators.wait_for("call:ended"))
        await in_thread(lambda: fans.open(resume=True))
        ended = await in_thread(lambda: fans.wait_for("call:ended"))
        assert ended["reason"] == "creator_ended"
        assert fans.ready["lost"] == []


async def test_after_an_unknown_position_events_are_lost_and_the_room_is_joined_again(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, creators, ring):
        await in_thread(fans.lose_network)
        epoch, seq = fans.positions[ring["channel"]]
        fans.positions[ring["channel"]] = (epoch, seq + 1000)
        await in_thread(lambda: fans.open(resume=True))
        assert (fans.ready["resumed"], fans.ready["missed"], fans.ready["lost"]) == (True, [], [ring["channel"]])
        await in_thread(lambda: creators.wait_for("member:left"))
        joined = await in_thread(fans.join, ring["channel"])
        assert joined["type"] == "room:joined"


async def test_events_that_are_too_old_are_lost_and_never_sent_in_part(dsn: str) -> None:
    wanted = with_section("rooms", history_events=2)
    async with running_server(dsn, wanted) as context, a_call(context) as (fans, creators, ring):
        await in_thread(fans.lose_network)
        for _ in range(2):
            await in_thread(_pause_and_resume, creators, ring["callId"])
        await in_thread(lambda: fans.open(resume=True))
        assert (fans.ready["missed"], fans.ready["lost"]) == ([], [ring["channel"]])
        answer = await in_thread(lambda: fans.ask({"type": "ping"}))
        assert answer["type"] == "pong"
        assert fans.all_events("call:paused") == []


async def test_a_session_opened_twice_goes_on_in_the_newer_connection(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, creators, ring):
        async with away(context, fans.user_id) as other:
            other.ready, other.positions = fans.ready, dict(fans.positions)
            await in_thread(lambda: other.open(resume=True))
            assert other.ready["resumed"]
            await in_thread(fans.wait_closed)
            assert fans.close_code == 4409
            await in_thread(_pause_and_resume, creators, ring["callId"])
            await in_thread(lambda: other.wait_for("call:resumed"))
            assert creators.all_events("member:left") == []


async def test_nobody_resumes_the_session_of_another(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, _, ring):
        await in_thread(fans.lose_network)
        async with away(context, await add_fan(context, 0)) as thief:
            thief.ready, thief.positions = fans.ready, dict(fans.positions)
            await in_thread(lambda: thief.open(resume=True))
            assert (thief.ready["resumed"], thief.ready["lost"]) == (False, [ring["channel"]])
            assert thief.ready["sessionId"] != fans.ready["sessionId"]
        await in_thread(lambda: fans.open(resume=True))
        assert fans.ready["resumed"]


async def test_nobody_resumes_into_a_room_that_refused_them(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, *_, ring):
        async with online(context, await add_fan(context, 0)) as stranger:
            assert (await in_thread(stranger.join, ring["channel"]))["error"] == "NOT_FOUND"
            await in_thread(stranger.lose_network)
            stranger.positions[ring["channel"]] = (fans.positions[ring["channel"]][0], 0)
            await in_thread(lambda: stranger.open(resume=True))
            assert (stranger.ready["missed"], stranger.ready["lost"]) == ([], [ring["channel"]])
            assert (await in_thread(lambda: stranger.ask({"type": "ping"})))["type"] == "pong"
            assert stranger.all_events("block:charged") == []


async def test_a_session_can_be_resumed_for_so_long_and_not_longer(dsn: str) -> None:
    wanted = with_section("websocket", session_seconds=1)
    async with running_server(dsn, wanted) as context, a_call(context) as (fans, creators, _):
        await in_thread(fans.lose_network)
        await in_thread(lambda: creators.wait_for("member:left"))
        await in_thread(lambda: fans.open(resume=True))
        assert (fans.ready["resumed"], len(fans.ready["lost"])) == (False, 1)


async def test_a_session_that_was_closed_by_its_client_cannot_be_resumed(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, creators, _):
        await in_thread(fans.hang_up_network)
        await in_thread(lambda: creators.wait_for("member:left"))
        await in_thread(lambda: fans.open(resume=True))
        assert not fans.ready["resumed"]


async def test_private_events_are_sent_anew(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context, a_call(context) as (fans, *_):
        await in_thread(fans.lose_network)
        await give(context, UserId(fans.user_id), 5)
        await in_thread(lambda: fans.open(resume=True))
        changed = await in_thread(lambda: fans.wait_for("wallet:changed", cause="resumed"))
        assert changed["balance"] == await in_thread(fans.balance)


@pytest.mark.parametrize("seed", range(3))
async def test_random_losses_leave_a_stream_without_hole_or_double(dsn: str, seed: int) -> None:
    """Each phone checks the numbers of the events that it reads; blocks fall all the while."""
    chance = random.Random(seed)
    async with running_server(dsn, settings()) as context, a_call(context) as (fans, creators, ring):

        def stumble(phone: Phone) -> None:
            phone.lose_network()
            phone.open(resume=True)
            assert (phone.ready["resumed"], phone.ready["lost"]) == (True, [])

        for _ in range(12):
            await in_thread(stumble, chance.choice((fans, creators)))
            if chance.random() < 0.5:
                await in_thread(_pause_and_resume, fans, ring["callId"])
        await in_thread(creators.ask_ok, {"type": "call:end", "callId": ring["callId"]})
        for phone in (fans, creators):
            await in_thread(phone.wait_for, "call:ended")
        assert fans.positions == creators.positions
