"""A long ledger history: inserts millions of postings, numbered as the storage actor numbers them."""

import math

from storage.postgres import Connection, Postgres

STATEMENT_SECONDS_MAX = 600

JOURNAL_COLUMNS = (
    "key", "debit_wallet", "credit_wallet", "room_id", "tokens", "debit_after", "credit_after", "created_at",
    "debit_n", "credit_n", "block_no", "kind",
)  # fmt: skip

# One row a posting, in the order of `seq`; whoever fills it names the wallets, and knows which block it is.
WANTED = """
    CREATE TEMP TABLE wanted (
        seq bigint NOT NULL, key uuid NOT NULL DEFAULT gen_random_uuid(), kind smallint NOT NULL,
        debit uuid NOT NULL, credit uuid NOT NULL, tokens bigint NOT NULL, room_id uuid, block_no integer,
        created_at timestamptz NOT NULL DEFAULT now()
    ) ON COMMIT DROP
"""

# Numbers and balances are those of wallets that were empty before.
INSERT_POSTINGS = f"""
    SET LOCAL halfminute.booking = 'on';
    SET LOCAL work_mem = '256MB';
    CREATE TEMP TABLE sides ON COMMIT DROP AS
        SELECT seq, is_debit, wallet, change, row_number() OVER chain AS n, (sum(change) OVER chain)::bigint AS after
          FROM (SELECT seq, true AS is_debit, debit AS wallet, -tokens AS change FROM wanted
                UNION ALL SELECT seq, false, credit, tokens FROM wanted) e
        WINDOW chain AS (PARTITION BY wallet ORDER BY seq ROWS UNBOUNDED PRECEDING);
    INSERT INTO journal ({", ".join(JOURNAL_COLUMNS)})
        SELECT w.key, w.debit, w.credit, w.room_id, w.tokens, d.after, c.after, w.created_at, d.n, c.n, w.block_no,
               w.kind
          FROM wanted w JOIN sides d ON d.seq = w.seq AND d.is_debit JOIN sides c ON c.seq = w.seq AND NOT c.is_debit
         ORDER BY w.seq;
    INSERT INTO meters (room_id, payer_id, last_block, tokens)
        SELECT room_id, debit, max(block_no), sum(tokens) FROM wanted WHERE kind = 1 GROUP BY 1, 2;
    UPDATE wallets w SET balance = s.balance, n = s.n, lifetime_earned = s.earned, lifetime_spent = s.spent
      FROM (SELECT wallet, sum(change) AS balance, count(*) AS n, sum(greatest(change, 0)) AS earned,
                   sum(greatest(-change, 0)) AS spent FROM sides GROUP BY wallet) s WHERE w.id = s.wallet;
    UPDATE fence SET booked_at = greatest(booked_at, (SELECT max(created_at) FROM wanted));
    SET LOCAL halfminute.booking = '';
"""


async def insert_postings(connection: Connection, *scripts: str) -> None:
    """Insert the postings that the scripts put into `wanted`, in the open transaction."""
    await connection.execute("SET LOCAL statement_timeout = 0")
    for script in (WANTED, *scripts, INSERT_POSTINGS):
        await connection.execute(script, timeout=STATEMENT_SECONDS_MAX)


async def patiently(postgres: Postgres, statement: str) -> None:
    """Run one statement without a timeout and outside a transaction."""

    async def run(connection: Connection) -> None:
        await connection.execute("SET statement_timeout = 0")
        try:
            await connection.execute(statement, timeout=STATEMENT_SECONDS_MAX)
        finally:
            await connection.execute("RESET statement_timeout")

    await postgres.transaction(run, atomic=False, seconds=math.inf)
