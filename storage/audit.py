"""Proves the ledger: what must hold of the books, each as a query that finds the rows where it does not."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from storage.postgres import Postgres

MAX_ROWS_SHOWN = 20  # of one proof: enough to see what is wrong


class Proof(NamedTuple):
    """One thing that must hold, and the rows where it does not."""

    sentence: str
    sql: str


class Finding(NamedTuple):
    """What became of one proof; no rows means that it holds."""

    sentence: str
    rows: list[dict[str, Any]]


_ENTRIES = """
    SELECT debit_wallet AS id, debit_n AS n, -tokens AS change, debit_after AS after, created_at AS at
      FROM journal
    UNION ALL SELECT credit_wallet, credit_n, tokens, credit_after, created_at FROM journal
"""

PROOFS = (
    Proof(
        "all balances sum to zero",
        "SELECT sum(balance)::text AS sum FROM wallets HAVING sum(balance) <> 0",
    ),
    Proof(
        "no user owes",
        "SELECT id, balance FROM wallets WHERE user_id IS NOT NULL AND balance < 0",
    ),
    Proof(
        "each wallet equals its journal",
        f"""
        WITH totals AS (SELECT id, sum(change) AS balance, count(*) AS n,
                               coalesce(sum(change) FILTER (WHERE change > 0), 0) AS earned,
                               coalesce(-sum(change) FILTER (WHERE change < 0), 0) AS spent
                          FROM ({_ENTRIES}) e GROUP BY id)
        SELECT w.id, w.balance, t.balance AS in_journal, w.n, t.n AS n_in_journal,
               w.lifetime_earned, t.earned, w.lifetime_spent, t.spent
          FROM wallets w FULL JOIN totals t ON t.id = w.id
         WHERE (w.balance, w.n, w.lifetime_earned, w.lifetime_spent)
               IS DISTINCT FROM (coalesce(t.balance, 0), coalesce(t.n, 0), coalesce(t.earned, 0), coalesce(t.spent, 0))
        """,
    ),
    Proof(
        "each entry follows from the one before it in its wallet",
        f"""
        SELECT * FROM (SELECT id, n, change, after, lag(after, 1, 0::bigint) OVER chain AS before,
                              lag(n, 1, 0) OVER chain AS n_before FROM ({_ENTRIES}) e
                       WINDOW chain AS (PARTITION BY id ORDER BY n)) c
         WHERE after <> before + change OR n <> n_before + 1
        """,
    ),
    Proof(
        "no entry is dated before the one before it in its wallet",
        f"""
        SELECT * FROM (SELECT id, n, at, lag(at) OVER (PARTITION BY id ORDER BY n) AS at_before FROM ({_ENTRIES}) e) c
         WHERE at < at_before
        """,
    ),
    Proof(
        "no block series has a gap or a double",
        """
        WITH series AS (SELECT room_id, debit_wallet AS payer_id, count(*) AS blocks,
                               count(DISTINCT block_no) AS numbers, max(block_no) AS last, sum(tokens) AS tokens
                          FROM journal WHERE kind = 1 GROUP BY 1, 2)
        SELECT coalesce(s.room_id, m.room_id) AS room_id, coalesce(s.payer_id, m.payer_id) AS payer_id,
               s.blocks, s.numbers, s.last, m.last_block, s.tokens, m.tokens AS meter_tokens
          FROM series s FULL JOIN meters m ON m.room_id = s.room_id AND m.payer_id = s.payer_id
         WHERE coalesce(s.blocks, 0) <> coalesce(s.last, 0) OR s.blocks <> s.numbers
            OR m.last_block IS DISTINCT FROM coalesce(s.last, 0) OR m.tokens IS DISTINCT FROM coalesce(s.tokens, 0)
        """,
    ),
    Proof(
        "blocks of a call go from its fan to its creator at its price",
        """
        SELECT c.id, j.block_no, j.debit_wallet, j.credit_wallet, j.tokens
          FROM journal j JOIN calls c ON c.id = j.room_id
         WHERE j.kind = 1 AND (j.debit_wallet <> c.fan_id OR j.credit_wallet <> c.creator_id
            OR (c.block_rounding = 'up' AND j.tokens <> (c.rate_tokens_per_min * c.block_seconds::bigint + 59) / 60))
        """,
    ),
    Proof(
        "a ticket is what its holder paid for",
        """
        SELECT t.stream_id, t.user_id, t.ticket_id, t.price_tokens, j.room_id, j.debit_wallet, j.ref_id, j.tokens
          FROM stream_tickets t JOIN journal j ON j.key = t.posting_key
         WHERE (j.kind, j.room_id, j.debit_wallet, j.ref_id, j.tokens)
               IS DISTINCT FROM (3, t.stream_id, t.user_id, t.ticket_id, t.price_tokens)
        """,
    ),
    Proof(
        "what is given back was paid, and is given back once, whole, to who paid it",
        """
        SELECT r.content, p.kind, p.tokens, sum(r.tokens) AS given_back
          FROM journal r LEFT JOIN journal p
            ON p.key = r.content AND p.kind IN (1, 2, 3, 7) AND p.debit_wallet = r.credit_wallet
           AND r.debit_wallet IN (p.credit_wallet, '00000000-0000-7000-8000-000000000004')
         WHERE r.kind = 6 GROUP BY r.content, p.kind, p.tokens HAVING sum(r.tokens) IS DISTINCT FROM p.tokens
        """,
    ),
    Proof(
        "a ticket that was given back is known as such, and no other is",
        """
        SELECT t.stream_id, t.user_id, t.refunded_at FROM stream_tickets t
         WHERE (t.refunded_at IS NULL) = EXISTS (SELECT FROM journal r WHERE r.kind = 6 AND r.content = t.posting_key)
        """,
    ),
    Proof(
        "what counts against a limit is what was spent that day",
        """
        SELECT l.user_id, l.day, l.spent, s.spent AS in_journal FROM spend_limits l, LATERAL (
            SELECT coalesce(sum(tokens), 0) AS spent FROM journal j
             WHERE j.debit_wallet = l.user_id AND j.kind <= 3 AND (j.created_at AT TIME ZONE 'UTC')::date = l.day) s
         WHERE l.spent <> s.spent
        """,
    ),
)


async def audit(postgres: Postgres) -> AsyncIterator[Finding]:
    """Check proof after proof against one snapshot, beside whatever else happens. Raises StorageUnavailable."""
    async with postgres.snapshot() as read:
        for proof in PROOFS:
            rows = await read(f"SELECT * FROM ({proof.sql}) p LIMIT {MAX_ROWS_SHOWN}")
            yield Finding(proof.sentence, [dict(row) for row in rows])
