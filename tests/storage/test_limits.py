"""Daily spend limits: counted by UTC day, enforced by the database, raised only after a day."""

import pytest
import trio

from domain.billing.posting import Outcome, Posting, Receipt
from domain.ids import UserId
from storage.ledger.audit import audit
from storage.ledger.spend_limits import Loosening, SpendLimit, find_spend_limit, forget_lifted_limits, set_spend_limit
from tests.storage.ledger_pair import LedgerPair, block, credit, open_ledger_pair, ticket, tip

AT_ONCE = 50


async def test_tips_blocks_and_tickets_count_against_the_limit_and_nothing_else_does(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        stream = await ledgers.add_stream(fan)
        await ledgers.allow(fan, 100)
        batch = [
            tip(fan, creator, 40),
            block(stream, fan, creator, 1, tokens=30),
            ticket(stream, fan, creator, 31),
            ticket(stream, fan, creator, 30),
            block(stream, fan, creator, 2, tokens=1),
            block(stream, fan, creator, 2, tokens=0),
            credit(fan, 5),
            tip(creator, fan, 5),
        ]
        in_database, in_model = await ledgers.post_in_both(batch)
        assert [receipt.outcome.name for receipt in in_database] == [
            "COMMITTED", "COMMITTED", "LIMITED", "COMMITTED", "LIMITED", "COMMITTED", "COMMITTED", "COMMITTED",
        ]  # fmt: skip
        assert [(receipt.day_limit, receipt.day_spent) for receipt in in_database[2:5]] == [
            (100, 70), (None, None), (100, 100),
        ]  # fmt: skip
        assert in_database == in_model
        assert await _limit(ledgers, fan) == SpendLimit(100, 100, None)
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def test_tokens_spent_earlier_that_day_count_from_the_first_limit_on(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        await ledgers.post_in_both([tip(fan, creator, 40), tip(fan, creator, 20)])
        await ledgers.allow(fan, 70)
        in_database, in_model = await ledgers.post_in_both([tip(fan, creator, 11)])
        assert in_database == in_model
        assert (in_database[0].outcome, in_database[0].day_spent) == (Outcome.LIMITED, 60)


async def test_a_new_day_begins_with_nothing_spent(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        await ledgers.allow(fan, 70)
        assert await _outcomes(ledgers, tip(fan, creator, 70), tip(fan, creator, 1)) == ["COMMITTED", "LIMITED"]
        await ledgers.postgres.execute("UPDATE spend_limits SET day = day - 1")
        assert await _limit(ledgers, fan) == SpendLimit(70, 0, None)
        assert await _outcomes(ledgers, tip(fan, creator, 70), tip(fan, creator, 1)) == ["COMMITTED", "LIMITED"]


async def test_many_at_once_spend_no_more_than_the_limit(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        await ledgers.allow(fan, 100)
        receipts = list[Receipt]()

        async def spend() -> None:
            receipts.extend(await ledgers.actor.post([tip(fan, creator, 30)]))

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(spend)
        assert sorted(receipt.outcome for receipt in receipts) == [Outcome.COMMITTED] * 3 + [Outcome.LIMITED] * 47
        assert (await ledgers.wallets_in_database())[creator].balance == 90


async def test_a_repeat_is_found_though_its_payer_may_spend_no_more(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        await ledgers.actor.post([tip(fan, creator, 30, "k")])
        await ledgers.allow(fan, 0)
        assert await _outcomes(ledgers, tip(fan, creator, 30, "k"), tip(fan, creator, 1)) == ["ALREADY", "LIMITED"]


async def test_less_counts_at_once_and_more_after_a_day(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        await set_spend_limit(ledgers.postgres, fan, 100)
        await set_spend_limit(ledgers.postgres, fan, 50)
        assert await _limit(ledgers, fan) == SpendLimit(50, 0, None)
        for wanted in (60, None):
            await set_spend_limit(ledgers.postgres, fan, wanted)
            found = await _limit(ledgers, fan)
            assert found is not None
            assert found.next is not None
            assert (found.tokens, found.next.tokens) == (50, wanted)
            assert await _seconds_until(ledgers, found.next) == pytest.approx(24 * 3600, abs=60)
        assert await _outcomes(ledgers, tip(fan, creator, 51)) == ["LIMITED"]
        await set_spend_limit(ledgers.postgres, fan, 50)
        assert await _limit(ledgers, fan) == SpendLimit(50, 0, None), "who thinks better of it keeps what they had"


@pytest.mark.parametrize("wanted", [60, None])
async def test_a_repeated_request_for_a_limit_waits_no_longer(dsn: str, wanted: int | None) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user(1000)
        for tokens in (50, wanted):
            await set_spend_limit(ledgers.postgres, fan, tokens)
        await ledgers.postgres.execute("UPDATE spend_limits SET next_at = next_at - interval '23 hours'")
        first = await _limit(ledgers, fan)
        assert first is not None
        assert first.next is not None
        await set_spend_limit(ledgers.postgres, fan, wanted)
        assert await _limit(ledgers, fan) == first
        await set_spend_limit(ledgers.postgres, fan, 70)
        assert await _limit(ledgers, fan) != first


@pytest.mark.parametrize(("wanted", "outcome"), [(60, "LIMITED"), (None, "COMMITTED")])
async def test_a_scheduled_limit_comes_into_force_by_itself(dsn: str, wanted: int | None, outcome: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        await set_spend_limit(ledgers.postgres, fan, 50)
        await set_spend_limit(ledgers.postgres, fan, wanted)
        await ledgers.postgres.execute("UPDATE spend_limits SET next_at = now()")
        assert await _outcomes(ledgers, tip(fan, creator, 60), tip(fan, creator, 1)) == ["COMMITTED", outcome]
        assert await _limit(ledgers, fan) == (None if wanted is None else SpendLimit(60, 60, None))
        await set_spend_limit(ledgers.postgres, fan, 55)
        assert await _outcomes(ledgers, tip(fan, creator, 1)) == ["LIMITED"], "it is less than what was in force"


async def test_a_wallet_whose_limit_was_lifted_is_like_any_other(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, other = await ledgers.add_user(1000), await ledgers.add_user(1000)
        await set_spend_limit(ledgers.postgres, fan, 50)
        await ledgers.allow(other, 50)
        limited = "SELECT id FROM wallets WHERE limited ORDER BY id"
        await set_spend_limit(ledgers.postgres, fan, None)
        await forget_lifted_limits(ledgers.postgres)
        assert [row["id"] for row in await ledgers.postgres.fetch(limited)] == sorted([fan, other]), "not yet"
        await ledgers.postgres.execute("UPDATE spend_limits SET next_at = now() WHERE user_id = $1", fan)
        await forget_lifted_limits(ledgers.postgres)
        assert [row["id"] for row in await ledgers.postgres.fetch(limited)] == [other]
        assert await _limit(ledgers, fan) is None


async def test_no_limit_is_the_same_as_none_set(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user(1000)
        await set_spend_limit(ledgers.postgres, fan, None)
        assert await _limit(ledgers, fan) is None
        assert await ledgers.postgres.fetch("SELECT FROM wallets WHERE limited") == []


async def _limit(ledgers: LedgerPair, user_id: UserId) -> SpendLimit | None:
    return await find_spend_limit(ledgers.postgres, user_id)


async def _seconds_until(ledgers: LedgerPair, coming: Loosening) -> float:
    rows = await ledgers.postgres.fetch("SELECT extract(epoch FROM clock_timestamp())::float8")
    return coming.at / 1_000_000 - float(rows[0][0])


async def _outcomes(ledgers: LedgerPair, *postings: Posting) -> list[str]:
    return [receipt.outcome.name for receipt in await ledgers.actor.post(postings)]
