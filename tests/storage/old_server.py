"""A large database, as after a year of use: a million postings, two wallets with half a million entries each.

Tests must not change its rows; a test that writes adds users of its own.
"""

import math
from datetime import UTC, datetime, timedelta
from uuid import UUID

from domain.ids import PAYOUTS, TOKEN_SALES, RoomId, UserId, block_key
from storage.postgres import Connection, PgUUID, Postgres
from tests.support.history import STATEMENT_SECONDS_MAX, insert_postings, patiently

ENTRIES = 500_000  # of each of the two wallets
LONG_BLOCKS = 20_000
USERS = 2_000  # fans, and as many creators
CALLS = 20_000  # so many that no user has a fifth of them, when reading all would cost little more
LIVE_CALLS = 400
MARKET = 50_000  # purchases, payouts, reports
SHOWS, TICKETS = 5_000, 10  # streams, and tickets to each
RATE, BLOCK_TOKENS, FAN_TOKENS = 60, 30, 900_000_000

FIRST_AT = datetime(2025, 1, 1, tzinfo=UTC)
STEP_POSTINGS = 5  # of either wallet with the same date
STEP = timedelta(seconds=300)

# Ids that tests name; all others are random.
EARNER = UserId(UUID("01890000-0000-7000-8000-0000000000e1"))  # mostly blocks
TIPPED = UserId(UUID("01890000-0000-7000-8000-0000000000e2"))  # mostly tips, received and sent
STAR = UserId(UUID("01890000-0000-7000-8000-0000000000e3"))  # a creator like most others, with a few calls
LONG_FAN = UserId(UUID("01890000-0000-7000-8000-0000000000f0"))
LONG_CALL = RoomId(UUID("01890000-0000-7000-8000-0000000000c0"))  # from LONG_FAN to EARNER

RARE_BLOCKS, RARE_PAYOUTS, RARE_TIPS = 2_500, 100_000, 50_000

_USERS = f"""
    CREATE TEMP TABLE fans ON COMMIT DROP AS
        SELECT i, CASE i WHEN 0 THEN '{LONG_FAN}'::uuid ELSE gen_random_uuid() END AS id
          FROM generate_series(0, {USERS - 1}) i;
    CREATE TEMP TABLE stars ON COMMIT DROP AS
        SELECT i, CASE i WHEN 2 THEN '{STAR}'::uuid ELSE gen_random_uuid() END AS id
          FROM generate_series(0, {USERS - 1}) i;
    INSERT INTO users (supabase_id, display_name)
        SELECT id, 'Somebody' FROM (SELECT id FROM fans UNION SELECT id FROM stars) p
        UNION VALUES ('{EARNER}'::uuid, 'Erna'), ('{TIPPED}', 'Tia');
    INSERT INTO creators (user_id, rate_tokens_per_min, created_at)
        SELECT id, {RATE}, '{FIRST_AT}'::timestamptz + i * interval '1 hour' FROM stars
        UNION ALL SELECT unnest('{{{EARNER},{TIPPED}}}'::uuid[]), {RATE}, '{FIRST_AT}';
    INSERT INTO creator_blocks (creator_id, user_id)
        SELECT s.id, f.id FROM stars s JOIN fans f ON f.i IN ((s.i + 1) % {USERS}, (s.i + 2) % {USERS});
    INSERT INTO idempotency_keys (key, content, ref_id)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid() FROM generate_series(1, 10000);
"""

# Call 0 is the long one; the first tenth rings EARNER, two more TIPPED, the others everybody.
_CALLS = f"""
    CREATE TEMP TABLE old_calls ON COMMIT DROP AS
        SELECT c, CASE c WHEN 0 THEN '{LONG_CALL}'::uuid ELSE gen_random_uuid() END AS id, f.id AS fan,
               CASE WHEN c < {USERS} THEN '{EARNER}'::uuid WHEN c < {USERS + 2} THEN '{TIPPED}' ELSE s.id END
                   AS creator,
               '{FIRST_AT}'::timestamptz + c * interval '30 minutes' AS at
          FROM generate_series(0, {CALLS - 1}) c JOIN fans f ON f.i = c % {USERS} JOIN stars s ON s.i = c % {USERS};
    INSERT INTO rooms (id, kind, channel, created_at, ended_at)
        SELECT id, 'call', replace(id::text, '-', ''), at, at + interval '1 year' FROM old_calls;
    INSERT INTO calls (id, fan_id, creator_id, status, rate_tokens_per_min, block_seconds, block_rounding, created_at,
                       rings_until, accepted_at, started_at, ended_at, end_reason)
        SELECT id, fan, creator, 'ended', {RATE}, 30, 'up', at, at, at, at, at + interval '1 year', 'hangup'
          FROM old_calls;
"""

