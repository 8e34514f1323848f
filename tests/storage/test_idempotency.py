"""The first use of a key is found, repeated and defended, whichever request or posting it belongs to."""

from uuid import UUID

import pytest
import trio
from msgspec.structs import replace

from domain.billing.posting import Posting
from domain.ids import PostingKey, UserId, client_key, content_digest
from domain.refusals import KEY_IN_USE
from server.ids import new_uuid
from storage.database_errors import StatementRefused
from storage.idempotency import (
    FirstUse,
    claim,
    claim_within,
    claiming_transaction,
    find_first_use,
    forget_old_keys,
    is_used,
    key_insert,
    key_parameters,
)
from storage.postgres import Connection, Postgres, open_postgres
from tests.storage.ledger_pair import LedgerPair, open_ledger_pair, tip

CONTENT, OTHER = content_digest("one thing"), content_digest("another")
AT_ONCE = 20


def new_key() -> PostingKey:
    return client_key(UserId(new_uuid()), "k")


async def count_keys(postgres: Postgres) -> int:
    return int((await postgres.fetch("SELECT count(*) FROM idempotency_keys"))[0][0])


async def book_tip(ledgers: LedgerPair, content: bytes | None) -> Posting:
    """Book a tip of 30 from a balance of 100."""
    posting = replace(tip(await ledgers.add_user(100), await ledgers.add_user(), 30, "k"), content=content)
    assert (await ledgers.actor.post([posting]))[0].paid
    return posting


async def test_a_new_key_has_no_first_use_and_neither_has_a_request_without_one(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        assert await find_first_use(postgres, new_key(), CONTENT) is None
        assert await find_first_use(postgres, None, CONTENT) is None
        assert not await is_used(postgres, new_key())
        assert not await is_used(postgres, None)
        assert await claim(postgres, None, CONTENT, new_uuid()) is None
        assert await count_keys(postgres) == 0


async def test_a_repeat_finds_the_first_use_and_its_claim_changes_nothing(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        key, result = new_key(), new_uuid()
        first = await claim(postgres, key, CONTENT, result)
        assert isinstance(first, FirstUse)
        assert (first.ref_id, first.debit_after, first.credit_after) == (result, None, None)
        assert await claim(postgres, key, CONTENT, new_uuid()) == first
        assert await find_first_use(postgres, key, CONTENT) == first
        assert await count_keys(postgres) == 1


async def test_a_used_key_with_other_content_is_in_use(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        key = new_key()
        first = await claim(postgres, key, CONTENT, new_uuid())
        assert await find_first_use(postgres, key, OTHER) == KEY_IN_USE
        assert await claim(postgres, key, OTHER, new_uuid()) == KEY_IN_USE
        assert await find_first_use(postgres, key, CONTENT) == first
        assert await is_used(postgres, key)


async def test_the_key_of_a_posting_has_its_balances_and_is_never_claimed(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        posting = await book_tip(ledgers, CONTENT)
        first = await find_first_use(ledgers.postgres, posting.key, CONTENT)
        assert isinstance(first, FirstUse)
        assert (first.ref_id, first.debit_after, first.credit_after) == (posting.ref_id, 70, 30)
        assert await find_first_use(ledgers.postgres, posting.key, OTHER) == KEY_IN_USE
        for content in (CONTENT, OTHER):
            assert await claim(ledgers.postgres, posting.key, content, new_uuid()) == KEY_IN_USE
        assert await count_keys(ledgers.postgres) == 0


async def test_a_posting_without_content_is_repeated_by_no_request(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        posting = await book_tip(ledgers, None)
        for content in (CONTENT, None):
            assert await find_first_use(ledgers.postgres, posting.key, content) == KEY_IN_USE
        assert await is_used(ledgers.postgres, posting.key)


async def test_of_many_claims_at_once_one_is_the_first_use(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=4) as postgres:
        key, answers = new_key(), list[object]()

        async def ask(result: UUID, content: bytes) -> None:
            answers.append((content, await claim(postgres, key, content, result)))

        async with trio.open_nursery() as nursery:
            for n in range(AT_ONCE):
                nursery.start_soon(ask, new_uuid(), OTHER if n % 2 else CONTENT)
        winner = CONTENT if await find_first_use(postgres, key, OTHER) == KEY_IN_USE else OTHER
        first = await find_first_use(postgres, key, winner)
        loser = OTHER if winner == CONTENT else CONTENT
        assert answers.count((winner, first)) == answers.count((loser, KEY_IN_USE)) == AT_ONCE // 2
        assert await count_keys(postgres) == 1


@pytest.mark.parametrize("single", [False, True])
async def test_a_transaction_that_takes_the_key_of_a_posting_is_rolled_back(dsn: str, single: bool) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        key, user_id = (await book_tip(ledgers, CONTENT)).key, new_uuid()

        async def work(connection: Connection) -> None:
            await connection.execute("INSERT INTO users (supabase_id) VALUES ($1)", user_id)
            if single:
                await connection.execute(key_insert("$1", "$2", ref_id="$3"), *key_parameters(key, CONTENT), user_id)
            else:
                await claim_within(connection, key, CONTENT, user_id)

        assert await claiming_transaction(ledgers.postgres, work) == KEY_IN_USE
        assert await ledgers.postgres.fetch("SELECT 1 FROM users WHERE supabase_id = $1", user_id) == []


async def test_a_refused_statement_that_is_not_about_a_key_is_raised(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        with pytest.raises(StatementRefused):
            await claiming_transaction(postgres, lambda connection: connection.execute("SELECT 1 / 0"))


async def test_an_inserted_key_is_found_like_a_claimed_one(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        key, result, insert = new_key(), new_uuid(), key_insert("$1", "$2", ref_id="$3::uuid")
        await postgres.execute(insert, *key_parameters(None, CONTENT), result)
        assert await count_keys(postgres) == 0
        await postgres.execute(insert, *key_parameters(key, CONTENT), result)
        found = await find_first_use(postgres, key, CONTENT)
        assert isinstance(found, FirstUse)
        assert found == await claim(postgres, key, CONTENT, new_uuid())
        assert found.ref_id == result


async def test_a_key_is_forgotten_after_a_day_and_new_again(dsn: str) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        old, young = new_key(), new_key()
        for key in (old, young):
            await claim(postgres, key, CONTENT, new_uuid())
        await postgres.execute(
            "UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = $1", UUID(bytes=old)
        )
        await forget_old_keys(postgres)
        assert await find_first_use(postgres, old, OTHER) is None
        assert await find_first_use(postgres, young, OTHER) == KEY_IN_USE
