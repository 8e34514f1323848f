"""Tips over HTTP: in a live room and outside of any, once under a key, and their history."""

from typing import Any
from uuid import uuid4

from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check


async def live(users: Users) -> tuple[Caller, dict[str, Any]]:
    """A creator with a live public stream."""
    creator = await users.creator()
    stream = (await creator.post("/streams", {"title": "Live", "type": "public"})).json()["stream"]
    return creator, (await creator.post(f"/streams/{stream['id']}/start")).json()["stream"]


async def test_a_tip_is_answered_in_both_formats(users: Users) -> None:
    creator, fan = await users.creator(), await users.fan(100)
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 30, "message": "thanks\u0007"}
    answer = (await fan.post("/tips/send", body, key="k")).json()
    assert answer["tip"]["message"] == "thanks" and answer["wallet"] == {"balance": 70}
    flat = {"success": True, "tipId": answer["tip"]["tipId"], "amount": 30, "newBalance": 70}
    assert {name: answer[name] for name in flat} == flat
    assert (await fan.post("/tips/send", body, key="k")).json() == answer
    check(await fan.post("/tips/send", {**body, "amountTokens": 31}, key="k"), 422, "IDEMPOTENCY_CONFLICT")
    short = check(await fan.post("/tips/send", {**body, "amountTokens": 71}), 400, "INSUFFICIENT_TOKENS")
    assert (short["required"], short["current"], short["shortfall"]) == (71, 70, 1)


async def test_a_tip_goes_to_the_room_that_its_context_names(users: Users) -> None:
    creator, stream = await live(users)
    fan, other = await users.fan(100), await users.creator()
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
    for context in ({"streamId": stream["id"]}, {"channel": stream["channel"]}):
        answer = (await fan.post("/tips/send", {**body, "context": context})).json()
        assert answer["tip"]["channel"] == stream["channel"]
    for context in ({"channel": "x" * 22}, {"streamId": str(uuid4())}, {"callId": str(uuid4()), "channel": "nope"}):
        check(await fan.post("/tips/send", {**body, "context": context}), 400, "VALIDATION_FAILED")
    stolen = {**body, "toCreatorId": str(other.user_id), "context": {"channel": stream["channel"]}}
    check(await fan.post("/tips/send", stolen), 400, "VALIDATION_FAILED")
    await creator.post(f"/streams/{stream['id']}/end")
    late = {**body, "context": {"streamId": stream["id"]}}
    check(await fan.post("/tips/send", late), 409, "STREAM_NOT_LIVE")
    sent = (await fan.get("/tips", role="sent", streamId=stream["id"])).json()
    assert [(tip["amountTokens"], tip["roomId"]) for tip in sent["items"]] == [(5, stream["id"])] * 2
    assert (await creator.get("/tips", role="received")).json()["total"] == 2
    ranking = (await fan.get("/tips/leaderboard", channel=stream["channel"])).json()["items"]
    assert [(giver["userId"], giver["tips"], giver["tokens"]) for giver in ranking] == [(str(fan.user_id), 2, 10)]


async def test_a_user_whom_a_creator_blocks_cannot_tip(users: Users) -> None:
    creator, stream = await live(users)
    fan = await users.fan(100)
    await creator.put(f"/creators/me/blocks/{fan.user_id}")
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 5}
    check(await fan.post("/tips/send", body), 409, "CREATOR_UNAVAILABLE")
    check(await fan.post("/tips/send", {**body, "context": {"streamId": stream["id"]}}), 409, "CREATOR_UNAVAILABLE")
    check(await creator.post("/tips/send", body), 400, "SELF_PAYMENT")
