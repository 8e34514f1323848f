"""The constraints of the database: which statements it refuses, whoever sends them, and by which name."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import pytest
import trio

from domain.amounts import MAX_BALANCE_TOKENS
from domain.billing.posting import Posting
from domain.ids import PROMOTIONS, RoomId, UserId
from storage.database_errors import StatementRefused
from storage.ledger import batch as batch_statement
from storage.postgres import Connection, Postgres, open_postgres
from tests.storage.ledger_pair import block, credit, open_ledger_pair, tip
from tests.support.databases import SUPERUSER, Databases

FAN, CREATOR = UserId(UUID(int=0xA)), UserId(UUID(int=0xB))
ROOM, NOWHERE = RoomId(UUID(int=0xC)), RoomId(UUID(int=0xD))
TIP = {
    "key": UUID(int=1), "debit_wallet": FAN, "credit_wallet": CREATOR, "room_id": None, "tokens": 5, "debit_after": 95,
    "credit_after": 5, "debit_n": 2, "credit_n": 1, "block_no": None, "kind": 2,
}  # fmt: skip
BLOCK = TIP | {"kind": 1, "room_id": ROOM, "block_no": 1}
ON = "SET LOCAL halfminute.booking = 'on'"
OFF = "SET LOCAL session_replication_role = replica"  # a superuser's setting that disables all triggers


class Undo(Exception):
    """Rolls the transaction back, so that nothing stays."""


class Role(NamedTuple):
    """A role that runs statements, each time in a transaction that is rolled back."""

    postgres: Postgres
    is_superuser: bool

    async def refusal(self, *statements: str | tuple[str, Sequence[Any]]) -> str | None:
        """Return what refuses the last of the statements: the name of a constraint, or a SQLSTATE."""
        todo = [(each, ()) if isinstance(each, str) else each for each in statements]

        async def run(connection: Connection) -> None:
            while todo:
                statement, args = todo.pop(0)
                await connection.execute(statement, *args)
            raise Undo

        try:
            await self.postgres.transaction(run)
        except StatementRefused as refused:
            if todo:
                raise AssertionError("an earlier one is refused already") from refused
            return refused.constraint or refused.sqlstate
        except Undo:
            return None
        raise AssertionError("it was neither refused nor undone")


@pytest.fixture(scope="module")
def server_dsn(databases: Databases) -> Iterator[str]:
    """Two users, a room, a meter and one posting."""
    with databases.fresh() as address:
        trio.run(_prepare, address)
        yield address


async def _prepare(address: str) -> None:
    async with open_ledger_pair(address) as ledgers:
        execute = ledgers.postgres.execute
        await execute("INSERT INTO users (supabase_id) VALUES ($1), ($2)", FAN, CREATOR)
        await execute(
            "INSERT INTO rooms (id, kind, channel) VALUES ($1, 'call', 'a channel that nobody guesses')", ROOM
        )
        await execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", ROOM, FAN)
        assert (await ledgers.actor.post([credit(FAN, 100)]))[0].paid


@pytest.fixture(params=["halfminute", SUPERUSER])
async def role(request: pytest.FixtureRequest, server_dsn: str) -> AsyncIterator[Role]:
    """Connect as the owner of the schema and as superuser; the constraints hold for both."""
    address = urlunsplit(urlsplit(server_dsn)._replace(netloc=f"{request.param}@"))
    async with open_postgres(address, pool_size=1) as postgres:
        yield Role(postgres, request.param == SUPERUSER)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE journal SET tokens = tokens", "HM010"),
        ("UPDATE journal SET tokens = 1 WHERE false", "HM010"),
        ("DELETE FROM journal", "HM010"),
        ("TRUNCATE journal", "0A000"),  # memos and tickets belong to it; only then the trigger
        ("TRUNCATE journal CASCADE", "HM010"),
        ("TRUNCATE journal, memos, stream_tickets, debts, operator_actions, refunds_due", "HM010"),
        ("DELETE FROM wallets", "HM010"),
        ("DELETE FROM wallets WHERE user_id IS NULL", "HM010"),
        ("TRUNCATE wallets", "HM010"),
        ("DELETE FROM rooms", "HM010"),
        ("TRUNCATE rooms CASCADE", "HM010"),
        ("DELETE FROM users", "HM010"),
        ("TRUNCATE users CASCADE", "HM010"),
        ("MERGE INTO journal j USING (SELECT 1) o ON j.tokens > 0 WHEN MATCHED THEN DELETE", "HM010"),
    ],
)
async def test_rows_of_the_ledger_cannot_be_changed_or_deleted(role: Role, statement: str, name: str) -> None:
    for before in ((), (ON,)):  # the setting that lets apply_postings write has no effect here
        assert await role.refusal(*before, statement) == name


@pytest.mark.parametrize(
    "statement", ["UPDATE wallets SET balance = balance + 1", "UPDATE wallets SET n = n WHERE false"]
)
async def test_only_apply_postings_writes_balances(role: Role, statement: str) -> None:
    assert await role.refusal(statement) == "HM011"


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO wallets (id) VALUES ('{NOWHERE}')",
        f"INSERT INTO wallets (id) VALUES ('{FAN}') ON CONFLICT (id) DO UPDATE SET balance = 1",
        f"UPDATE wallets SET user_id = '{CREATOR}' WHERE id = '{FAN}'",
        f"UPDATE wallets SET id = '{NOWHERE}' WHERE id = '{FAN}'",
        f"UPDATE users SET supabase_id = '{NOWHERE}' WHERE supabase_id = '{FAN}'",
        f"UPDATE rooms SET id = '{NOWHERE}'",
        f"UPDATE meters SET room_id = '{NOWHERE}'",
        f"UPDATE meters SET payer_id = '{CREATOR}'",
    ],
)
async def test_the_owner_of_a_wallet_and_of_a_meter_is_fixed_at_creation(role: Role, statement: str) -> None:
    assert await role.refusal(ON, statement) == "HM010"


async def test_only_apply_postings_writes_the_journal(role: Role) -> None:
    assert await role.refusal(_insert(TIP)) == "HM011"


@pytest.mark.parametrize(
    ("posting", "name"),
    [
        (TIP | {"tokens": -1}, "only_blocks_are_free"),
        (TIP | {"tokens": 1_000_000_001}, "tokens_in_range"),
        (BLOCK | {"tokens": -1}, "tokens_in_range"),
        (TIP | {"tokens": 0}, "only_blocks_are_free"),
        (TIP | {"tokens": 0, "kind": 5}, "only_blocks_are_free"),
        (TIP | {"credit_wallet": FAN}, "nobody_pays_themselves"),
        (BLOCK | {"block_no": 0}, "blocks_are_numbered"),
        (BLOCK | {"block_no": None}, "blocks_are_numbered"),
        (BLOCK | {"room_id": None}, "blocks_are_numbered"),
        (TIP | {"block_no": 1}, "blocks_are_numbered"),
        (TIP | {"block_no": 1, "room_id": ROOM}, "blocks_are_numbered"),
        (TIP, None),
        (TIP | {"tokens": 1_000_000_000}, None),
        (TIP | {"room_id": ROOM}, None),
        (BLOCK, None),
        (BLOCK | {"tokens": 0}, None),
    ],
)
async def test_a_posting_that_is_not_sound_is_in_no_journal(
    role: Role, posting: dict[str, Any], name: str | None
) -> None:
    assert await role.refusal(ON, _insert(posting)) == name
    if role.is_superuser:
        assert await role.refusal(OFF, _insert(posting)) == name


@pytest.mark.parametrize(
    ("second", "name"),
    [
        ({"debit_n": 3, "credit_n": 2}, "journal_pkey"),
        ({"key": UUID(int=2), "credit_n": 2}, "journal_debit"),
        ({"key": UUID(int=2), "debit_n": 3}, "journal_credit"),
        ({"key": UUID(int=2), "debit_n": 3, "credit_n": 2}, None),
    ],
)
async def test_a_key_and_a_number_are_used_once(role: Role, second: dict[str, Any], name: str | None) -> None:
    assert await role.refusal(ON, _insert(TIP), _insert(TIP | second)) == name


@pytest.mark.parametrize(
    "column", ["key", "debit_wallet", "credit_wallet", "tokens", "debit_after", "credit_n", "kind"]
)
async def test_a_posting_has_all_its_parts(role: Role, column: str) -> None:
    assert await role.refusal(ON, _insert(TIP | {column: None})) == "23502"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (f"UPDATE wallets SET balance = -1 WHERE id = '{FAN}'", "users_never_owe"),
        (f"UPDATE wallets SET balance = {MAX_BALANCE_TOKENS + 1} WHERE id = '{FAN}'", "every_client_can_hold_it"),
        (f"UPDATE wallets SET balance = {MAX_BALANCE_TOKENS} WHERE id = '{FAN}'", None),
        (f"UPDATE wallets SET balance = -1 WHERE id = '{PROMOTIONS}'", None),
        (
            f"UPDATE wallets SET balance = {-MAX_BALANCE_TOKENS - 1} WHERE id = '{PROMOTIONS}'",
            "every_client_can_hold_it",
        ),
        (f"UPDATE wallets SET balance = {2**63} WHERE id = '{FAN}'", "22003"),
        ("UPDATE meters SET last_block = -1", "meters_last_block_check"),
        ("UPDATE meters SET tokens = -1", "meters_tokens_check"),
        ("UPDATE meters SET active_us = -1", "meters_active_us_check"),
        (f"INSERT INTO meters (room_id, payer_id) VALUES ('{ROOM}', '{FAN}')", "meters_pkey"),
        (f"INSERT INTO meters (room_id, payer_id) VALUES ('{NOWHERE}', '{FAN}')", "23503"),
        (f"INSERT INTO meters (room_id, payer_id) VALUES ('{ROOM}', '{PROMOTIONS}')", "23503"),
        (f"INSERT INTO memos (posting_key, memo) VALUES ('{NOWHERE}', 'x')", "memos_posting_key_fkey"),
        ("INSERT INTO memos (posting_key, memo) SELECT key, repeat('x', 1001) FROM journal", "memos_memo_check"),
        ("INSERT INTO memos (posting_key, memo) SELECT key, repeat('x', 1000) FROM journal", None),
        (f"UPDATE rooms SET epoch = 0 WHERE id = '{ROOM}'", "rooms_epoch_check"),
    ],
)
async def test_wallets_meters_and_memos_keep_within_their_limits(role: Role, change: str, name: str | None) -> None:
    assert await role.refusal(ON, change) == name


def _insert(posting: dict[str, Any]) -> tuple[str, Sequence[Any]]:
    places = ", ".join(f"${i}" for i in range(1, len(posting) + 1))
    columns = ", ".join(posting)
    return f"INSERT INTO journal ({columns}, created_at) VALUES ({places}, now())", list(posting.values())


# Batches that apply_postings refuses as a whole, since the actor never sends them


@pytest.mark.parametrize(
    ("postings", "careful", "name"),
    [
        ([tip(FAN, UserId(NOWHERE), 1)], False, "HM002"),
        ([tip(UserId(NOWHERE), FAN, 1)], True, "HM002"),
        ([block(NOWHERE, FAN, CREATOR, 1)], True, "HM001"),
        ([block(ROOM, CREATOR, FAN, 1, tokens=0)], True, "HM003"),
        ([tip(FAN, CREATOR, 1, "k"), tip(FAN, CREATOR, 2, "k")], False, "journal_pkey"),
        ([tip(FAN, CREATOR, 1)], False, None),
        ([block(ROOM, FAN, CREATOR, 1)], False, None),
    ],
)
async def test_a_batch_that_names_what_is_not_there_is_refused_whole(
    role: Role, postings: list[Posting], careful: bool, name: str | None
) -> None:
    arguments = batch_statement.batch_arguments([tip(FAN, CREATOR, 1), *postings], careful)
    assert await role.refusal((batch_statement.APPLY, arguments)) == name


@pytest.mark.parametrize("careful", [False, True])
async def test_a_balance_that_no_client_could_hold_is_refused_before_it_is_written(role: Role, careful: bool) -> None:
    rich = f"UPDATE wallets SET balance = {MAX_BALANCE_TOKENS} WHERE id = '{CREATOR}'"
    arguments = batch_statement.batch_arguments([tip(FAN, CREATOR, 1)], careful)
    assert await role.refusal(ON, rich, (batch_statement.APPLY, arguments)) == "HM004"