# Calls that another server owns, with a lease that lasts for a long time.
_LIVE = f"""
    INSERT INTO servers (id, lease_expires_at) VALUES ('{LONG_CALL}', now() + interval '1 day');
    CREATE TEMP TABLE live_calls ON COMMIT DROP AS
        SELECT gen_random_uuid() AS id, gen_random_uuid() AS fan, gen_random_uuid() AS creator
          FROM generate_series(1, {LIVE_CALLS});
    INSERT INTO users (supabase_id) SELECT fan FROM live_calls UNION SELECT creator FROM live_calls;
    INSERT INTO rooms (id, kind, channel, server_id)
        SELECT id, 'call', replace(id::text, '-', ''), '{LONG_CALL}' FROM live_calls;
    INSERT INTO meters (room_id, payer_id) SELECT id, fan FROM live_calls;
    INSERT INTO calls (id, fan_id, creator_id, rate_tokens_per_min, block_seconds, block_rounding, created_at,
                       rings_until) SELECT id, fan, creator, {RATE}, 30, 'up', now(), now() FROM live_calls;
"""

_POSTINGS = f"""
    INSERT INTO wanted (seq, kind, debit, credit, tokens, created_at)
        SELECT i - {USERS}, 4, '{TOKEN_SALES}', id, {FAN_TOKENS}, '{FIRST_AT}' FROM fans;
    CREATE TEMP TABLE js ON COMMIT DROP AS
        SELECT j, j % {USERS} AS fan_i, '{FIRST_AT}'::timestamptz + j / {STEP_POSTINGS} * interval '{STEP}' AS at
          FROM generate_series(1, {ENTRIES}) j;
    INSERT INTO wanted (seq, key, kind, debit, credit, tokens, room_id, block_no, created_at)
        SELECT j * 10, coalesce(l.key, gen_random_uuid()), 1, c.fan, c.creator, {BLOCK_TOKENS}, c.id, e.block_no, e.at
          FROM (SELECT j, at, call_no, row_number() OVER (PARTITION BY call_no ORDER BY j) AS block_no
                  FROM (SELECT j, at, CASE WHEN j <= {LONG_BLOCKS + 2} THEN 0 ELSE 1 + j % {USERS - 1} END AS call_no
                          FROM js WHERE j % {RARE_TIPS} <> 7 AND j % {RARE_PAYOUTS} <> 9) f) e
          JOIN old_calls c ON c.c = e.call_no LEFT JOIN long_keys l ON c.c = 0 AND l.block_no = e.block_no;
    INSERT INTO wanted (seq, kind, debit, credit, tokens, created_at)
        SELECT j * 10, 2, f.id, '{EARNER}'::uuid, 5, at FROM js JOIN fans f ON f.i = fan_i WHERE j % {RARE_TIPS} = 7
        UNION ALL SELECT j * 10, 7, '{EARNER}', '{PAYOUTS}', 1, at FROM js WHERE j % {RARE_PAYOUTS} = 9
        UNION ALL SELECT j * 10 + 1, 2, CASE WHEN j % 3 = 0 THEN '{TIPPED}' ELSE f.id END,
                         CASE WHEN j % 3 = 0 THEN f.id ELSE '{TIPPED}' END, 2, at
                    FROM js JOIN fans f ON f.i = fan_i WHERE j % {RARE_BLOCKS} <> 0;
    INSERT INTO wanted (seq, kind, debit, credit, tokens, room_id, block_no, created_at)
        SELECT j * 10 + 1, 1, c.fan, c.creator, {BLOCK_TOKENS}, c.id, (j / {RARE_BLOCKS} + 1) / 2, js.at
          FROM js JOIN old_calls c ON c.c = {USERS} + j / {RARE_BLOCKS} % 2 WHERE j % {RARE_BLOCKS} = 0;
    INSERT INTO wanted (seq, kind, debit, credit, tokens, room_id, block_no, created_at)
        SELECT b * 200000 + c * 10 + 2, 1, fan, creator, {BLOCK_TOKENS}, id, b,
               '{FIRST_AT}'::timestamptz + (b * 20000 + c) / {STEP_POSTINGS} * interval '{STEP}'
          FROM generate_series(1, 6) b, old_calls WHERE c >= {USERS + 2};
"""

_MEMOS = "INSERT INTO memos (posting_key, memo) SELECT key, 'well done' FROM wanted WHERE kind = 2 AND seq % 1000 = 1"

