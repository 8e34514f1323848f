"""The leaderboard: the creator sees all gifts, others only those of public rooms, and by whole days."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from server.context import Context
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check

Givers = list[tuple[str, int]]


async def givers(asker: Caller, **query: Any) -> Givers:
    answer = await asker.get("/tips/leaderboard", **query)
    assert answer.status_code == 200, answer.text
    return [(giver["userId"], giver["tokens"]) for giver in answer.json()["items"]]


async def tip(fan: Caller, creator: Caller, tokens: int, **context: str) -> None:
    body = {"toCreatorId": str(creator.user_id), "amountTokens": tokens}
    answer = await fan.post("/tips/send", {**body, "context": context} if context else body)
    assert answer.status_code == 200, answer.text


async def live(creator: Caller, **terms: Any) -> dict[str, Any]:
    wanted = {"title": "Live", "type": "public", **terms}
    stream = (await creator.post("/streams", wanted)).json()["stream"]
    started: dict[str, Any] = (await creator.post(f"/streams/{stream['id']}/start")).json()["stream"]
    return started


async def test_a_stranger_does_not_learn_which_users_tip_in_a_call_or_when(users: Users) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan()
    operator = await users.operator()
    call_id, _, _ = await users.start_call(fan, creator)
    await tip(fan, creator, 7, callId=call_id)
    channel = (await fan.get(f"/calls/{call_id}")).json()["call"]["channel"]
    hers = {"creatorId": str(creator.user_id)}
    for party in (creator, operator):
        assert await givers(party, **hers) == [(str(fan.user_id), 7)]
        assert await givers(party, channel=channel) == [(str(fan.user_id), 7)]
    assert await givers(fan, channel=channel) == [(str(fan.user_id), 7)]
    for asker in (stranger, fan):
        assert await givers(asker, **hers) == []
    refusals = []
    for named in (channel, "x" * len(channel)):
        fields = check(await stranger.get("/tips/leaderboard", channel=named), 404, "NOT_FOUND")
        refusals.append({**fields, "requestId": ""})
    assert refusals[0] == refusals[1]


async def test_a_stranger_does_not_learn_which_users_tip_outside_of_any_room(users: Users) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan()
    await tip(fan, creator, 7)
    assert await givers(stranger, creatorId=str(creator.user_id)) == []
    assert await givers(creator, creatorId=str(creator.user_id)) == [(str(fan.user_id), 7)]


async def test_public_streams_count_for_everybody_and_private_ones_for_those_with_access(users: Users) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan(1000)
    public = await live(creator)
    await tip(fan, creator, 5, streamId=public["id"])
    await creator.post(f"/streams/{public['id']}/end")
    private = await live(creator, type="private", ticketPriceTokens=10)
    assert (await fan.post(f"/streams/{private['id']}/tickets")).status_code == 201
    await tip(fan, creator, 30, streamId=private["id"])
    hers, of_fan = {"creatorId": str(creator.user_id)}, str(fan.user_id)
    assert await givers(creator, **hers) == [(of_fan, 35)]
    for asker in (stranger, fan):
        assert await givers(asker, **hers) == [(of_fan, 5)]
        assert await givers(asker, channel=public["channel"]) == [(of_fan, 5)]
    check(await stranger.get("/tips/leaderboard", channel=private["channel"]), 403, "FORBIDDEN")
    assert await givers(fan, channel=private["channel"]) == [(of_fan, 30)]
    await creator.put(f"/creators/me/blocks/{fan.user_id}")
    check(await fan.get("/tips/leaderboard", channel=private["channel"]), 403, "FORBIDDEN")
    await creator.post(f"/streams/{private['id']}/end")
    check(await stranger.get("/tips/leaderboard", channel=private["channel"]), 403, "FORBIDDEN")
    assert await givers(creator, channel=private["channel"]) == [(of_fan, 30)]


async def test_a_period_is_of_whole_days_for_a_stranger_and_exact_for_the_creator(
    users: Users, context: Context
) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan()
    public = await live(creator)
    await tip(fan, creator, 5, streamId=public["id"])
    [sent] = (await fan.get("/tips", role="sent")).json()["items"]
    at, hers, all_of_it = datetime.fromisoformat(sent["at"]), str(creator.user_id), [(str(fan.user_id), 5)]
    second = timedelta(seconds=1)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)

    def period(since: datetime, until: datetime) -> dict[str, str]:
        return {"creatorId": hers, "from": since.isoformat(), "to": until.isoformat()}

    before, after = period(at - 2 * second, at - second), period(at + second, at + 2 * second)
    around = period(at - second, at + second)
    assert [await givers(creator, **each) for each in (before, around, after)] == [[], all_of_it, []]
    if (at - 2 * second).day == (at + 2 * second).day:
        assert [await givers(stranger, **each) for each in (before, around, after)] == [all_of_it] * 3
    days = [period(day + timedelta(n), day + timedelta(n + 1)) for n in (-1, 0, 1)]
    assert [await givers(stranger, **each) for each in days] == [[], all_of_it, []]
    last = datetime(9999, 12, 31, 12, tzinfo=UTC)
    assert await givers(stranger, **period(day, last)) == all_of_it


@pytest.mark.parametrize("parameter", ["callId", "streamId"])
async def test_a_wrong_cursor_does_not_reveal_whether_there_is_such_a_room(users: Users, parameter: str) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan()
    call_id, _, _ = await users.start_call(fan, creator)
    for named in (call_id, str(uuid4())):
        check(await stranger.get("/tips", before="nothing", **{parameter: named}), 400, "VALIDATION_FAILED")


async def test_a_user_whom_a_creator_blocks_does_not_see_whether_the_creator_is_online(users: Users) -> None:
    creator, fan, other = await users.online_creator(), await users.fan(), await users.fan()
    await creator.post("/streams", {"title": "Live", "type": "public"})
    await live(creator)
    await creator.put(f"/creators/me/blocks/{fan.user_id}")

    async def seen_by(asker: Caller) -> list[tuple[bool, bool]]:
        card = (await asker.get(f"/creators/{creator.user_id}")).json()
        listed = (await asker.get("/creators")).json()["items"]
        (same,) = [one for one in listed if one["userId"] == str(creator.user_id)]
        return [(each["online"], each["busy"]) for each in (card, same)]

    assert await seen_by(other) == [(True, True)] * 2
    assert await seen_by(fan) == [(False, False)] * 2
