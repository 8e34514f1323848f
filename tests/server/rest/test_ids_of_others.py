"""The existence of another user's object cannot be probed by naming it."""

from typing import Any
from uuid import uuid4

import trio

from server.context import Context
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check


async def test_a_tips_context_does_not_reveal_whether_there_is_such_a_call(users: Users) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan(1000)
    call_id, _, creators = await users.start_call(fan, creator)
    channel = (await fan.get(f"/calls/{call_id}")).json()["call"]["channel"]

    async def refusal(named: str, asker: Caller, **more: Any) -> dict[str, Any]:
        body = {"toCreatorId": str(creator.user_id), "amountTokens": 1, "context": {**more}}
        fields = check(await asker.post("/tips/send", body, key=str(uuid4())), 400, "VALIDATION_FAILED")
        return {**fields, "requestId": ""}

    nobody = str(uuid4())
    same = await refusal(nobody, stranger, callId=nobody)
    assert await refusal(call_id, stranger, callId=call_id) == same
    assert await refusal(call_id, stranger, streamId=call_id) == same
    assert await refusal(call_id, stranger, channel=channel) == same
    assert await refusal(call_id, stranger, callId=call_id, channel=channel) == same
    await trio.to_thread.run_sync(creators.ask_ok, {"type": "call:end", "callId": call_id})
    assert await refusal(call_id, stranger, callId=call_id) == same
    assert await refusal(nobody, fan, callId=nobody) == same


async def test_a_used_key_does_not_reveal_whether_there_is_such_a_room(users: Users) -> None:
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan(1000)
    call_id, _, _ = await users.start_call(fan, creator)
    body = {"toCreatorId": str(creator.user_id), "amountTokens": 1}
    assert (await stranger.post("/tips/send", body, key="used")).status_code == 200
    for named in (call_id, str(uuid4())):
        again = await stranger.post("/tips/send", {**body, "context": {"callId": named}}, key="used")
        check(again, 422, "IDEMPOTENCY_CONFLICT")
    channel = (await fan.get(f"/calls/{call_id}")).json()["call"]["channel"]
    phone = await users.phone(stranger)
    for named in (channel, "x" * len(channel)):
        command = {"type": "tip:send", "channel": named, "amountTokens": 1, "key": "used"}
        answer = await trio.to_thread.run_sync(phone.ask, command)
        assert answer["error"] == "IDEMPOTENCY_CONFLICT"


async def test_strangers_commands_do_not_wait_in_a_call(users: Users, context: Context) -> None:
    """Otherwise a full inbox would reveal that there is such a call, and keep its parties from ending it."""
    creator, fan, stranger = await users.creator(), await users.fan(1000), await users.fan(1000)
    call_id, _, _ = await users.start_call(fan, creator)
    (room,) = context.registry.calls()
    offered = []
    monkey = room.inbox.offer
    room.inbox.offer = lambda given: offered.append(given) or monkey(given)  # type: ignore[method-assign, func-returns-value]
    phone = await users.phone(stranger)
    for command in ("call:end", "call:pause", "call:accept"):
        answer = await trio.to_thread.run_sync(phone.ask, {"type": command, "callId": call_id})
        assert (answer["error"], answer["message"]) == ("NOT_FOUND", "No such call")
    answer = await trio.to_thread.run_sync(phone.join, room.channel)
    assert (answer["error"], answer["message"]) == ("NOT_FOUND", "No such room")
    assert offered == []