# Purchases, payouts, reports, and the overlay tokens of creators.
_MARKET = f"""
    INSERT INTO purchases (id, user_id, pack_id, tokens, price_cents, currency, provider, status, created_at, paid_at)
        SELECT gen_random_uuid(), f.id, 'small', 100, 699, 'USD', 'stripe',
               CASE p % 10 WHEN 0 THEN 'expired' ELSE 'paid' END, at, CASE p % 10 WHEN 0 THEN NULL ELSE at END
          FROM (SELECT p, '{FIRST_AT}'::timestamptz + p * interval '15 minutes' AS at
                  FROM generate_series(1, {MARKET}) p) s JOIN fans f ON f.i = p % {USERS};
    INSERT INTO payouts (id, creator_id, posting_key, tokens, cents, currency, created_at, settled_as, settled_at)
        SELECT gen_random_uuid(), s.id, w.key, 100, 500, 'USD', w.created_at,
               CASE n % 100 WHEN 0 THEN NULL WHEN 1 THEN 'rejected' ELSE 'paid' END,
               CASE n % 100 WHEN 0 THEN NULL ELSE w.created_at END
          FROM (SELECT key, created_at, row_number() OVER () AS n FROM wanted WHERE kind = 2 LIMIT {MARKET}) w
          JOIN stars s ON s.i = n % {USERS};
    UPDATE payouts SET given_back = true WHERE settled_as = 'rejected';
    INSERT INTO reports (id, reporter_id, user_id, reason, created_at)
        SELECT gen_random_uuid(), f.id, s.id, 'rude', '{FIRST_AT}'::timestamptz + r * interval '15 minutes'
          FROM generate_series(1, {MARKET}) r JOIN fans f ON f.i = r % {USERS} JOIN stars s ON s.i = r / 7 % {USERS};
    INSERT INTO overlay_tokens (id, creator_id, name, digest)
        SELECT gen_random_uuid(), s.id, 'scene', sha256(convert_to(s.id::text || t, 'UTF8'))
          FROM stars s, generate_series(1, 8) t;
"""

# Ended streams, their released tickets, and blocks that creators must refund.
_SHOWS = f"""
    CREATE TEMP TABLE shows ON COMMIT DROP AS
        SELECT n, gen_random_uuid() AS id, s.id AS creator, '{FIRST_AT}'::timestamptz + n * interval '1 hour' AS at
          FROM generate_series(0, {SHOWS - 1}) n JOIN stars s ON s.i = n % {USERS};
    INSERT INTO rooms (id, kind, channel, created_at, ended_at)
        SELECT id, 'stream', replace(id::text, '-', ''), at, at + interval '1 hour' FROM shows;
    INSERT INTO streams (id, creator_id, title, type, ticket_price_tokens, block_seconds, block_rounding, status,
                         created_at, started_at, ended_at, end_reason, released_at)
        SELECT id, creator, 'A show', 'private', 2, 30, 'up', 'ended', at, at, at + interval '1 hour', 'ended', at
          FROM shows;
    INSERT INTO stream_tickets (stream_id, user_id, ticket_id, posting_key, price_tokens, bought_at, released_at)
        SELECT s.id, f.id, gen_random_uuid(), w.key, 2, s.at, s.at
          FROM (SELECT key, row_number() OVER () AS t FROM wanted WHERE kind = 2 LIMIT {SHOWS * TICKETS}) w
          JOIN shows s ON s.n = w.t % {SHOWS} JOIN fans f ON f.i = w.t / {SHOWS};
    UPDATE stream_tickets SET return_key = NULL;
    INSERT INTO refunds_due (paid_key, payee_id, room_id, next_try_at)
        SELECT key, credit, room_id, 'infinity' FROM wanted WHERE kind = 1 AND block_no = 1 AND seq % 10 = 2;
    INSERT INTO debts (advance_key, debtor, tokens, repaid, created_at)
        SELECT key, credit, tokens, tokens, created_at FROM wanted WHERE kind = 1 AND block_no = 2 AND seq % 10 = 2;
    INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, created_at)
        SELECT gen_random_uuid(), '{STAR}', 'pay_payout', creator_id, id, tokens, settled_at
          FROM payouts WHERE settled_as = 'paid';
"""

TABLES = (
    "users", "creators", "creator_blocks", "wallets", "journal", "memos", "idempotency_keys", "rooms", "meters",
    "calls", "users_in_calls", "servers", "purchases", "payouts", "reports", "overlay_tokens", "streams",
    "stream_tickets", "refunds_due", "debts", "operator_actions",
)  # fmt: skip


async def build(postgres: Postgres) -> None:
    """Fill a migrated, empty database; takes about half a minute."""
    await postgres.transaction(_fill, seconds=math.inf)
    for table in TABLES:
        await patiently(postgres, f"VACUUM (ANALYZE) {table}")


async def _fill(connection: Connection) -> None:
    keys = [PgUUID(block_key(LONG_CALL, LONG_FAN, block_no)) for block_no in range(1, LONG_BLOCKS + 1)]
    await connection.execute("CREATE TEMP TABLE long_keys (key uuid, block_no integer) ON COMMIT DROP")
    await connection.execute("INSERT INTO long_keys SELECT * FROM unnest($1::uuid[]) WITH ORDINALITY", keys)
    await insert_postings(connection, _USERS, _CALLS, _LIVE, _POSTINGS)
    for script in (_MEMOS, _MARKET, _SHOWS):
        await connection.execute(script, timeout=STATEMENT_SECONDS_MAX)
