"""Two phones hold a real call over real sockets; ledger, events and balances agree."""

from uuid import UUID

import trio

from server.context import Context
from storage.ledger.audit import audit
from storage.ledger.wallets import find_wallet
from tests.support.clients import Phone, ring_and_join
from tests.support.servers import add_creator, add_fan, online


async def test_two_phones_ring_join_pause_and_hang_up(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        call_id = await trio.to_thread.run_sync(_call_for_three_blocks, fans, creators)
        ended = await trio.to_thread.run_sync(creators.wait_for, "call:ended")
    assert (ended["reason"], ended["blocks"], ended["tokens"]) == ("hangup", 3, 3)
    fans_wallet, creators_wallet = (
        await find_wallet(context.postgres, fan),
        await find_wallet(context.postgres, creator),
    )
    assert fans_wallet is not None and (fans_wallet.balance, fans_wallet.lifetime_spent) == (97, 3)
    assert creators_wallet is not None and (creators_wallet.balance, creators_wallet.lifetime_earned) == (3, 3)
    rows = await context.postgres.fetch("SELECT block_no FROM journal WHERE room_id = $1 ORDER BY 1", UUID(call_id))
    assert [row["block_no"] for row in rows] == [1, 2, 3]
    assert [finding async for finding in audit(context.postgres) if finding.rows] == []


def _call_for_three_blocks(fans: Phone, creators: Phone) -> str:
    ring = ring_and_join(fans, creators)
    blocks = [fans.wait_for("block:charged") for _ in range(3)]
    assert [block["blockNo"] for block in blocks] == [1, 2, 3]
    for phone in (fans, creators):
        phone.ask_ok({"type": "call:pause", "callId": ring["callId"]})
        phone.wait_for("call:paused")
        phone.ask_ok({"type": "call:resume", "callId": ring["callId"]})
        phone.wait_for("call:resumed")
    fans.send({"type": "call:end", "callId": ring["callId"]})
    return str(ring["callId"])


async def test_a_session_that_connects_before_both_have_joined_receives_the_acceptance(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    in_thread = trio.to_thread.run_sync
    async with online(context, fan) as fans, online(context, creator) as creators:
        await in_thread(lambda: fans.http.post("/calls/init", json={"creatorId": str(creators.user_id)}))
        ring = await in_thread(creators.wait_for, "call:ringing")
        await in_thread(creators.ask_ok, {"type": "call:accept", "callId": ring["callId"]})
        async with online(context, fan) as tablet:
            accepted = await in_thread(tablet.wait_for, "call:accepted")
            assert (accepted["callId"], accepted["channel"]) == (ring["callId"], ring["channel"])
            for phone in (tablet, creators):
                await in_thread(phone.join, ring["channel"])
            await in_thread(tablet.wait_for, "call:started")
            async with online(context, fan) as late:
                await in_thread(late.ask, {"type": "ping"})
                assert [event["type"] for event in late.events if event["type"].startswith("call:")] == []


async def test_a_session_that_connects_while_it_rings_receives_the_ringing(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        await trio.to_thread.run_sync(lambda: fans.http.post("/calls/init", json={"creatorId": str(creators.user_id)}))
        ring = await trio.to_thread.run_sync(creators.wait_for, "call:ringing")
        async with online(context, creator) as tablet:
            again = await trio.to_thread.run_sync(tablet.wait_for, "call:ringing")
            assert again["callId"] == ring["callId"]
            await trio.to_thread.run_sync(tablet.ask_ok, {"type": "call:decline", "callId": ring["callId"]})
            for phone in (fans, creators, tablet):
                await trio.to_thread.run_sync(phone.wait_for, "call:declined")
