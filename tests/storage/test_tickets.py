"""A ticket to a stream is bought once, however it is asked for, and again once it was given back."""

import pytest
import trio

from domain.billing.posting import Outcome, Posting, Receipt
from domain.ids import RoomId
from server.ids import new_uuid
from storage.ledger.audit import audit
from tests.storage.books import Books, open_books, ticket, tip

AT_ONCE = 50


async def test_a_ticket_is_bought_beside_whoever_owns_the_room_and_is_the_payers_own(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(100), await books.add_user()
        stream = await books.add_stream()
        await books.postgres.execute("UPDATE rooms SET epoch = 9")
        bought = ticket(stream, fan, creator, 30)
        assert (await books.actor.post([bought]))[0].outcome is Outcome.COMMITTED
        rows = await books.postgres.fetch(
            "SELECT stream_id, user_id, ticket_id, price_tokens, refunded_at FROM stream_tickets"
        )
        assert [tuple(row) for row in rows] == [(stream, fan, bought.ref_id, 30, None)]
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []


@pytest.mark.parametrize("tokens", [30, 500])
async def test_who_has_a_ticket_pays_for_no_other_one_whether_they_could_or_not(dsn: str, tokens: int) -> None:
    async with open_books(dsn) as books:
        fan, other, creator = await books.add_user(100), await books.add_user(100), await books.add_user()
        stream, elsewhere = await books.add_stream(), await books.add_stream()
        await books.post_in_both([ticket(stream, fan, creator, 30)])
        in_books, in_model = await books.post_in_both([ticket(stream, fan, creator, tokens)])
        assert in_books == in_model
        assert (in_books[0].outcome, in_books[0].debit_after) == (Outcome.OWNED, None)
        others = [ticket(elsewhere, fan, creator, 30), ticket(stream, other, creator, 30)]
        assert {receipt.outcome for receipt in await books.actor.post(others)} == {Outcome.COMMITTED}
        assert (await books.wallets_in_books())[creator].balance == 90


async def test_of_several_tickets_in_one_batch_the_first_is_bought(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(100), await books.add_user()
        stream = await books.add_stream()
        batch = [
            ticket(stream, fan, creator, 500),
            ticket(stream, fan, creator, 30, "first"),
            tip(fan, creator, 1),
            ticket(stream, fan, creator, 30),
            ticket(stream, fan, creator, 30, "first"),
        ]
        in_books, in_model = await books.post_in_both(batch)
        assert [receipt.outcome.name for receipt in in_books] == [
            "INSUFFICIENT", "COMMITTED", "COMMITTED", "OWNED", "ALREADY",
        ]  # fmt: skip
        assert in_books == in_model


async def test_many_who_buy_one_ticket_at_once_under_different_keys_pay_it_once(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(100_000), await books.add_user()
        stream, receipts = await books.add_stream(), list[Receipt]()
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(_buy, books, ticket(stream, fan, creator, 30), receipts)
        outcomes = sorted(receipt.outcome for receipt in receipts)
        assert outcomes == [Outcome.COMMITTED] + [Outcome.OWNED] * (AT_ONCE - 1)
        assert (await books.wallets_in_books())[creator].balance == 30


async def test_a_ticket_that_was_given_back_may_be_bought_again_and_is_another_one(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(100), await books.add_user()
        stream = await books.add_stream()
        first, second = ticket(stream, fan, creator, 30), ticket(stream, fan, creator, 40)
        await books.actor.post([first])
        await books.postgres.execute("UPDATE stream_tickets SET refunded_at = now()")
        again = [second, ticket(stream, fan, creator, 40)]
        assert [receipt.outcome for receipt in await books.actor.post(again)] == [Outcome.COMMITTED, Outcome.OWNED]
        rows = await books.postgres.fetch("SELECT ticket_id, price_tokens, refunded_at FROM stream_tickets")
        assert [tuple(row) for row in rows] == [(second.ref_id, 40, None)]
        assert (await books.actor.post([first]))[0].outcome is Outcome.ALREADY, "the key decides before anything else"


async def test_a_ticket_to_what_has_ended_or_is_no_stream_is_not_sold(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(100), await books.add_user()
        ended, no_stream = await books.add_stream(), await books.add_room()
        await books.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", ended)
        nowhere = RoomId(new_uuid())
        for stream, outcome in ((ended, Outcome.CLOSED), (no_stream, Outcome.INVALID), (nowhere, Outcome.INVALID)):
            receipts = await books.actor.post([tip(fan, creator, 1), ticket(stream, fan, creator, 30)])
            assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED, outcome]


async def _buy(books: Books, posting: Posting, receipts: list[Receipt]) -> None:
    receipts += await books.actor.post([posting])
