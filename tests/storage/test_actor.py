"""The storage actor against a real PostgreSQL: exactly once, in order, and one bad posting harms no other."""

import pytest
import trio
import trio.testing

from domain.amounts import MAX_BALANCE_TOKENS, MAX_POSTING_TOKENS
from domain.billing.posting import Outcome
from domain.ids import PROMOTIONS, UserId
from server.ids import new_uuid
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.ledger.actor import MAX_BATCH, MAX_LIST
from storage.ledger.audit import audit
from tests.storage.ledger_pair import block, credit, open_ledger_pair, tip

EMPTY = "'{}'"  # an array of nothing


async def test_a_repeat_moves_nothing_and_says_what_the_first_did(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        first = (await ledgers.actor.post([tip(fan, creator, 30, "k")]))[0]
        again = (await ledgers.actor.post([tip(fan, creator, 30, "k")]))[0]
        other = (await ledgers.actor.post([tip(fan, creator, 31, "k")]))[0]
        assert (first.outcome, again.outcome, other.outcome) == (Outcome.COMMITTED, Outcome.ALREADY, Outcome.CONFLICT)
        assert (again.debit_after, again.credit_after, again.debit_n) == (70, 30, first.debit_n)
        assert (first.ref_id, again.ref_id, other.ref_id) == (first.posting.ref_id, first.posting.ref_id, None)
        assert (await ledgers.wallets_in_database())[fan].balance == 70


async def test_a_repeat_is_found_though_the_payer_is_now_short_of_funds(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(30), await ledgers.add_user()
        await ledgers.actor.post([tip(fan, creator, 30, "k")])
        assert (await ledgers.actor.post([tip(fan, creator, 30, "k")]))[0].outcome is Outcome.ALREADY


async def test_blocks_commit_in_order_and_under_the_latest_epoch_alone(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        room = await ledgers.add_room(fan)
        postings = [
            block(room, fan, creator, 2),
            block(room, fan, creator, 1),
            block(room, fan, creator, 2),
            block(room, fan, creator, 3, epoch=2),
        ]
        outcomes = [receipt.outcome for receipt in await ledgers.actor.post(postings)]
        assert outcomes == [Outcome.GAP, Outcome.COMMITTED, Outcome.COMMITTED, Outcome.FENCED]
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", room)
        assert (await ledgers.actor.post([block(room, fan, creator, 3)]))[0].outcome is Outcome.CLOSED


async def test_an_unknown_wallet_is_refused_alone_and_its_neighbours_commit(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        nobody = UserId(new_uuid())
        postings = [tip(fan, creator, 1), tip(fan, nobody, 1), tip(fan, creator, 1), tip(nobody, creator, 1)]
        outcomes = [receipt.outcome for receipt in await ledgers.actor.post(postings)]
        assert outcomes == [Outcome.COMMITTED, Outcome.INVALID, Outcome.COMMITTED, Outcome.INVALID]
        assert len(ledgers.observer.poisoned) == 2
        assert (await ledgers.wallets_in_database())[creator].balance == 2


async def test_an_invalid_posting_is_refused_before_a_statement_is_sent(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        batches = len(ledgers.observer.batches)
        bad = [tip(fan, creator, 0), tip(fan, creator, -1), tip(fan, fan, 1), tip(fan, creator, MAX_POSTING_TOKENS + 1)]
        assert {receipt.outcome for receipt in await ledgers.actor.post(bad)} == {Outcome.INVALID}
        assert len(ledgers.observer.batches) == batches


async def test_a_balance_that_no_client_could_hold_is_refused_alone(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, rich = await ledgers.add_user(100), await ledgers.add_user()
        await ledgers.postgres.execute("ALTER TABLE wallets DISABLE TRIGGER only_booking_writes_balances")
        await ledgers.postgres.execute("UPDATE wallets SET balance = $2 WHERE id = $1", rich, MAX_BALANCE_TOKENS - 1)
        outcomes = [receipt.outcome for receipt in await ledgers.actor.post([tip(fan, rich, 1), tip(fan, rich, 1)])]
        assert outcomes == [Outcome.COMMITTED, Outcome.INVALID]


async def test_postings_that_wait_while_a_batch_is_under_way_go_as_one(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        ledgers.observer.batches.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(ledgers.actor.post, [tip(fan, creator, 1)])
        assert sum(ledgers.observer.batches) == 100
        assert len(ledgers.observer.batches) <= 3
        assert max(ledgers.observer.batches) < MAX_BATCH + MAX_LIST


async def test_a_caller_who_stops_waiting_does_not_stop_the_booking(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledgers.actor.post, [tip(fan, creator, 40, "k")])
            await trio.testing.wait_all_tasks_blocked(0)
            nursery.cancel_scope.cancel()
        assert (await ledgers.actor.post([tip(fan, creator, 40, "k")]))[0].outcome is Outcome.ALREADY


async def test_a_broken_connection_is_replaced_and_the_batch_sent_again(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        for i in range(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ledgers.actor.post, [tip(fan, creator, 10, str(i))])
                nursery.start_soon(ledgers.cut_connections)
        assert ledgers.actor.commit_retries > 0
        assert (await ledgers.wallets_in_database())[fan].balance == 900
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET tokens = 1",
        "DELETE FROM journal",
        "TRUNCATE journal CASCADE",
        "DELETE FROM wallets",
        "UPDATE wallets SET balance = balance + 1",
        "INSERT INTO journal (key, debit_wallet, credit_wallet, tokens, debit_after, credit_after, created_at, debit_n,"
        " credit_n, kind) VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 1, 1, now(), 1, 1, 2)",
        "DELETE FROM users",
        "DELETE FROM rooms",
    ],
)
async def test_no_other_statement_writes_the_ledger(dsn: str, statement: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user(100)
        await ledgers.add_room(fan)
        with pytest.raises(StatementRefused, match="refused"):
            await ledgers.postgres.execute(statement)
        assert await ledgers.wallets_in_database() == ledgers.model.wallets


async def test_the_function_revokes_its_write_permission_at_its_end(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user(100)
        with pytest.raises(StatementRefused, match="only apply_postings books"):
            await ledgers.postgres.transaction(
                lambda connection: connection.execute(
                    f"SELECT apply_postings(ARRAY['{fan}'::uuid], {', '.join([EMPTY] * 12)}, true);"
                    " UPDATE wallets SET balance = balance + 1"
                )
            )


async def test_promotions_may_owe_and_the_sum_is_zero(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        await ledgers.actor.post([credit(await ledgers.add_user(), 70)])
        wallets = await ledgers.wallets_in_database()
        assert wallets[PROMOTIONS].balance == -70
        assert sum(wallet.balance for wallet in wallets.values()) == 0


async def test_a_long_list_is_booked_in_order_in_batches_of_bounded_size(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(10_000), await ledgers.add_user()
        room = await ledgers.add_room(fan)
        ledgers.observer.batches.clear()
        receipts = await ledgers.actor.post([block(room, fan, creator, n, tokens=1) for n in range(1, 1200)])
        assert {receipt.outcome for receipt in receipts} == {Outcome.COMMITTED}
        assert max(ledgers.observer.batches) < MAX_BATCH + MAX_LIST


async def test_a_closed_actor_says_that_nothing_was_done(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        ledgers.actor.close()
        await ledgers.actor.finished.wait()
        with pytest.raises(StorageUnavailable):
            await ledgers.actor.post([tip(fan, creator, 1)])
