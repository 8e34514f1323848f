"""The figures of a server at this moment, beside what happened on it."""

import trio

from server.context import Context
from tests.server.rest.conftest import Users
from tests.server.rest.problems import check


async def test_figures_follow_a_call_and_a_tip(context: Context, users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(100), await users.creator(60)
    before = (await operator.get("/admin/figures")).json()
    call_id, _, _ = await users.start_call(fan, creator)
    tip = {"toCreatorId": str(creator.user_id), "amountTokens": 7}
    assert (await fan.post("/tips/send", tip)).status_code == 200
    during = (await operator.get("/admin/figures")).json()
    assert (during["calls"], during["streams"], during["connections"]) == (1, 0, 2)
    committed = {name: during[name] - before[name] for name in ("tokensSpent", "postings", "batches", "blocks")}
    blocks = committed["postings"] - 1  # and the tip; a block costs one token here
    assert blocks >= 1
    assert committed["tokensSpent"] == 7 + blocks
    assert 1 <= committed["batches"] <= committed["postings"]
    assert committed["blocks"] in (blocks, blocks + 1), "one may be posted and not committed yet"
    assert during["commitSeconds"] > before["commitSeconds"]
    assert during["deliveries"] >= before["deliveries"] + 2 * blocks, "both parties see each block"
    assert during["at"] > before["at"]
    assert during["draining"] is False
    assert (await fan.post(f"/billing/{call_id}/stop")).status_code == 200
    with trio.fail_after(20):
        while (await operator.get("/admin/figures")).json()["calls"]:
            await trio.lowlevel.checkpoint()  # each answer is a poll


async def test_they_are_for_operators(users: Users) -> None:
    check(await (await users.fan()).get("/admin/figures"), 403, "FORBIDDEN")
