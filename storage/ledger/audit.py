"""The ledger audit: each invariant of the ledger is a query that returns the rows that violate it."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from storage.postgres import Postgres

MAX_ROWS_SHOWN = 20  # violating rows of one proof: enough to see the pattern


class Proof(NamedTuple):
    """One invariant, in words, and the query that returns the rows that violate it."""

    sentence: str
    sql: str


class Finding(NamedTuple):
    """The result of one proof; without rows, the invariant holds."""

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
        "each wallet equals its journal, and so does each part of it",
        """
        WITH entries AS (
            SELECT debit_wallet AS id, -tokens AS change, -coalesce(debit_promotional, 0) AS promotional,
                   -coalesce(debit_earned, 0) AS earned FROM journal
            UNION ALL SELECT credit_wallet, tokens, coalesce(credit_promotional, 0), coalesce(credit_earned, 0)
              FROM journal
        ), totals AS (SELECT id, sum(change) AS balance, count(*) AS n, sum(promotional) AS promotional,
                             sum(earned) AS earned FROM entries GROUP BY id)
        SELECT w.id, w.balance, t.balance AS in_journal, w.n, t.n AS n_in_journal, w.promotional,
               t.promotional AS promotional_in_journal, w.earned, t.earned AS earned_in_journal
          FROM wallets w FULL JOIN totals t ON t.id = w.id
         WHERE (w.balance, w.n, w.promotional, w.earned)
               IS DISTINCT FROM (coalesce(t.balance, 0), coalesce(t.n, 0), coalesce(t.promotional, 0),
                                 coalesce(t.earned, 0))
        """,
    ),
    Proof(
        "no part of a balance is negative or more than the whole",
        """
        SELECT id, balance, promotional, earned, owed FROM wallets
         WHERE least(promotional, earned, owed) < 0 OR user_id IS NOT NULL AND promotional + earned > balance
            OR user_id IS NULL AND greatest(promotional, earned, owed) > 0 OR owed > 0 AND earned > 0
        """,
    ),
    Proof(
        "each posting moves the parts that its kind moves",
        """
        SELECT j.key, j.kind, j.tokens, j.debit_promotional, j.debit_earned, j.credit_promotional, j.credit_earned
          FROM journal j JOIN wallets c ON c.id = j.credit_wallet
          LEFT JOIN journal t ON j.kind = 8 AND t.key = j.content,
          LATERAL (SELECT CASE WHEN c.user_id IS NULL OR j.kind = 4 THEN 0
                               WHEN j.kind = 5 THEN j.tokens
                               WHEN j.kind = 8 THEN coalesce(t.debit_promotional, 0)
                               ELSE coalesce(j.debit_promotional, 0)
                          END AS promotional) e
         WHERE j.kind <> 6
           AND (coalesce(j.credit_promotional, 0) <> e.promotional
                OR coalesce(j.credit_earned, 0) <> CASE WHEN c.user_id IS NULL OR j.kind IN (4, 5) THEN 0
                                                        ELSE j.tokens - e.promotional END)
        """,
    ),
    Proof(
        "a refund restores the parts as they were",
        """
        SELECT p.key, p.debit_promotional, r.promotional, p.debit_earned, r.earned
          FROM (SELECT content, credit_wallet, coalesce(sum(credit_promotional), 0) AS promotional,
                       coalesce(sum(credit_earned), 0) AS earned FROM journal WHERE kind = 6 GROUP BY 1, 2) r
          JOIN journal p ON p.key = r.content AND p.debit_wallet = r.credit_wallet
         WHERE p.kind <= 3
           AND (coalesce(p.debit_promotional, 0) <> r.promotional OR coalesce(p.debit_earned, 0) <> r.earned)
        """,
    ),
    Proof(
        "lifetime sums are what was earned and spent, less refunds",
        """
        WITH entries AS (
            SELECT debit_wallet AS id, CASE WHEN kind IN (6, 9) THEN -tokens ELSE 0 END AS earned,
                   CASE WHEN kind <= 3 THEN tokens ELSE 0 END AS spent FROM journal
            UNION ALL
            SELECT credit_wallet, CASE WHEN kind <= 3 OR kind = 8 THEN tokens ELSE 0 END,
                   CASE WHEN kind = 6 AND debit_wallet <> '00000000-0000-7000-8000-000000000003' THEN -tokens
                        ELSE 0 END FROM journal
        ), totals AS (SELECT id, sum(earned) AS earned, sum(spent) AS spent FROM entries GROUP BY id)
        SELECT w.id, w.lifetime_earned, t.earned, w.lifetime_spent, t.spent
          FROM wallets w LEFT JOIN totals t ON t.id = w.id
         WHERE w.lifetime_earned <> CASE WHEN w.user_id IS NULL THEN 0 ELSE coalesce(t.earned, 0) END
            OR w.lifetime_spent <> CASE WHEN w.user_id IS NULL THEN 0 ELSE coalesce(t.spent, 0) END
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
        "escrow holds the tickets that are neither released nor refunded",
        """
        SELECT w.balance, t.tokens FROM wallets w, LATERAL (
            SELECT coalesce(sum(price_tokens), 0) AS tokens FROM stream_tickets
             WHERE released_at IS NULL AND refunded_at IS NULL) t
         WHERE w.id = '00000000-0000-7000-8000-000000000005' AND w.balance <> t.tokens
        """,
    ),
    Proof(
        "a ticket is released once, whole, to its stream's creator",
        """
        SELECT r.key, r.tokens, r.credit_wallet, t.stream_id, t.price_tokens, s.creator_id
          FROM journal r
          LEFT JOIN journal p ON p.key = r.content AND p.kind = 3 AND p.credit_wallet = r.debit_wallet
          LEFT JOIN streams s ON s.id = p.room_id
          LEFT JOIN stream_tickets t ON t.release_key = r.key
         WHERE r.kind = 8
           AND (r.tokens IS DISTINCT FROM p.tokens OR r.credit_wallet IS DISTINCT FROM s.creator_id
                OR t.posting_key IS NOT NULL AND t.posting_key <> r.content)
        """,
    ),
    Proof(
        "what is given back was paid, and is given back once, whole, to who paid it",
        """
        SELECT r.content, p.kind, p.tokens, sum(r.tokens) AS given_back
          FROM journal r LEFT JOIN journal p
            ON p.key = r.content AND p.kind <= 3 AND p.debit_wallet = r.credit_wallet
          LEFT JOIN journal l ON l.kind = 8 AND l.content = p.key
         WHERE r.kind = 6 AND r.debit_wallet <> '00000000-0000-7000-8000-000000000003'
         GROUP BY r.content, p.kind, p.tokens HAVING sum(r.tokens) IS DISTINCT FROM p.tokens
            OR NOT bool_and(r.debit_wallet IN (coalesce(l.credit_wallet, p.credit_wallet),
                                               '00000000-0000-7000-8000-000000000004'))
        """,
    ),
    Proof(
        "a payout gives back what refunds took out of it, and the rest if it was rejected",
        """
        SELECT p.id, p.tokens, p.cut_tokens, p.settled_as, p.given_back, r.tokens AS in_journal
          FROM payouts p LEFT JOIN (
               SELECT content, credit_wallet, sum(tokens) AS tokens FROM journal WHERE kind = 6 GROUP BY 1, 2) r
            ON r.content = p.posting_key AND r.credit_wallet = p.creator_id
         WHERE coalesce(r.tokens, 0)
               <> CASE WHEN p.settled_as = 'rejected' AND p.given_back THEN p.tokens ELSE p.cut_tokens END
           AND NOT (p.settled_as = 'rejected' AND NOT p.given_back AND coalesce(r.tokens, 0) = p.tokens)
            OR p.settled_as = 'cancelled' AND p.cut_tokens <> p.tokens
        """,
    ),
    Proof(
        "open debts equal what `losses` has advanced, and what each debtor owes",
        """
        SELECT 'losses' AS what, w.balance AS held, d.open FROM wallets w, LATERAL (
               SELECT -coalesce(sum(tokens - repaid), 0) AS open FROM debts) d
         WHERE w.id = '00000000-0000-7000-8000-000000000004' AND w.balance <> d.open
        UNION ALL
        SELECT w.id::text, w.owed, d.open FROM wallets w, LATERAL (
               SELECT coalesce(sum(tokens - repaid), 0) AS open FROM debts q WHERE q.debtor = w.id) d
         WHERE w.owed <> d.open
        UNION ALL
        SELECT d.advance_key::text, d.tokens, j.tokens FROM debts d LEFT JOIN journal j
            ON j.key = d.advance_key AND j.kind = 6 AND j.debit_wallet = '00000000-0000-7000-8000-000000000004'
         WHERE d.tokens IS DISTINCT FROM j.tokens
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
        "what operators ordered and what was booked for it match one to one",
        """
        SELECT j.key, j.kind, j.tokens, a.action, a.tokens AS noted
          FROM (SELECT key, kind, tokens FROM journal WHERE kind IN (5, 6)) j
          FULL JOIN (SELECT * FROM operator_actions WHERE posting_key IS NOT NULL) a ON a.posting_key = j.key
         WHERE CASE WHEN j.kind = 5 THEN a.action IS DISTINCT FROM 'credit' OR abs(a.tokens) IS DISTINCT FROM j.tokens
                    WHEN a.posting_key IS NOT NULL THEN a.action <> 'refund' OR j.kind IS DISTINCT FROM 6
                                                        OR abs(a.tokens) <> j.tokens
                    ELSE (SELECT true FROM debts d WHERE d.advance_key = j.key AND d.debtor IS NOT NULL) END
        """,
    ),
    Proof(
        "what operators settled is kept among their actions, and nothing else is",
        """
        WITH settled AS (
            SELECT derived_key('settled payout', ARRAY[id]) AS id, settled_by AS operator_id,
                   CASE settled_as WHEN 'paid' THEN 'pay_payout' ELSE 'reject_payout' END AS action, id AS ref_id,
                   (tokens - cut_tokens)::bigint AS tokens
              FROM payouts WHERE settled_as IN ('paid', 'rejected')
            UNION ALL
            SELECT derived_key('settled payment', ARRAY[s.id]), s.operator_id,
                   CASE s.action WHEN 'credit' THEN 'credit_purchase' ELSE 'reject_payment' END,
                   coalesce(s.payment_id, s.purchase_id), CASE s.action WHEN 'credit' THEN p.tokens END
              FROM payment_settlements s LEFT JOIN purchases p ON p.id = s.purchase_id
             WHERE s.action IN ('credit', 'reject')
            UNION ALL
            SELECT derived_key('settled reversal', ARRAY[id]), operator_id, 'release_reversal', reversal_id, NULL
              FROM reversal_settlements
            UNION ALL
            SELECT a.id, b.banned_by, 'ban', b.id, NULL
              FROM bans b LEFT JOIN operator_actions a ON a.ref_id = b.id AND a.action = 'ban'
        )
        SELECT coalesce(s.id, a.id) AS id, s.operator_id, s.action, s.tokens, a.operator_id AS kept_operator_id,
               a.action AS kept_action, a.tokens AS kept_tokens
          FROM settled s FULL JOIN (
               SELECT * FROM operator_actions
                WHERE action IN ('pay_payout', 'reject_payout', 'credit_purchase', 'reject_payment',
                                 'release_reversal', 'ban')) a ON a.id = s.id
         WHERE (s.operator_id, s.action, s.ref_id, s.tokens)
               IS DISTINCT FROM (a.operator_id, a.action, a.ref_id, a.tokens)
        """,
    ),
    Proof(
        "each meter knows what of its blocks was given back",
        """
        SELECT m.room_id, m.payer_id, m.refunded_blocks, r.blocks, m.refunded_tokens, r.tokens
          FROM meters m FULL JOIN (
               SELECT o.room_id, o.debit_wallet, count(DISTINCT o.key) AS blocks, sum(j.tokens) AS tokens
                 FROM journal j JOIN journal o ON o.key = j.content WHERE j.kind = 6 AND o.kind = 1 GROUP BY 1, 2) r
            ON r.room_id = m.room_id AND r.debit_wallet = m.payer_id
         WHERE (coalesce(m.refunded_blocks, 0), coalesce(m.refunded_tokens, 0))
               IS DISTINCT FROM (coalesce(r.blocks, 0), coalesce(r.tokens, 0))
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
    """Yield the finding of each proof in turn, all on one snapshot, without locks and without blocking writers.

    Takes minutes on a large ledger. Raises StorageUnavailable.
    """
    async with postgres.snapshot() as read:
        for proof in PROOFS:
            # Read the first violating rows.
            rows = await read(f"SELECT * FROM ({proof.sql}) p LIMIT {MAX_ROWS_SHOWN}")
            yield Finding(proof.sentence, [dict(row) for row in rows])
