"""Refunds of blocks that are due: queued by the room's owner, attempted once the payee can pay, never cashed out."""

from domain.ids import PostingKey, RoomId, UserId
from storage.ledger.audit import audit
from storage.ledger.refunds_due import RefundsDue, find_refunds_due, note_refunds_due, settle_refunds_due
from storage.market.payouts import Cashable, cashable_tokens
from tests.storage.ledger_pair import LedgerPair, block, open_ledger_pair, purchase, tip


async def _one_block(ledgers: LedgerPair) -> tuple[RoomId, UserId, UserId, PostingKey]:
    """A fan has paid a creator for a block of 15 tokens."""
    fan, creator = await ledgers.add_user(), await ledgers.add_user()
    room = await ledgers.add_stream(fan)
    paid = block(room, fan, creator, 1)
    assert all(receipt.paid for receipt in await ledgers.actor.post([purchase(fan, 100), paid]))
    return room, fan, creator, paid.key


async def _let_time_pass(ledgers: LedgerPair) -> None:
    await ledgers.postgres.execute("UPDATE refunds_due SET next_try_at = now()")


async def test_an_owner_of_before_writes_nothing_down(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        room, _, creator, paid = await _one_block(ledgers)
        await ledgers.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", room)
        assert not await note_refunds_due(ledgers.postgres, room, 1, [paid])
        await _let_time_pass(ledgers)
        assert await find_refunds_due(ledgers.postgres) == []
        assert await note_refunds_due(ledgers.postgres, room, 2, [paid])
        await _let_time_pass(ledgers)
        assert await find_refunds_due(ledgers.postgres) == [RefundsDue(creator, [paid])]


async def test_a_refund_noted_twice_is_due_once_and_one_of_an_unbooked_posting_never(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        room, fan, creator, paid = await _one_block(ledgers)
        for _ in range(2):
            assert await note_refunds_due(ledgers.postgres, room, 1, [paid, block(room, fan, creator, 2).key])
        await _let_time_pass(ledgers)
        assert await find_refunds_due(ledgers.postgres) == [RefundsDue(creator, [paid])]


async def test_a_refund_waits_until_its_payee_has_enough_tokens_again(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        room, fan, creator, paid = await _one_block(ledgers)
        friend = await ledgers.add_user()
        await ledgers.actor.post([tip(creator, friend, 15)])
        assert await note_refunds_due(ledgers.postgres, room, 1, [paid])
        await _let_time_pass(ledgers)
        assert await find_refunds_due(ledgers.postgres) == [], "nothing is tried that cannot be paid"
        await ledgers.actor.post([tip(friend, creator, 14)])
        assert await find_refunds_due(ledgers.postgres) == []
        await ledgers.actor.post([tip(friend, creator, 1)])
        (due,) = await find_refunds_due(ledgers.postgres)
        assert (await ledgers.actor.refund(due.paid, "sorry")).uncovered == 0
        await settle_refunds_due(ledgers.postgres, due.paid)
        assert await ledgers.postgres.fetch("SELECT FROM refunds_due") == []
        assert (await ledgers.wallets_in_database())[fan].balance == 100
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def test_tokens_due_to_be_refunded_are_not_cashable(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        room, fan, creator, paid = await _one_block(ledgers)
        await ledgers.actor.post([tip(fan, creator, 5)])
        assert await cashable_tokens(ledgers.postgres, creator, 0) == Cashable(20, 0, 0)
        assert await note_refunds_due(ledgers.postgres, room, 1, [paid])
        assert await cashable_tokens(ledgers.postgres, creator, 0) == Cashable(5, 0, 15)
        await ledgers.actor.refund([paid], "sorry")
        await settle_refunds_due(ledgers.postgres, [paid])
        assert await cashable_tokens(ledgers.postgres, creator, 0) == Cashable(5, 0, 0)
