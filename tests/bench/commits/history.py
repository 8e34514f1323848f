"""Fills our ledger and the older system's before a measurement: calls, wallets, and blocks paid long ago."""

import math
from typing import NamedTuple

from domain.ids import TOKEN_SALES, RoomId, UserId
from storage.migrate import migrate
from storage.postgres import Connection, Postgres
from tests.support.history import insert_postings, patiently

CALLS = 10_000
CREATORS = 2_000
PRICE_TOKENS = 5
FAN_TOKENS = 900_000_000  # enough for any run
PREPARE_SECONDS_MAX = 600

# The same calls for both; a second list of the older system's pays every other block to one creator.
PARTIES = f"""
    CREATE SCHEMA legacy;
    CREATE TABLE legacy.parties AS
        SELECT i, gen_random_uuid() AS call_id, gen_random_uuid() AS hot_call_id, gen_random_uuid() AS fan_id,
               NULL::uuid AS creator_id FROM generate_series(0, {CALLS - 1}) i;
    CREATE TEMP TABLE creator_ids AS SELECT i, gen_random_uuid() AS id FROM generate_series(0, {CREATORS - 1}) i;
    UPDATE legacy.parties p SET creator_id = c.id FROM creator_ids c WHERE c.i = p.i % {CREATORS};
"""

OURS = f"""
    INSERT INTO users (supabase_id) SELECT fan_id FROM legacy.parties UNION SELECT creator_id FROM legacy.parties;
    INSERT INTO rooms (id, kind, channel) SELECT call_id, 'call', replace(call_id::text, '-', '') FROM legacy.parties;
    INSERT INTO wanted (seq, kind, debit, credit, tokens)
        SELECT i, 4, '{TOKEN_SALES}', fan_id, {FAN_TOKENS} FROM legacy.parties;
    INSERT INTO wanted (seq, kind, debit, credit, tokens, room_id, block_no)
        SELECT b * {CALLS} + i, 1, fan_id, creator_id, {PRICE_TOKENS}, call_id, b
          FROM generate_series(1, $blocks) b, legacy.parties;
"""

# The tables of the system that came before: a wallet by user, a row for the block, and two in the ledger.
LEGACY = f"""
    CREATE TABLE legacy.wallets (user_id uuid PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0),
        lifetime_earned bigint NOT NULL DEFAULT 0, lifetime_spent bigint NOT NULL DEFAULT 0);
    CREATE TABLE legacy.calls (id uuid PRIMARY KEY, fan_id uuid NOT NULL, creator_id uuid NOT NULL,
        status text NOT NULL, rate bigint NOT NULL,
        hot boolean NOT NULL, started_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE legacy.call_blocks (call_id uuid NOT NULL, block_no int NOT NULL, fan_id uuid NOT NULL,
        creator_id uuid NOT NULL, tokens bigint NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (call_id, block_no));
    CREATE TABLE legacy.ledger (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id uuid NOT NULL,
        kind smallint NOT NULL, amount bigint NOT NULL, call_id uuid NOT NULL, block_no int NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ledger_user ON legacy.ledger (user_id, id);
    INSERT INTO legacy.wallets (user_id, balance)
        SELECT fan_id, {FAN_TOKENS} FROM legacy.parties UNION SELECT creator_id, 0 FROM legacy.parties;
    INSERT INTO legacy.calls (id, fan_id, creator_id, status, rate, hot)
        SELECT call_id, fan_id, creator_id, 'active', {PRICE_TOKENS}, false FROM legacy.parties ORDER BY i;
    INSERT INTO legacy.calls (id, fan_id, creator_id, status, rate, hot)
        SELECT hot_call_id, fan_id, CASE WHEN i % 2 = 1 THEN (SELECT creator_id FROM legacy.parties WHERE i = 0)
                                         ELSE creator_id END, 'active', {PRICE_TOKENS}, true
          FROM legacy.parties ORDER BY i;
    INSERT INTO legacy.call_blocks (call_id, block_no, fan_id, creator_id, tokens)
        SELECT call_id, b, fan_id, creator_id, {PRICE_TOKENS} FROM generate_series(1, $blocks) b, legacy.parties;
    INSERT INTO legacy.ledger (user_id, kind, amount, call_id, block_no)
        SELECT CASE side WHEN 1 THEN fan_id ELSE creator_id END, side, {PRICE_TOKENS} * (2 * side - 3), call_id, b
          FROM generate_series(1, $blocks) b, legacy.parties, generate_series(1, 2) side;
"""

ALL_TABLES = (
    "users", "wallets", "journal", "rooms", "meters",
    "legacy.parties", "legacy.wallets", "legacy.calls", "legacy.call_blocks", "legacy.ledger",
)  # fmt: skip

LEDGER_IS_SOUND = """
    SELECT (SELECT sum(balance) FROM wallets) = 0 AS balanced,
           (SELECT sum(n) FROM wallets) = 2 * (SELECT count(*) FROM journal) AS counted,
           (SELECT sum(last_block) FROM meters) = (SELECT count(*) FROM journal WHERE kind = 1) AS numbered
"""


class Party(NamedTuple):
    """The payer and the payee of one room."""

    room_id: RoomId
    fan: UserId
    creator: UserId


async def prepare(postgres: Postgres, journal_rows: int) -> None:
    """Fill an empty database; one that is filled stays as it is."""
    await migrate(postgres)
    if not (await postgres.fetch("SELECT to_regclass('legacy.ledger') IS NOT NULL"))[0][0]:
        await postgres.transaction(lambda connection: _fill(connection, journal_rows // CALLS), seconds=math.inf)
        for table in ALL_TABLES:
            await patiently(postgres, f"VACUUM (ANALYZE) {table}")


async def _fill(connection: Connection, blocks: int) -> None:
    parties, ours, legacy = (script.replace("$blocks", str(blocks)) for script in (PARTIES, OURS, LEGACY))
    await insert_postings(connection, parties, ours)
    await connection.execute(legacy, timeout=PREPARE_SECONDS_MAX)


async def read_parties(postgres: Postgres, hot: bool) -> list[Party]:
    """Return all calls in a fixed order; with `hot` every other one pays the same creator."""
    rows = await postgres.fetch(
        "SELECT p.call_id, c.fan_id, c.creator_id FROM legacy.parties p"
        " JOIN legacy.calls c ON c.id = CASE WHEN $1 THEN p.hot_call_id ELSE p.call_id END ORDER BY p.i",
        hot,
    )
    return [Party(*row) for row in rows]


async def count_journal(postgres: Postgres) -> int:
    """Count the postings: each has a number in two wallets."""
    rows = await postgres.fetch("SELECT sum(n)::bigint / 2 FROM wallets")
    return int(rows[0][0])


async def check_ledger(postgres: Postgres) -> None:
    """Check that everything measured was booked, that tokens sum to zero, and that each posting has its numbers."""

    async def ask(connection: Connection) -> dict[str, bool]:
        await connection.execute("SET statement_timeout = 0")
        row = await connection.fetchrow(LEDGER_IS_SOUND, timeout=PREPARE_SECONDS_MAX)
        assert row is not None
        return dict(row)

    findings = await postgres.transaction(ask, atomic=False, seconds=PREPARE_SECONDS_MAX)
    assert all(findings.values()), f"the ledger is wrong after the run: {findings}"
