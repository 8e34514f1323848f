-- Calls: total pause time, unanswered calls, precedence of a stream's start over a ringing call. Meters whose active time
-- is set back, and blocks that are due for a refund. One key space for all idempotency keys of a user.

-- Meters -------------------------------------------------------------------------------------------------------------

-- `set_backs`: how often the active time was set back because the payee had been absent. `set_back_block`: the last block
-- that was charged by then; an active time before its start is valid. refund_postings counts refunded blocks here;
-- `last_block` and `tokens` include them.
ALTER TABLE meters
    ADD COLUMN set_backs       integer NOT NULL DEFAULT 0 CHECK (set_backs >= 0),
    ADD COLUMN set_back_block  integer NOT NULL DEFAULT 0 CHECK (set_back_block >= 0),
    ADD COLUMN refunded_blocks integer NOT NULL DEFAULT 0,
    ADD COLUMN refunded_tokens bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT refunded_at_most_what_was_paid CHECK (refunded_blocks BETWEEN 0 AND last_block
                                                         AND refunded_tokens BETWEEN 0 AND tokens);
UPDATE meters m SET refunded_blocks = r.blocks, refunded_tokens = r.tokens
  FROM (SELECT o.room_id, o.debit_wallet, count(DISTINCT o.key) AS blocks, sum(j.tokens) AS tokens
          FROM journal j JOIN journal o ON o.key = j.content WHERE j.kind = 6 AND o.kind = 1 GROUP BY 1, 2) r
 WHERE m.room_id = r.room_id AND m.payer_id = r.debit_wallet;

-- Stores the active time of meters. It decreases only by a set-back: of two times with equally many set-backs the larger
-- one is the later one; otherwise the one with more set-backs is.
CREATE FUNCTION store_meters(room uuid[], payer uuid[], active bigint[], times int[], block int[]) RETURNS void
LANGUAGE sql SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    UPDATE meters m SET active_us = CASE WHEN times[i] = m.set_backs THEN greatest(m.active_us, active[i]) ELSE active[i] END,
                        set_backs = times[i], set_back_block = block[i]
      FROM generate_series(1, cardinality(room)) i
     WHERE m.room_id = room[i] AND m.payer_id = payer[i] AND times[i] >= m.set_backs;
$$;

DROP FUNCTION checkpoint_meters;
CREATE FUNCTION checkpoint_meters(
    r uuid[], owner_epoch int[], payer uuid[], active bigint[], times int[], block int[]
) RETURNS void
LANGUAGE plpgsql SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    -- The commit does not wait for the disk, so that blocks do not wait behind it. A crash may lose the last second.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM store_meters(array_agg(r[i]), array_agg(payer[i]), array_agg(active[i]), array_agg(times[i]), array_agg(block[i]))
       FROM generate_series(1, cardinality(r)) i JOIN rooms s ON s.id = r[i] AND s.epoch = owner_epoch[i]
      WHERE s.ended_at IS NULL;
END $$;

-- As before, and with set-backs of viewers' meters.
DROP FUNCTION save_stream;
CREATE FUNCTION save_stream(
    stream uuid, owner_epoch int, new_status text, ended timestamptz, reason text, now_muted uuid[], now_removed uuid[],
    payer uuid[], active bigint[], present bigint, times int[] DEFAULT NULL, block int[] DEFAULT NULL
) RETURNS boolean LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE none CONSTANT int[] := array_fill(0, ARRAY[cardinality(payer)]);
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM 1 FROM rooms WHERE id = stream AND epoch = owner_epoch AND ended_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    -- A delayed record must not undo a later one.
    UPDATE streams SET status = new_status, ended_at = ended, end_reason = reason, muted = now_muted,
                       removed = now_removed, present_us = greatest(present_us, present)
     WHERE id = stream;
    PERFORM store_meters(array_fill(stream, ARRAY[cardinality(payer)]), payer, active, coalesce(times, none),
                         coalesce(block, none));
    IF cardinality(now_removed) > 0 THEN
        UPDATE stream_tickets t SET return_key = t.posting_key
         WHERE t.stream_id = stream AND t.user_id = ANY (now_removed) AND t.refunded_at IS NULL
           AND t.return_key IS DISTINCT FROM t.posting_key;
    END IF;
    IF ended IS NOT NULL THEN
        UPDATE rooms SET ended_at = ended WHERE id = stream;
    END IF;
    RETURN true;
END $$;

DROP FUNCTION open_stay;
CREATE FUNCTION open_stay(room uuid, payer uuid, OUT last_block int, OUT tokens bigint, OUT active_us bigint,
                          OUT balance bigint, OUT n int, OUT set_backs int, OUT set_back_block int)
LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO meters (room_id, payer_id) VALUES (room, payer) ON CONFLICT DO NOTHING;
    SELECT m.last_block, m.tokens, m.active_us, w.balance, w.n, m.set_backs, m.set_back_block
      INTO last_block, tokens, active_us, balance, n, set_backs, set_back_block
      FROM meters m, wallets w WHERE m.room_id = room AND m.payer_id = payer AND w.id = payer;
END $$;

-- Blocks that are due for a refund -----------------------------------------------------------------------------------

-- Written in the transaction of their cause, such as the end of a call, and deleted once they are refunded. If a server
-- stops in between, the next one refunds them. A refund that the payee's balance does not cover stays and is retried.
CREATE TABLE refunds_due (
    paid_key    uuid PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT,
    payee_id    uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    room_id     uuid NOT NULL REFERENCES rooms (id) ON DELETE RESTRICT,
    tries       integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '10 seconds',    -- time for the room to refund it first
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX refunds_due_next ON refunds_due (next_try_at);
CREATE INDEX refunds_due_of_payee ON refunds_due (payee_id);

-- Stores that these blocks are due for a refund, except blocks with a price of 0.
CREATE FUNCTION note_refunds_due(paid uuid[]) RETURNS void LANGUAGE sql SET search_path = halfminute, pg_temp
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
    INSERT INTO refunds_due (paid_key, payee_id, room_id)
    SELECT j.key, j.credit_wallet, j.room_id FROM unnest(paid) p(key) JOIN journal j ON j.key = p.key
     WHERE j.kind = 1 AND j.tokens > 0
        ON CONFLICT DO NOTHING;
$$;

-- The same for blocks of a room. Returns false, and stores nothing, if the room has a later epoch.
CREATE FUNCTION note_refunds_due_in(room uuid, owner_epoch int, paid uuid[]) RETURNS boolean LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM 1 FROM rooms WHERE id = room AND epoch = owner_epoch;
    IF NOT FOUND THEN RETURN false; END IF;
    PERFORM note_refunds_due(paid);
    RETURN true;
END $$;

-- Returns what a creator can cash out now (`cashable`): the earned tokens, less those that were earned within `holding`
-- (`held`), less payouts whose posting is not committed yet, less blocks that are due for a refund (`due`). Debts need no
-- term, since they are repaid before anything is earned; nor do committed payouts, which have left the balance.
DROP FUNCTION cashable_tokens;
CREATE FUNCTION cashable_tokens(creator uuid, holding interval, OUT cashable bigint, OUT held bigint, OUT due bigint)
LANGUAGE plpgsql STABLE SET search_path = halfminute, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
    settled int;  earned bigint;  entries int;  recent bigint := 0;
    kinds CONSTANT smallint[] := '{1,2,3,4,5,6,7,8,9}';  earning CONSTANT smallint[] := '{1,2,3,8}';
BEGIN
    SELECT w.earned, w.n INTO earned, entries FROM wallets w WHERE w.id = creator;
    IF holding > interval '0' AND earned > 0 THEN
        settled := entries_before(creator, entries, kinds, clock_timestamp() - holding);
        SELECT coalesce(sum(j.credit_earned), 0) INTO recent FROM unnest(earning) k, LATERAL (
            SELECT e.credit_earned FROM journal e WHERE e.credit_wallet = creator AND e.kind = k AND e.credit_n > settled
            OFFSET 0) j;
    END IF;
    held := least(earned, recent);
    SELECT coalesce(sum((SELECT j.tokens FROM journal j WHERE j.key = d.paid_key)), 0) INTO due
      FROM refunds_due d WHERE d.payee_id = creator;
    SELECT greatest(0, earned - held - due - coalesce(sum(p.tokens), 0)) INTO cashable FROM payouts p
     WHERE p.creator_id = creator AND p.given_up_at IS NULL AND p.settled_as IS NULL
       AND (SELECT true FROM journal j WHERE j.key = p.posting_key) IS NULL;
END $$;

-- Calls --------------------------------------------------------------------------------------------------------------

-- How long each party has paused the call by command, without a pause that is in force.
ALTER TABLE calls
    ADD COLUMN fan_paused_us     bigint NOT NULL DEFAULT 0 CHECK (fan_paused_us >= 0),
    ADD COLUMN creator_paused_us bigint NOT NULL DEFAULT 0 CHECK (creator_paused_us >= 0);

-- A fan's calls to one creator: the latest ones decide how long the fan must wait before the next.
CREATE INDEX calls_of_pair ON calls (fan_id, creator_id, created_at DESC);

-- Stores the state of a call. Returns false, and stores nothing, if the room has a later epoch. The last record ends the
-- room and stores the blocks that are due for a refund.
DROP FUNCTION save_call;
CREATE FUNCTION save_call(
    call uuid, owner_epoch int, new_status text, accepted timestamptz, started timestamptz, ended timestamptz,
    reason text, new_holds text[], fan_paused timestamptz, creator_paused timestamptz, fan_paused_for bigint,
    creator_paused_for bigint, active bigint, times int, block int, given_back uuid[]
) RETURNS boolean LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM 1 FROM rooms WHERE id = call AND epoch = owner_epoch AND ended_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE calls SET status = new_status, accepted_at = accepted, started_at = started, ended_at = ended,
                     end_reason = reason, holds = new_holds, fan_paused_at = fan_paused,
                     creator_paused_at = creator_paused, fan_paused_us = fan_paused_for,
                     creator_paused_us = creator_paused_for
     WHERE id = call;
    PERFORM store_meters(ARRAY[c.id], ARRAY[c.fan_id], ARRAY[active], ARRAY[times], ARRAY[block]) FROM calls c WHERE c.id = call;
    IF ended IS NOT NULL THEN
        PERFORM note_refunds_due(given_back);
        UPDATE rooms SET ended_at = ended WHERE id = call;
    END IF;
    RETURN true;
END $$;

-- Stream starts ------------------------------------------------------------------------------------------------------

-- While a creator starts a stream, nobody can call them: the ringing call is declined, and no other call may be created
-- before the stream is live. The reservation expires, in case the server stops.
ALTER TABLE creators ADD COLUMN starts_stream_until timestamptz;
CREATE INDEX creators_starting ON creators (starts_stream_until) WHERE starts_stream_until IS NOT NULL;

-- Refuses new calls of this creator for so many seconds. Returns the call that they are in, or NULL, and whether they are
-- its creator.
CREATE FUNCTION begin_stream_start(creator uuid, seconds float8, OUT call_id uuid, OUT is_creator boolean)
LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM 1 FROM users WHERE supabase_id = creator FOR NO KEY UPDATE;
    UPDATE creators SET starts_stream_until = clock_timestamp() + make_interval(secs => seconds) WHERE user_id = creator;
    SELECT u.call_id, c.creator_id = creator INTO call_id, is_creator
      FROM users_in_calls u JOIN calls c ON c.id = u.call_id WHERE u.user_id = creator;
END $$;

CREATE OR REPLACE FUNCTION occupy_parties() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    IF NEW.ended_at IS NULL THEN
        PERFORM 1 FROM users WHERE supabase_id IN (NEW.fan_id, NEW.creator_id) ORDER BY supabase_id FOR NO KEY UPDATE;
        IF EXISTS (SELECT FROM streams s WHERE s.creator_id IN (NEW.fan_id, NEW.creator_id) AND s.status = 'live')
           OR EXISTS (SELECT FROM creators c WHERE c.user_id IN (NEW.fan_id, NEW.creator_id)
                                               AND c.starts_stream_until > clock_timestamp()) THEN
            RAISE EXCEPTION 'a user who is live cannot be in a call'
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'live_or_in_a_call';
        END IF;
        -- In the order of ids, so that two calls between the same two users cannot deadlock.
        INSERT INTO users_in_calls (user_id, call_id)
        SELECT party, NEW.id FROM unnest(ARRAY[NEW.fan_id, NEW.creator_id]) party ORDER BY party;
    ELSE
        DELETE FROM users_in_calls WHERE call_id = NEW.id AND user_id IN (NEW.fan_id, NEW.creator_id);
    END IF;
    RETURN NULL;
END $$;

-- Idempotency keys ---------------------------------------------------------------------------------------------------

-- A client's key is used for one request. A posting looks up idempotency_keys under the write lock (apply_postings). For
-- other requests this trigger looks up the journal, and payouts without a posting, under the same lock.
CREATE FUNCTION refuse_keys_of_postings() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM journal j WHERE j.key = NEW.key)
       OR EXISTS (SELECT FROM payouts p WHERE p.posting_key = NEW.key AND p.given_up_at IS NULL) THEN
        RAISE EXCEPTION 'this key stands for a posting'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'key_of_a_posting';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER idempotency_keys_are_of_no_posting BEFORE INSERT ON idempotency_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_keys_of_postings();

-- Only the owner of the schema has privileges ------------------------------------------------------------------------

DO $$
DECLARE t text; someone text;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'halfminute' AND NOT rowsecurity LOOP
        EXECUTE format('ALTER TABLE halfminute.%I ENABLE ROW LEVEL SECURITY', t);
    END LOOP;
    FOREACH someone IN ARRAY ARRAY['PUBLIC', 'anon', 'authenticated'] LOOP
        IF someone = 'PUBLIC' OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = someone) THEN
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA halfminute FROM %s', someone);
            EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA halfminute FROM %s', someone);
        END IF;
    END LOOP;
END $$;
