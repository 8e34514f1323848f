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
from tests.storage.ledger_pair import OPERATOR, LedgerPair, credit, open_ledger_pair, purchase, ticket, tip

BOUGHT, PROMOTIONAL, EARNED = 100, 40, 30


async def test_promotional_tokens_are_spent_first_and_earned_ones_last(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        spender, other = await _with_all_parts(ledgers), await ledgers.add_user()
        await _book(ledgers, tip(spender, other, PROMOTIONAL + 5))
        assert await _parts(ledgers, spender) == (BOUGHT + EARNED - 5, 0, EARNED)
        await _book(ledgers, tip(spender, other, BOUGHT))
        assert await _parts(ledgers, spender) == (EARNED - 5, 0, EARNED - 5)
        await _check(ledgers)


async def test_a_payment_carries_its_promotional_part_along(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        spender, other = await _with_all_parts(ledgers), await ledgers.add_user()
        await _book(ledgers, tip(spender, other, PROMOTIONAL + 5))
        assert await _parts(ledgers, other) == (PROMOTIONAL + 5, PROMOTIONAL, 5)
        await _check(ledgers)


async def test_a_payout_takes_earned_tokens_and_no_others(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        creator = await _with_all_parts(ledgers)
        assert [await _ask_for(ledgers, creator, tokens) for tokens in (EARNED + 1, EARNED)] == [
            Outcome.INSUFFICIENT,
            Outcome.COMMITTED,
        ]
        assert await _parts(ledgers, creator) == (BOUGHT + PROMOTIONAL, PROMOTIONAL, 0)
        await _check(ledgers)


async def test_a_refund_restores_the_parts_as_they_were(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        spender, other = await _with_all_parts(ledgers), await ledgers.add_user()
        before = await _parts(ledgers, spender)
        paid = tip(spender, other, PROMOTIONAL + BOUGHT + 5)
        await _book(ledgers, paid)
        await _refund(ledgers, paid.key)
        assert (await _parts(ledgers, spender), await _parts(ledgers, other)) == (before, (0, 0, 0))
        await _check(ledgers)


async def test_promotional_tokens_pay_no_bought_ones_back(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator, other = await ledgers.add_user(), await ledgers.add_user(), await ledgers.add_user()
        paid = tip(fan, creator, 50)
        await _book(ledgers, purchase(fan, 50), paid, tip(creator, other, 50), credit(creator, 200))
        assert (await ledgers.actor.refund([paid.key], "by its owner")).uncovered == 1
        refunded = await _refund(ledgers, paid.key)
        assert [(receipt.posting.debit, receipt.posting.tokens) for receipt in refunded.receipts] == [(LOSSES, 50)]
        assert (await _parts(ledgers, fan), await _parts(ledgers, creator)) == ((50, 0, 0), (200, 200, 0))
        await _check(ledgers)


# Escrow


async def test_a_ticket_is_the_creators_once_its_stream_is_released_and_only_once(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, stream, owner = await _stream(ledgers)
        await _book(ledgers, ticket(stream, fan, ESCROW, 30))
        assert (await _parts(ledgers, owner), await _balance(ledgers, ESCROW)) == ((0, 0, 0), 30)
        ledgers.model.release(stream)
        assert [await ledgers.actor.release(stream) for _ in range(2)] == [1, 0]
        assert (await _parts(ledgers, owner), await _balance(ledgers, ESCROW)) == ((30, 0, 30), 0)
        await _check(ledgers)


async def test_a_ticket_that_is_sold_after_the_release_is_the_creators_at_once(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, stream, owner = await _stream(ledgers)
        await ledgers.release(stream)
        await _book(ledgers, ticket(stream, fan, ESCROW, 30))
        assert (await _parts(ledgers, owner), await _balance(ledgers, ESCROW)) == ((30, 0, 30), 0)
        await _check(ledgers)


async def test_an_owner_of_before_releases_no_tickets(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, stream, owner = await _stream(ledgers)
        await _book(ledgers, ticket(stream, fan, ESCROW, 30))
        await ledgers.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", stream)
        assert await ledgers.actor.release(stream, epoch=1) is None
        rows = await ledgers.postgres.fetch("SELECT released_at FROM streams WHERE id = $1", stream)
        assert (rows[0]["released_at"], await _balance(ledgers, ESCROW), await _balance(ledgers, owner)) == (
            None,
            30,
            0,
        )
        ledgers.model.release(stream)
        assert await ledgers.actor.release(stream, epoch=2) == 1
        await _check(ledgers)


async def test_a_ticket_that_was_given_back_is_not_released(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, stream, owner = await _stream(ledgers)
        paid = ticket(stream, fan, ESCROW, 30)
        await _book(ledgers, paid)
        await _refund(ledgers, paid.key)
        ledgers.model.release(stream)
        assert await ledgers.actor.release(stream) == 0
        assert (await _balance(ledgers, fan), await _balance(ledgers, owner), await _balance(ledgers, ESCROW)) == (
            100,
            0,
            0,
        )
        await _check(ledgers)


# Debts and payouts


async def test_a_debt_is_repaid_by_the_next_earnings_the_oldest_first(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        await _debts(ledgers, fan, creator, 20, 20)
        assert await _open_debts(ledgers) == [20, 20]
        await _book(ledgers, purchase(fan, 100), tip(fan, creator, 15))
        assert (await _open_debts(ledgers), await _parts(ledgers, creator)) == ([5, 20], (0, 0, 0))
        await _book(ledgers, tip(fan, creator, 35))
        assert (await _open_debts(ledgers), await _parts(ledgers, creator)) == ([0, 0], (10, 0, 10))
        await _check(ledgers)


async def test_purchased_and_promotional_tokens_repay_no_debt(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        await _debts(ledgers, fan, creator, 20)
        await _book(ledgers, purchase(creator, 50), credit(creator, 50), credit(fan, 50), tip(fan, creator, 50))
        assert (await _open_debts(ledgers), await _parts(ledgers, creator)) == ([20], (150, 100, 0))
        await _check(ledgers)


async def test_a_refund_takes_from_open_payouts_the_newest_first_before_anything_is_advanced(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        paid = tip(fan, creator, 90)
        await _book(ledgers, purchase(fan, 100), paid, tip(fan, creator, 10))
        assert [await ledgers.payout(creator, tokens) for tokens in (40, 30, 20)] == [True] * 3
        refunded = await _refund(ledgers, paid.key)
        assert {receipt.posting.debit for receipt in refunded.receipts} == {creator}
        payouts = await _payouts(ledgers)
        assert [(payout.tokens, payout.cut_tokens, payout.status) for payout in payouts] == [
            (20, 20, "cancelled"),
            (30, 30, "cancelled"),
            (40, 30, "requested"),
        ]
        assert (await _balance(ledgers, PAYOUTS), await _balance(ledgers, LOSSES)) == (10, 0)
        await _check(ledgers)


async def test_nothing_is_given_back_beyond_the_daily_limit_of_advances(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        await _debts(ledgers, fan, creator, 20)
        paid = tip(fan, creator, 20)
        await _book(ledgers, paid)  # which repays the debt, and leaves no token
        refused = await ledgers.actor.refund([paid.key], "sorry", Advance(OPERATOR, 39))
        assert (refused.receipts, refused.missing) == ([], 20)
        ledgers.model.refund([paid.key])
        given = await ledgers.actor.refund([paid.key], "sorry", Advance(OPERATOR, 40))
        assert (given.missing, sum(receipt.posting.tokens for receipt in given.receipts)) == (0, 20)
        await _check(ledgers)


@pytest.mark.parametrize(("before_midnight", "counts"), [(timedelta(microseconds=1), False), (timedelta(0), True)])
async def test_a_day_of_advances_begins_at_midnight_utc_also_before_anything_was_booked_in_it(
    dsn: str, before_midnight: timedelta, counts: bool
) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        await _debts(ledgers, fan, creator, 20)
        paid = tip(fan, creator, 20)
        await _book(ledgers, paid)
        today = "date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"
        await ledgers.postgres.execute(f"UPDATE debts SET created_at = {today} - $1::interval", before_midnight)
        await ledgers.postgres.execute(f"UPDATE fence SET booked_at = {today} - interval '1 second'")
        refunded = await ledgers.actor.refund([paid.key], "sorry", Advance(OPERATOR, 20))
        assert (refunded.missing > 0) is counts


async def test_an_operators_action_is_stored_with_its_posting(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        gift, paid = credit(fan, 50), tip(fan, creator, 50)
        await _book(ledgers, gift, paid)
        await _refund(ledgers, paid.key)
        rows = await ledgers.postgres.fetch(
            "SELECT operator_id, action, target_id, tokens FROM operator_actions ORDER BY created_at"
        )
        assert [tuple(row) for row in rows] == [(OPERATOR, "credit", fan, 50), (OPERATOR, "refund", fan, 50)]
        await _check(ledgers)


async def _with_all_parts(ledgers: LedgerPair) -> UserId:
    """A user with tokens of all parts."""
    user, fan = await ledgers.add_user(), await ledgers.add_user()
    await _book(
        ledgers, purchase(fan, EARNED), tip(fan, user, EARNED), purchase(user, BOUGHT), credit(user, PROMOTIONAL)
    )
    return user


async def _stream(ledgers: LedgerPair) -> tuple[UserId, RoomId, UserId]:
    """A fan who has bought 100 tokens, a stream, and its owner."""
    fan, stream = await ledgers.add_user(), await ledgers.add_stream()
    await _book(ledgers, purchase(fan, 100))
    rows = await ledgers.postgres.fetch("SELECT creator_id FROM streams WHERE id = $1", stream)
    return fan, stream, UserId(rows[0]["creator_id"])


async def _debts(ledgers: LedgerPair, fan: UserId, creator: UserId, *tokens: int) -> None:
    """Have `losses` advance refunds of so many tips, which the creator has spent."""
    other, paid = await ledgers.add_user(), [tip(fan, creator, each) for each in tokens]
    await _book(ledgers, purchase(fan, sum(tokens)), *paid, tip(creator, other, sum(tokens)))
    for each in paid:
        await _refund(ledgers, each.key)


async def _ask_for(ledgers: LedgerPair, creator: UserId, tokens: int) -> Outcome:
    wanted = Posting(
        key=client_key(creator, str(new_uuid())), kind=Kind.PAYOUT, debit=creator, credit=PAYOUTS, tokens=tokens
    )
    in_database, in_model = await ledgers.post_in_both([wanted])
    assert in_database == in_model
    return in_database[0].outcome


async def _book(ledgers: LedgerPair, *postings: Posting) -> None:
    for posting in postings:
        in_database, in_model = await ledgers.post_in_both([posting])
        assert in_database[0].paid and in_database == in_model


async def _refund(ledgers: LedgerPair, *paid: PostingKey) -> Refunded:
    ledgers.model.refund(paid)
    return await ledgers.actor.refund(paid, "sorry", Advance(OPERATOR, None))


async def _parts(ledgers: LedgerPair, user: UserId) -> tuple[int, int, int]:
    """Return the balance and its promotional and earned parts."""
    wallet = (await ledgers.wallets_in_database())[user]
    return wallet.balance, wallet.promotional, wallet.earned


async def _balance(ledgers: LedgerPair, wallet: UUID) -> int:
    return (await ledgers.wallets_in_database())[UserId(wallet)].balance


async def _open_debts(ledgers: LedgerPair) -> list[int]:
    """The oldest first."""
    rows = await ledgers.postgres.fetch("SELECT tokens - repaid AS open FROM debts ORDER BY created_at, advance_key")
    return [row["open"] for row in rows]


async def _payouts(ledgers: LedgerPair) -> list[Payout]:
    return (await list_payouts(ledgers.postgres, Page())).items


async def _check(ledgers: LedgerPair) -> None:
    assert await ledgers.wallets_in_database() == ledgers.model.wallets
    assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
