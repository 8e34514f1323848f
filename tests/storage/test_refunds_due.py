"""Blocks that are to be given back: written down by a room's owner, tried when they can be paid, never cashed out."""

from domain.ids import PostingKey, RoomId, UserId
from storage.ledger.audit import audit
from storage.ledger.refunds_due import RefundsDue, find_refunds_due, note_refunds_due, settle_refunds_due
from storage.market.payouts import Cashable, cashable_tokens
from tests.storage.books import Books, block, open_books, purchase, tip


async def _one_block(books: Books) -> tuple[RoomId, UserId, UserId, PostingKey]:
    """A fan has paid a creator for a block of 15 tokens."""
    fan, creator = await books.add_user(), await books.add_user()
    room = await books.add_stream(fan)
    paid = block(room, fan, creator, 1)
    assert all(receipt.paid for receipt in await books.actor.post([purchase(fan, 100), paid]))
    return room, fan, creator, paid.key


async def _let_time_pass(books: Books) -> None:
    await books.postgres.execute("UPDATE refunds_due SET next_try_at = now()")


async def test_an_owner_of_before_writes_nothing_down(dsn: str) -> None:
    async with open_books(dsn) as books:
        room, _, creator, paid = await _one_block(books)
        await books.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", room)
        assert not await note_refunds_due(books.postgres, room, 1, [paid])
        await _let_time_pass(books)
        assert await find_refunds_due(books.postgres) == []
        assert await note_refunds_due(books.postgres, room, 2, [paid])
        await _let_time_pass(books)
        assert await find_refunds_due(books.postgres) == [RefundsDue(creator, [paid])]


async def test_what_is_written_down_twice_is_due_once_and_what_was_never_booked_is_not(dsn: str) -> None:
    async with open_books(dsn) as books:
        room, fan, creator, paid = await _one_block(books)
        for _ in range(2):
            assert await note_refunds_due(books.postgres, room, 1, [paid, block(room, fan, creator, 2).key])
        await _let_time_pass(books)
        assert await find_refunds_due(books.postgres) == [RefundsDue(creator, [paid])]


async def test_what_its_payee_has_spent_waits_until_they_have_as_much_again(dsn: str) -> None:
    async with open_books(dsn) as books:
        room, fan, creator, paid = await _one_block(books)
        friend = await books.add_user()
        await books.actor.post([tip(creator, friend, 15)])
        assert await note_refunds_due(books.postgres, room, 1, [paid])
        await _let_time_pass(books)
        assert await find_refunds_due(books.postgres) == [], "nothing is tried that cannot be paid"
        await books.actor.post([tip(friend, creator, 14)])
        assert await find_refunds_due(books.postgres) == []
        await books.actor.post([tip(friend, creator, 1)])
        (due,) = await find_refunds_due(books.postgres)
        assert (await books.actor.refund(due.paid, "sorry")).uncovered == 0
        await settle_refunds_due(books.postgres, due.paid)
        assert await books.postgres.fetch("SELECT FROM refunds_due") == []
        assert (await books.wallets_in_books())[fan].balance == 100
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []


async def test_what_is_to_be_given_back_is_not_cashed_out(dsn: str) -> None:
    async with open_books(dsn) as books:
        room, fan, creator, paid = await _one_block(books)
        await books.actor.post([tip(fan, creator, 5)])
        assert await cashable_tokens(books.postgres, creator, 0) == Cashable(20, 0, 0)
        assert await note_refunds_due(books.postgres, room, 1, [paid])
        assert await cashable_tokens(books.postgres, creator, 0) == Cashable(5, 0, 15)
        await books.actor.refund([paid], "sorry")
        await settle_refunds_due(books.postgres, [paid])
        assert await cashable_tokens(books.postgres, creator, 0) == Cashable(5, 0, 0)
