"""From the ring to the end of a short call: each session's events, and the right to ring (contract.md, Ringing)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from domain.ids import CallId
from server.context import Context
from tests.server.rest.conftest import Caller, Users, users_of
from tests.server.rest.problems import check
from tests.server.rest.test_call_exploits import balance, end, receive, ring
from tests.support.clients import PATIENCE_SECONDS, Phone
from tests.support.servers import running_server, settings

in_thread = trio.to_thread.run_sync
DEAD_SECONDS = 2.0  # the time for which a connection may be dead unnoticed


async def phones_of(users: Users, *callers: Caller) -> list[Phone]:
    """Connect two devices of each."""
    return [await users.phone(caller) for caller in callers for _ in range(2)]


async def settled(context: Context, call_id: str) -> None:
    """Wait until the call has ended and is stored."""
    room = context.registry.find(CallId(UUID(call_id)))
    if room is not None:
        await room.settled.wait()


# Events


async def test_all_sessions_of_both_receive_the_ringing_and_the_first_accept_wins(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    phones = await phones_of(users, fan, creator)
    rung = await ring(fan, creator)
    for phone in phones:
        assert (await receive(phone, "call:ringing", callId=rung["callId"]))["channel"] == rung["channel"]
    accept = {"type": "call:accept", "callId": rung["callId"]}
    answers: list[dict[str, Any]] = []

    async def take(phone: Phone) -> None:
        answers.append(await in_thread(phone.ask, accept))

    async with trio.open_nursery() as nursery:
        for phone in phones[2:]:
            nursery.start_soon(take, phone)
    assert sorted(answer["type"] for answer in answers) == ["error", "ok"]
    assert [answer["error"] for answer in answers if answer["type"] == "error"] == ["CALL_NOT_ACTIVE"]
    for phone in phones:
        assert (await receive(phone, "call:accepted", callId=rung["callId"]))["channel"] == rung["channel"]


async def test_a_call_that_nobody_answers_is_missed_costs_nothing_and_is_followed_by_a_cooldown(dsn: str) -> None:
    async with running_server(dsn, settings(ring_seconds=0.2)) as context, users_of(context) as users:
        fan, creator, other = await users.fan(), await users.creator(), await users.online_creator()
        phones = await phones_of(users, fan, creator)
        call_id = (await ring(fan, creator))["callId"]
        for phone in phones:
            await receive(phone, "call:missed", callId=call_id)
        call = (await fan.get(f"/calls/{call_id}")).json()["call"]
        assert (call["endReason"], call["startedAt"], call["tokens"]) == ("missed", None, 0)
        assert await balance(fan) == 100
        refused = check(await fan.post("/calls/init", {"creatorId": str(creator.user_id)}), 409, "RING_COOLDOWN")
        assert 50 <= refused["retryAfterSeconds"] <= 60
        await ring(fan, other)


Act = Callable[[Users, Caller, Caller, str], Any]


async def hang_up(users: Users, fan: Caller, creator: Caller, call_id: str) -> None:
    await end(fan, call_id)


async def end_it(users: Users, fan: Caller, creator: Caller, call_id: str) -> None:
    await end(creator, call_id)


async def wait(users: Users, fan: Caller, creator: Caller, call_id: str) -> None:
    """Wait until `join_seconds` are over."""


@pytest.mark.parametrize(("act", "reason"), [(hang_up, "hangup"), (end_it, "creator_ended"), (wait, "peer_lost")])
async def test_sessions_that_never_joined_receive_the_end_of_a_call(dsn: str, act: Act, reason: str) -> None:
    """Otherwise a phone that is still on its way into the room would show a call that is over."""
    wanted = settings(join_seconds=0.2 if act is wait else 20)
    async with running_server(dsn, wanted) as context, users_of(context) as users:
        fan, creator = await users.fan(), await users.creator()
        inside, *outside = await phones_of(users, creator, fan)
        rung = await ring(fan, creator)
        call_id, channel = rung["callId"], rung["channel"]
        assert (await in_thread(inside.join, channel))["type"] == "room:joined"
        await in_thread(inside.ask_ok, {"type": "call:accept", "callId": call_id})
        await act(users, fan, creator, call_id)
        for phone in (inside, *outside):
            ended = await receive(phone, "call:ended", callId=call_id)
            figures = {"channel": channel, "reason": reason, "blocks": 0, "tokens": 0, "activeSeconds": 0}
            assert figures.items() <= ended.items()
            assert ("seq" in ended) is (phone is inside), "private events have no numbers"
            await in_thread(phone.ask, {"type": "ping"})
            assert len(phone.all_events("call:ended")) == 1


async def test_an_invited_creator_is_notified_that_an_operator_ended_the_ringing(users: Users) -> None:
    fan, creator, operator = await users.fan(), await users.creator(), await users.operator()
    fans, _, _, _ = await phones_of(users, fan, creator)
    call_id = (await ring(fan, creator))["callId"]
    await operator.post("/admin/bans", {"userId": str(creator.user_id), "reason": "rude"})
    assert (await receive(fans, "call:ended", callId=call_id))["reason"] == "admin"


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_session_that_had_no_connection_receives_the_end_of_a_call_once_it_resumes(
    users: Users, accepted: bool
) -> None:
    fan, creator = await users.fan(), await users.creator()
    fans, creators = await users.phone(fan), await users.phone(creator)
    call_id = (await ring(fan, creator))["callId"]
    if accepted:
        await in_thread(creators.ask_ok, {"type": "call:accept", "callId": call_id})
        await receive(fans, "call:accepted", callId=call_id)
    await in_thread(fans.lose_network)
    await end(creator, call_id)
    await in_thread(lambda: fans.open(resume=True))
    assert fans.ready["resumed"]
    if accepted:
        assert (await receive(fans, "call:ended", callId=call_id))["reason"] == "creator_ended"
    else:
        await receive(fans, "call:declined", callId=call_id)


async def test_an_end_that_a_session_surely_received_is_not_sent_again(dsn: str) -> None:
    usual = settings()
    hurried = msgspec.structs.replace(usual.websocket, ping_timeout_seconds=DEAD_SECONDS, heartbeat_seconds=0.2)
    wanted = msgspec.structs.replace(usual, websocket=hurried)
    async with running_server(dsn, wanted) as context, users_of(context) as users:
        fan, creator = await users.fan(), await users.creator()
        fans, _ = await users.phone(fan), await users.phone(creator)
        await end(creator, (await ring(fan, creator))["callId"])
        await receive(fans, "call:declined")
        session, declined_at = context.sessions.of(fan.user_id)[0], trio.current_time()
        with trio.fail_after(PATIENCE_SECONDS):
            while session.received_at < declined_at + DEAD_SECONDS:  # noqa: ASYNC110  # reason: a pong sets no event
                await trio.sleep(0.05)
        await in_thread(fans.lose_network)
        await in_thread(lambda: fans.open(resume=True))
        await in_thread(fans.ask, {"type": "ping"})
        assert len(fans.all_events("call:declined")) == 1


@pytest.mark.parametrize(
    ("by_fan", "event_type", "reason"), [(True, "call:cancelled", "cancelled"), (False, "call:declined", "declined")]
)
async def test_ending_a_call_that_rings_cancels_or_declines_it(
    users: Users, by_fan: bool, event_type: str, reason: str
) -> None:
    fan, creator = await users.fan(), await users.creator()
    phones = [await users.phone(fan), await users.phone(creator)]
    call_id = (await ring(fan, creator))["callId"]
    await in_thread(phones[0 if by_fan else 1].ask_ok, {"type": "call:end", "callId": call_id})
    for phone in phones:
        await receive(phone, event_type, callId=call_id)
    assert (await fan.get(f"/calls/{call_id}")).json()["call"]["endReason"] == reason


# Busy users and cooldowns


async def test_a_party_of_a_call_in_either_role_neither_rings_nor_is_rung(users: Users) -> None:
    fan, third = await users.fan(), await users.fan()
    both, other = await users.creator(tokens=100), await users.online_creator()
    await users.phone(both)
    await ring(fan, both)
    check(await both.post("/calls/init", {"creatorId": str(other.user_id)}), 409, "ALREADY_IN_CALL")
    await users.phone(third)
    caller = await users.creator(tokens=100)
    await users.phone(caller)
    await ring(caller, other)
    check(await third.post("/calls/init", {"creatorId": str(caller.user_id)}), 409, "CREATOR_BUSY")


async def test_after_a_paid_block_a_cancelled_call_is_the_first_one_again(users: Users, context: Context) -> None:
    fan, creator = await users.fan(), await users.creator()
    await users.phone(creator)
    await end(fan, (await ring(fan, creator))["callId"])
    call_id, _, _ = await users.start_call(fan, creator)
    await end(fan, call_id)
    await end(fan, (await ring(fan, creator))["callId"])
    await ring(fan, creator)


async def test_calls_of_an_hour_ago_are_forgotten(users: Users, context: Context) -> None:
    fan, creator = await users.fan(), await users.online_creator()
    for _ in range(2):
        await end(fan, (await ring(fan, creator))["callId"])
    check(await fan.post("/calls/init", {"creatorId": str(creator.user_id)}), 409, "RING_COOLDOWN")
    await context.postgres.execute(
        "UPDATE calls SET created_at = created_at - interval '1 hour', ended_at = ended_at - interval '1 hour'"
    )
    await ring(fan, creator)


# Terms that are fixed when it rings


async def test_the_rate_of_the_first_ring_counts_to_the_end_of_the_call(users: Users) -> None:
    fan, creator = await users.fan(1000), await users.creator(60)
    fans, creators = await users.phone(fan), await users.phone(creator)
    rung = await ring(fan, creator)
    await creator.put("/creators/me", {"rateTokensPerMin": 6000})
    await in_thread(creators.ask_ok, {"type": "call:accept", "callId": rung["callId"]})
    for phone in (fans, creators):
        await in_thread(phone.join, rung["channel"])
    for number in (1, 2):
        assert (await receive(fans, "block:charged", blockNo=number))["tokens"] == 1
    call = await end(fan, rung["callId"])
    assert call["rateTokensPerMin"] == 60
    assert (await ring(await users.fan(1000), creator))["minRequired"] == 100


async def test_block_length_and_rounding_of_the_first_ring_outlast_a_change_of_the_settings(dsn: str) -> None:
    async with running_server(dsn, settings(block_seconds=1, block_rounding="exact")) as context:
        async with users_of(context) as users:
            fan, creator = await users.fan(1000), await users.creator(2)
            rung = await ring(fan, await _online(users, creator))
    async with running_server(dsn, settings(block_seconds=30, block_rounding="up")) as context:
        async with users_of(context) as users:
            fan, creator = _same(users, fan), _same(users, creator)
            fans, creators = await users.phone(fan), await users.phone(creator)
            await in_thread(creators.ask_ok, {"type": "call:accept", "callId": rung["callId"]})
            for phone in (fans, creators):
                await in_thread(phone.join, rung["channel"])
            tokens = [(await receive(fans, "block:charged", blockNo=number))["tokens"] for number in (1, 2, 3)]
            assert tokens == [1, 0, 0], "a second costs its share of two tokens a minute"


async def _online(users: Users, caller: Caller) -> Caller:
    await users.phone(caller)
    return caller


def _same(users: Users, caller: Caller) -> Caller:
    """Connect the same user to another server."""
    there = users.stranger()
    there.user_id, there.token = caller.user_id, caller.token
    return there
