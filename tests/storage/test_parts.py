"""The parts of balances, escrow, debts and payouts as the database books them, one rule at a time."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain.billing.posting import Kind, Outcome, Posting
from domain.ids import ESCROW, LOSSES, PAYOUTS, PostingKey, RoomId, UserId, client_key
from server.ids import new_uuid
from storage.ledger.audit import audit
from storage.ledger.refunds import Advance, Refunded
from storage.market.payouts import Payout, list_payouts
from storage.paging import Page
from tests.storage.books import OPERATOR, Books, credit, open_books, purchase, ticket, tip

BOUGHT, PROMOTIONAL, EARNED = 100, 40, 30


async def test_promotional_tokens_are_spent_first_and_earned_ones_last(dsn: str) -> None:
    async with open_books(dsn) as books:
        spender, other = await _with_all_parts(books), await books.add_user()
        await _book(books, tip(spender, other, PROMOTIONAL + 5))
        assert await _parts(books, spender) == (BOUGHT + EARNED - 5, 0, EARNED)
        await _book(books, tip(spender, other, BOUGHT))
        assert await _parts(books, spender) == (EARNED - 5, 0, EARNED - 5)
        await _check(books)


async def test_a_payment_carries_its_promotional_part_along(dsn: str) -> None:
    async with open_books(dsn) as books:
        spender, other = await _with_all_parts(books), await books.add_user()
        await _book(books, tip(spender, other, PROMOTIONAL + 5))
        assert await _parts(books, other) == (PROMOTIONAL + 5, PROMOTIONAL, 5)
        await _check(books)


async def test_a_payout_takes_earned_tokens_and_no_others(dsn: str) -> None:
    async with open_books(dsn) as books:
        creator = await _with_all_parts(books)
        assert [await _ask_for(books, creator, tokens) for tokens in (EARNED + 1, EARNED)] == [
            Outcome.INSUFFICIENT,
            Outcome.COMMITTED,
        ]
        assert await _parts(books, creator) == (BOUGHT + PROMOTIONAL, PROMOTIONAL, 0)
        await _check(books)


async def test_a_refund_restores_the_parts_as_they_were(dsn: str) -> None:
    async with open_books(dsn) as books:
        spender, other = await _with_all_parts(books), await books.add_user()
        before = await _parts(books, spender)
        paid = tip(spender, other, PROMOTIONAL + BOUGHT + 5)
        await _book(books, paid)
        await _refund(books, paid.key)
        assert (await _parts(books, spender), await _parts(books, other)) == (before, (0, 0, 0))
        await _check(books)


async def test_promotional_tokens_pay_no_bought_ones_back(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator, other = await books.add_user(), await books.add_user(), await books.add_user()
        paid = tip(fan, creator, 50)
        await _book(books, purchase(fan, 50), paid, tip(creator, other, 50), credit(creator, 200))
        assert (await books.actor.refund([paid.key], "by its owner")).uncovered == 1
        refunded = await _refund(books, paid.key)
        assert [(receipt.posting.debit, receipt.posting.tokens) for receipt in refunded.receipts] == [(LOSSES, 50)]
        assert (await _parts(books, fan), await _parts(books, creator)) == ((50, 0, 0), (200, 200, 0))
        await _check(books)


# Escrow


async def test_a_ticket_is_the_creators_once_its_stream_is_released_and_only_once(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, stream, owner = await _stream(books)
        await _book(books, ticket(stream, fan, ESCROW, 30))
        assert (await _parts(books, owner), await _balance(books, ESCROW)) == ((0, 0, 0), 30)
        books.model.release(stream)
        assert [await books.actor.release(stream) for _ in range(2)] == [1, 0]
        assert (await _parts(books, owner), await _balance(books, ESCROW)) == ((30, 0, 30), 0)
        await _check(books)


async def test_a_ticket_that_is_sold_after_the_release_is_the_creators_at_once(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, stream, owner = await _stream(books)
        await books.release(stream)
        await _book(books, ticket(stream, fan, ESCROW, 30))
        assert (await _parts(books, owner), await _balance(books, ESCROW)) == ((30, 0, 30), 0)
        await _check(books)


async def test_an_owner_of_before_releases_no_tickets(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, stream, owner = await _stream(books)
        await _book(books, ticket(stream, fan, ESCROW, 30))
        await books.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", stream)
        assert await books.actor.release(stream, epoch=1) is None
        rows = await books.postgres.fetch("SELECT released_at FROM streams WHERE id = $1", stream)
        assert (rows[0]["released_at"], await _balance(books, ESCROW), await _balance(books, owner)) == (None, 30, 0)
        books.model.release(stream)
        assert await books.actor.release(stream, epoch=2) == 1
        await _check(books)


async def test_a_ticket_that_was_given_back_is_not_released(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, stream, owner = await _stream(books)
        paid = ticket(stream, fan, ESCROW, 30)
        await _book(books, paid)
        await _refund(books, paid.key)
        books.model.release(stream)
        assert await books.actor.release(stream) == 0
        assert (await _balance(books, fan), await _balance(books, owner), await _balance(books, ESCROW)) == (100, 0, 0)
        await _check(books)


# Debts and payouts


async def test_a_debt_is_repaid_by_the_next_earnings_the_oldest_first(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(), await books.add_user()
        await _debts(books, fan, creator, 20, 20)
        assert await _open_debts(books) == [20, 20]
        await _book(books, purchase(fan, 100), tip(fan, creator, 15))
        assert (await _open_debts(books), await _parts(books, creator)) == ([5, 20], (0, 0, 0))
        await _book(books, tip(fan, creator, 35))
        assert (await _open_debts(books), await _parts(books, creator)) == ([0, 0], (10, 0, 10))
        await _check(books)


async def test_what_is_bought_or_given_repays_no_debt(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(), await books.add_user()
        await _debts(books, fan, creator, 20)
        await _book(books, purchase(creator, 50), credit(creator, 50), credit(fan, 50), tip(fan, creator, 50))
        assert (await _open_debts(books), await _parts(books, creator)) == ([20], (150, 100, 0))
        await _check(books)


async def test_a_refund_takes_from_open_payouts_the_newest_first_before_anything_is_advanced(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(), await books.add_user()
        paid = tip(fan, creator, 90)
        await _book(books, purchase(fan, 100), paid, tip(fan, creator, 10))
        assert [await books.payout(creator, tokens) for tokens in (40, 30, 20)] == [True] * 3
        refunded = await _refund(books, paid.key)
        assert {receipt.posting.debit for receipt in refunded.receipts} == {creator}
        payouts = await _payouts(books)
        assert [(payout.tokens, payout.cut_tokens, payout.status) for payout in payouts] == [
            (20, 20, "cancelled"),
            (30, 30, "cancelled"),
            (40, 30, "requested"),
        ]
        assert (await _balance(books, PAYOUTS), await _balance(books, LOSSES)) == (10, 0)
        await _check(books)


async def test_nothing_is_given_back_beyond_the_daily_limit_of_advances(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(), await books.add_user()
        await _debts(books, fan, creator, 20)
        paid = tip(fan, creator, 20)
        await _book(books, paid)  # which repays, and leaves nothing
        refused = await books.actor.refund([paid.key], "sorry", Advance(OPERATOR, 39))
        assert (refused.receipts, refused.missing) == ([], 20)
        books.model.refund([paid.key])
        given = await books.actor.refund([paid.key], "sorry", Advance(OPERATOR, 40))
        assert (given.missing, sum(receipt.posting.tokens for receipt in given.receipts)) == (0, 20)
        await _check(books)


@pytest.mark.parametrize(("before_midnight", "counts"), [(timedelta(microseconds=1), False), (timedelta(0), True)])
async def test_a_day_of_advances_begins_at_midnight_utc_also_before_anything_was_booked_in_it(
    dsn: str, before_midnight: timedelta, counts: bool
) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(), await books.add_user()
        await _debts(books, fan, creator, 20)
        paid = tip(fan, creator, 20)
        await _book(books, paid)
        today = "date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
        await books.postgres.execute(f"UPDATE debts SET created_at = {today} - $1::interval", before_midnight)
        await books.postgres.execute(f"UPDATE fence SET booked_at = {today} - interval '1 second'")
        refunded = await books.actor.refund([paid.key], "sorry", Advance(OPERATOR, 20))
        assert (refunded.missing > 0) is counts


async def test_what_an_operator_orders_is_written_with_the_posting(dsn: str) -> None:
    async with open_books(dsn) as books:
        fan, creator = await books.add_user(), await books.add_user()
        gift, paid = credit(fan, 50), tip(fan, creator, 50)
        await _book(books, gift, paid)
        await _refund(books, paid.key)
        rows = await books.postgres.fetch(
            "SELECT operator_id, action, target_id, tokens FROM operator_actions ORDER BY created_at"
        )
        assert [tuple(row) for row in rows] == [(OPERATOR, "credit", fan, 50), (OPERATOR, "refund", fan, 50)]
        await _check(books)


async def _with_all_parts(books: Books) -> UserId:
    """A user with tokens of all parts."""
    user, fan = await books.add_user(), await books.add_user()
    await _book(books, purchase(fan, EARNED), tip(fan, user, EARNED), purchase(user, BOUGHT), credit(user, PROMOTIONAL))
    return user


async def _stream(books: Books) -> tuple[UserId, RoomId, UserId]:
    """A fan who has bought 100 tokens, a stream, and its owner."""
    fan, stream = await books.add_user(), await books.add_stream()
    await _book(books, purchase(fan, 100))
    rows = await books.postgres.fetch("SELECT creator_id FROM streams WHERE id = $1", stream)
    return fan, stream, UserId(rows[0]["creator_id"])


async def _debts(books: Books, fan: UserId, creator: UserId, *tokens: int) -> None:
    """The creator was tipped so often, and had spent all of it before it was refunded: `losses` advanced it."""
    other, paid = await books.add_user(), [tip(fan, creator, each) for each in tokens]
    await _book(books, purchase(fan, sum(tokens)), *paid, tip(creator, other, sum(tokens)))
    for each in paid:
        await _refund(books, each.key)


async def _ask_for(books: Books, creator: UserId, tokens: int) -> Outcome:
    wanted = Posting(
        key=client_key(creator, str(new_uuid())), kind=Kind.PAYOUT, debit=creator, credit=PAYOUTS, tokens=tokens
    )
    in_books, in_model = await books.post_in_both([wanted])
    assert in_books == in_model
    return in_books[0].outcome


async def _book(books: Books, *postings: Posting) -> None:
    for posting in postings:
        in_books, in_model = await books.post_in_both([posting])
        assert in_books[0].paid and in_books == in_model


async def _refund(books: Books, *paid: PostingKey) -> Refunded:
    books.model.refund(paid)
    return await books.actor.refund(paid, "sorry", Advance(OPERATOR, None))


async def _parts(books: Books, user: UserId) -> tuple[int, int, int]:
    """The balance, and what of it is promotional and earned."""
    wallet = (await books.wallets_in_books())[user]
    return wallet.balance, wallet.promotional, wallet.earned


async def _balance(books: Books, wallet: UUID) -> int:
    return (await books.wallets_in_books())[UserId(wallet)].balance


async def _open_debts(books: Books) -> list[int]:
    """The oldest first."""
    rows = await books.postgres.fetch("SELECT tokens - repaid AS open FROM debts ORDER BY created_at, advance_key")
    return [row["open"] for row in rows]


async def _payouts(books: Books) -> list[Payout]:
    return (await list_payouts(books.postgres, Page())).items


async def _check(books: Books) -> None:
    assert await books.wallets_in_books() == books.model.wallets
    assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []
