"""A ticket to a stream is bought once, whatever the key, and again once it was refunded."""

import pytest
import trio

from domain.billing.posting import Outcome, Posting, Receipt
from domain.ids import RoomId
from server.ids import new_uuid
from storage.ledger.audit import audit
from tests.storage.ledger_pair import LedgerPair, open_ledger_pair, ticket, tip

AT_ONCE = 50


async def test_a_ticket_is_bought_beside_whoever_owns_the_room_and_is_the_payers_own(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        stream = await ledgers.add_stream()
        await ledgers.postgres.execute("UPDATE rooms SET epoch = 9")
        bought = ticket(stream, fan, creator, 30)
        assert (await ledgers.actor.post([bought]))[0].outcome is Outcome.COMMITTED
        rows = await ledgers.postgres.fetch(
            "SELECT stream_id, user_id, ticket_id, price_tokens, refunded_at FROM stream_tickets"
        )
        assert [tuple(row) for row in rows] == [(stream, fan, bought.ref_id, 30, None)]
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


@pytest.mark.parametrize("tokens", [30, 500])
async def test_a_ticket_holder_pays_for_no_second_one_whether_they_could_or_not(dsn: str, tokens: int) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, other, creator = await ledgers.add_user(100), await ledgers.add_user(100), await ledgers.add_user()
        stream, elsewhere = await ledgers.add_stream(), await ledgers.add_stream()
        await ledgers.post_in_both([ticket(stream, fan, creator, 30)])
        in_database, in_model = await ledgers.post_in_both([ticket(stream, fan, creator, tokens)])
        assert in_database == in_model
        assert (in_database[0].outcome, in_database[0].debit_after) == (Outcome.OWNED, None)
        others = [ticket(elsewhere, fan, creator, 30), ticket(stream, other, creator, 30)]
        assert {receipt.outcome for receipt in await ledgers.actor.post(others)} == {Outcome.COMMITTED}
        assert (await ledgers.wallets_in_database())[creator].balance == 90


async def test_of_several_tickets_in_one_batch_the_first_is_bought(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        stream = await ledgers.add_stream()
        batch = [
            ticket(stream, fan, creator, 500),
            ticket(stream, fan, creator, 30, "first"),
            tip(fan, creator, 1),
            ticket(stream, fan, creator, 30),
            ticket(stream, fan, creator, 30, "first"),
        ]
        in_database, in_model = await ledgers.post_in_both(batch)
        assert [receipt.outcome.name for receipt in in_database] == [
            "INSUFFICIENT", "COMMITTED", "COMMITTED", "OWNED", "ALREADY",
        ]  # fmt: skip
        assert in_database == in_model


async def test_many_who_buy_one_ticket_at_once_under_different_keys_pay_it_once(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100_000), await ledgers.add_user()
        stream, receipts = await ledgers.add_stream(), list[Receipt]()
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(_buy, ledgers, ticket(stream, fan, creator, 30), receipts)
        outcomes = sorted(receipt.outcome for receipt in receipts)
        assert outcomes == [Outcome.COMMITTED] + [Outcome.OWNED] * (AT_ONCE - 1)
        assert (await ledgers.wallets_in_database())[creator].balance == 30


async def test_a_ticket_that_was_given_back_may_be_bought_again_and_is_another_one(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        stream = await ledgers.add_stream()
        first, second = ticket(stream, fan, creator, 30), ticket(stream, fan, creator, 40)
        await ledgers.actor.post([first])
        await ledgers.postgres.execute("UPDATE stream_tickets SET refunded_at = now()")
        again = [second, ticket(stream, fan, creator, 40)]
        assert [receipt.outcome for receipt in await ledgers.actor.post(again)] == [Outcome.COMMITTED, Outcome.OWNED]
        rows = await ledgers.postgres.fetch("SELECT ticket_id, price_tokens, refunded_at FROM stream_tickets")
        assert [tuple(row) for row in rows] == [(second.ref_id, 40, None)]
        assert (await ledgers.actor.post([first]))[0].outcome is Outcome.ALREADY, "the key decides before anything else"


async def test_a_ticket_to_what_has_ended_or_is_no_stream_is_not_sold(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        ended, no_stream = await ledgers.add_stream(), await ledgers.add_room()
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", ended)
        nowhere = RoomId(new_uuid())
        for stream, outcome in ((ended, Outcome.CLOSED), (no_stream, Outcome.INVALID), (nowhere, Outcome.INVALID)):
            receipts = await ledgers.actor.post([tip(fan, creator, 1), ticket(stream, fan, creator, 30)])
            assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED, outcome]


async def _buy(ledgers: LedgerPair, posting: Posting, receipts: list[Receipt]) -> None:
    receipts += await ledgers.actor.post([posting])
