"""The events that a fan receives, and the blocks that a fan pays, when the tokens run out."""

from datetime import datetime
from typing import Any

import trio

from domain.billing.posting import Kind, Posting
from domain.ids import PROMOTIONS, UserId, client_key
from server.context import Context
from storage.ledger.wallets import find_wallet
from tests.storage.ledger_pair import OPERATOR
from tests.support.clients import Phone, ring_and_join
from tests.support.database_reader import DatabaseReader
from tests.support.servers import add_creator, add_fan, give, online, running_server, settings


async def test_without_a_top_up_the_call_ends_at_the_announced_deadline(context: Context) -> None:
    fan, creator = await add_fan(context, 2), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        await trio.to_thread.run_sync(ring_and_join, fans, creators)
        low = await trio.to_thread.run_sync(fans.wait_for, "balance:low")
        ended = await trio.to_thread.run_sync(creators.wait_for, "call:ended")
        last = (await trio.to_thread.run_sync(lambda: fans.wait_for("block:charged", blockNo=2)))["paidThrough"]
    assert (low["balance"], low["required"]) == (0, 1)
    assert low["endsAt"] == last, "the deadline is the end of what is paid"
    assert 0.8 < low["secondsLeft"] <= 1.0
    assert (ended["reason"], ended["blocks"], ended["tokens"]) == ("insufficient_funds", 2, 2)
    assert abs(_seconds_between(low["endsAt"], ended["at"])) < 0.5
    wallet = await find_wallet(context.postgres, fan)
    assert wallet is not None and wallet.balance == 0


async def test_a_top_up_before_the_deadline_lets_the_call_go_on(context: Context) -> None:
    fan, creator = await add_fan(context, 2), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await trio.to_thread.run_sync(ring_and_join, fans, creators)
        await trio.to_thread.run_sync(fans.wait_for, "balance:low")
        await give(context, fan, 50)
        well = await trio.to_thread.run_sync(fans.wait_for, "balance:ok")
        assert well["balance"] == 50
        await trio.to_thread.run_sync(lambda: fans.wait_for("block:charged", blockNo=3))
        ended = await trio.to_thread.run_sync(_hang_up, fans, ring)
    assert ended["reason"] == "hangup"


async def test_a_fan_whose_tokens_are_spent_elsewhere_is_warned_at_once(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        await trio.to_thread.run_sync(ring_and_join, fans, creators)
        await trio.to_thread.run_sync(lambda: fans.wait_for("block:charged", blockNo=1))
        await take_all_but(context, fan, 0)
        low = await trio.to_thread.run_sync(fans.wait_for, "balance:low")
        ended = await trio.to_thread.run_sync(fans.wait_for, "call:ended")
    assert low["balance"] == 0
    assert ended["reason"] == "insufficient_funds"


async def test_blocks_queued_behind_one_that_cannot_be_paid_are_withdrawn(dsn: str) -> None:
    """Nothing can be booked for a while; a tip that takes the tokens is booked first."""
    async with running_server(dsn, settings(block_seconds=3)) as context:
        fan, creator = await add_fan(context, 100), await add_creator(context, 60)
        async with online(context, fan) as fans, online(context, creator) as creators:
            ring = await trio.to_thread.run_sync(ring_and_join, fans, creators)
            await trio.to_thread.run_sync(lambda: fans.wait_for("block:charged", blockNo=1))
            room = context.registry.find_channel(ring["channel"])
            assert room is not None and room.call is not None
            tip = Posting(key=client_key(fan, "all"), kind=Kind.TIP, debit=fan, credit=creator, tokens=97)
            async with trio.open_nursery() as nursery:
                with DatabaseReader(dsn).held():
                    nursery.start_soon(context.actor.post, [tip])
                    while room.call.meter.posted < 3:  # noqa: ASYNC110  # reason: a block that waits sets no event
                        await trio.sleep(0.05)
            ended = await trio.to_thread.run_sync(creators.wait_for, "call:ended")
            assert (ended["reason"], ended["blocks"], ended["tokens"]) == ("insufficient_funds", 1, 3)
            assert await trio.to_thread.run_sync(fans.balance) == 0
        rows = await context.postgres.fetch("SELECT block_no FROM journal WHERE kind = 1")
        assert [row["block_no"] for row in rows] == [1]


async def take_all_but(context: Context, user_id: UserId, left: int) -> None:
    """Debit the wallet as a correction by an operator does."""
    wallet = await find_wallet(context.postgres, user_id)
    assert wallet is not None
    correction = Posting(
        key=client_key(user_id, "correction"),
        kind=Kind.CREDIT,
        operator_id=OPERATOR,
        debit=user_id,
        credit=PROMOTIONS,
        tokens=wallet.balance - left,
    )
    assert (await context.actor.post([correction]))[0].paid


def _hang_up(phone: Phone, ring: dict[str, Any]) -> dict[str, Any]:
    phone.ask_ok({"type": "call:end", "callId": ring["callId"]})
    return phone.wait_for("call:ended")


def _seconds_between(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
