"""The blocks of a metered stream, as a viewer sees them over REST."""

from functools import partial

import trio

from tests.server.rest.conftest import Users
from tests.server.rest.problems import SOMEBODY, check


async def test_a_viewer_sees_their_own_blocks_of_a_metered_stream(users: Users) -> None:
    viewer, other, creator = await users.fan(), await users.fan(), await users.creator()
    announced = await creator.post("/streams", {"title": "Tonight", "type": "private", "rateTokensPerMin": 60})
    stream = announced.json()["stream"]
    path = f"/billing/streams/{stream['id']}"
    check(await viewer.get(path), 404, "NOT_FOUND")
    viewers, others, creators = await users.phone(viewer), await users.phone(other), await users.phone(creator)
    await creator.post(f"/streams/{stream['id']}/start")
    for phone in (creators, viewers, others):
        await trio.to_thread.run_sync(phone.join, stream["channel"])
    for phone in (viewers, others):
        await trio.to_thread.run_sync(partial(phone.wait_for, "block:charged", blockNo=1))
    live = (await viewer.get(path)).json()
    assert (live["stream"]["id"], live["stream"]["status"]) == (stream["id"], "live")
    assert live["paidThrough"] is not None and 0 < live["secondsLeft"] <= 100
    check(await creator.get(path), 404, "NOT_FOUND")
    check(await viewer.get(f"/billing/streams/{SOMEBODY}"), 404, "NOT_FOUND")

    await creator.post(f"/streams/{stream['id']}/end")
    await trio.to_thread.run_sync(viewers.wait_for, "room:closed")
    ended = (await viewer.get(path)).json()
    assert (ended["stream"]["status"], ended["paidThrough"], ended["secondsLeft"]) == ("ended", None, 0.0)
    blocks, totals = ended["blocks"], ended["totals"]
    assert [block["blockNo"] for block in blocks] == list(range(1, totals["blocks"] + 1))
    assert totals["tokens"] == sum(block["tokens"] - block["refundedTokens"] for block in blocks)
    assert totals["refundedTokens"] == sum(block["refundedTokens"] for block in blocks)
    assert 0 < totals["activeSeconds"] <= totals["blocks"]

    paid = (await viewer.get("/billing/history", streamId=stream["id"])).json()["items"]
    assert {(block["callId"], block["streamId"]) for block in paid} == {(None, stream["id"])}
    assert [block["blockNo"] for block in reversed(paid)] == [block["blockNo"] for block in blocks]
    assert (await viewer.get("/billing/history", callId=stream["id"])).json()["items"] == []
    assert (await (await users.fan()).get("/billing/history", streamId=stream["id"])).json()["items"] == []
    earned = (await creator.get("/billing/history", streamId=stream["id"])).json()["items"]
    assert {block["counterparty"] for block in earned} == {str(viewer.user_id), str(other.user_id)}
