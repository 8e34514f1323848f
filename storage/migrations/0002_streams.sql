-- Streams and their tickets, daily limits of users, and a batch statement that checks both. It also commits postings of
-- a room that its task did not make, and returns the ref under which a repeated key was used first.

-- Streams ------------------------------------------------------------------------------------------------------------

-- A stream has a room from the start, which has no owner until the stream goes live.
ALTER TABLE rooms ADD COLUMN opened boolean NOT NULL DEFAULT true;

CREATE TABLE streams (
    id                  uuid PRIMARY KEY REFERENCES rooms (id) ON DELETE RESTRICT,
    creator_id          uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    title               text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    type                text NOT NULL CHECK (type IN ('public', 'private')),
    ticket_price_tokens integer CHECK (ticket_price_tokens BETWEEN 1 AND 1000000000),
    rate_tokens_per_min integer CHECK (rate_tokens_per_min BETWEEN 1 AND 1000000000),
    block_seconds       integer NOT NULL CHECK (block_seconds > 0),
    block_rounding      text NOT NULL CHECK (block_rounding IN ('up', 'exact')),
    status              text NOT NULL DEFAULT 'scheduled' CHECK (status IN ('scheduled', 'live', 'ended')),
    created_at          timestamptz NOT NULL,
    started_at          timestamptz,
    ended_at            timestamptz,
    end_reason          text CHECK (end_reason IN ('ended', 'owner_lost', 'server_fault', 'admin', 'cancelled')),
    muted               uuid[] NOT NULL DEFAULT '{}',
    removed             uuid[] NOT NULL DEFAULT '{}',
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT only_private_streams_cost CHECK ((type = 'private') = (num_nonnulls(ticket_price_tokens,
                                                                                   rate_tokens_per_min) > 0)),
    CONSTRAINT live_streams_have_begun CHECK (CASE status WHEN 'scheduled' THEN started_at IS NULL
                                                          WHEN 'live' THEN started_at IS NOT NULL ELSE true END),
    CONSTRAINT ended_streams_say_why CHECK ((status = 'ended') = (ended_at IS NOT NULL)
                                            AND (ended_at IS NULL) = (end_reason IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX streams_newest ON streams (status, created_at DESC, id DESC);
CREATE INDEX streams_of_creator ON streams (creator_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX one_live_stream_a_creator ON streams (creator_id) WHERE status = 'live';
CREATE TRIGGER streams_updated_at BEFORE UPDATE ON streams FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- A viewer has at most one ticket to a stream. After a refund they can buy another one, with another id.
CREATE TABLE stream_tickets (
    stream_id    uuid NOT NULL REFERENCES streams (id) ON DELETE RESTRICT,
    user_id      uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    ticket_id    uuid NOT NULL UNIQUE,
    posting_key  uuid NOT NULL UNIQUE REFERENCES journal (key) ON DELETE RESTRICT,
    price_tokens integer NOT NULL CHECK (price_tokens >= 0),
    bought_at    timestamptz NOT NULL,
    refunded_at  timestamptz,
    PRIMARY KEY (stream_id, user_id)
);

-- Makes a scheduled stream live and gives its room to the server. Returns the new epoch, or NULL if the stream is not
-- scheduled. The index one_live_stream_a_creator refuses a creator who is live already.
CREATE FUNCTION open_stream(stream uuid, server uuid, at timestamptz) RETURNS int
LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
DECLARE opened_as int;
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    UPDATE streams SET status = 'live', started_at = at WHERE id = stream AND status = 'scheduled';
    IF NOT FOUND THEN RETURN NULL; END IF;
    -- The room's age counts from here: its server has some seconds to start it (storage/rooms/leases.py).
    UPDATE rooms SET opened = true, server_id = server, epoch = epoch + 1, created_at = clock_timestamp()
     WHERE id = stream RETURNING epoch INTO opened_as;
    RETURN opened_as;
END $$;

-- Ends a stream that never went live. Returns false if it is live or has ended.
CREATE FUNCTION end_scheduled_stream(stream uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    UPDATE streams SET status = 'ended', ended_at = at, end_reason = 'cancelled'
     WHERE id = stream AND status = 'scheduled';
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE rooms SET ended_at = at WHERE id = stream;
    RETURN true;
END $$;

-- Stores the state of a stream and the active time of its viewers' meters. Returns false, and stores nothing, if the room
-- has a later epoch. The last record ends the room.
CREATE FUNCTION save_stream(
    stream uuid, owner_epoch int, new_status text, ended timestamptz, reason text, now_muted uuid[], now_removed uuid[],
    payer uuid[], active bigint[]
) RETURNS boolean LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM 1 FROM rooms WHERE id = stream AND epoch = owner_epoch AND ended_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE streams SET status = new_status, ended_at = ended, end_reason = reason, muted = now_muted,
                       removed = now_removed
     WHERE id = stream;
    -- Active time never decreases: a delayed record must not undo a later one.
    UPDATE meters m SET active_us = greatest(m.active_us, active[i]) FROM generate_series(1, cardinality(payer)) i
     WHERE m.room_id = stream AND m.payer_id = payer[i];
    IF ended IS NOT NULL THEN
        UPDATE rooms SET ended_at = ended WHERE id = stream;
    END IF;
    RETURN true;
END $$;

-- A viewer joins: returns their meter, which is created if it is missing, and their balance as of posting `n`.
CREATE FUNCTION open_stay(room uuid, payer uuid, OUT last_block int, OUT tokens bigint, OUT active_us bigint,
                          OUT balance bigint, OUT n int)
LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO meters (room_id, payer_id) VALUES (room, payer) ON CONFLICT DO NOTHING;
    SELECT m.last_block, m.tokens, m.active_us, w.balance, w.n INTO last_block, tokens, active_us, balance, n
      FROM meters m, wallets w WHERE m.room_id = room AND m.payer_id = payer AND w.id = payer;
END $$;

-- Claims one room, which may be the claimant's own. With `claimed` NULL, claims all live rooms whose owner is unknown or
-- has an expired lease. `alone`: the claimant knows that no other server runs. Each claim is a new epoch. The rooms of
-- scheduled streams are not claimed.
CREATE OR REPLACE FUNCTION claim_rooms(claimant uuid, claimed uuid, alone boolean)
RETURNS TABLE (room_id uuid, room_kind text, room_epoch int) LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    RETURN QUERY
    UPDATE rooms s SET epoch = s.epoch + 1, server_id = claimant
     WHERE s.ended_at IS NULL AND s.opened
       AND CASE WHEN s.server_id = claimant THEN s.id = claimed
                ELSE (claimed IS NULL OR s.id = claimed)
                     AND (alone OR s.server_id IS NULL OR NOT EXISTS (
                          SELECT 1 FROM servers o WHERE o.id = s.server_id AND o.lease_expires_at > clock_timestamp()))
           END
    RETURNING s.id, s.kind, s.epoch;
END $$;

-- Daily limits of users ----------------------------------------------------------------------------------------------

-- The tokens that a user allows themselves to spend in one UTC day. A higher limit waits in `next_*`; NULL tokens there
-- remove the limit. `spent` is what was spent on `day`; the batch statement counts it while the row exists.
CREATE TABLE spend_limits (
    user_id      uuid PRIMARY KEY REFERENCES users (supabase_id) ON DELETE RESTRICT,
    daily_tokens bigint NOT NULL CHECK (daily_tokens BETWEEN 0 AND 9007199254740991),
    next_tokens  bigint CHECK (next_tokens BETWEEN 0 AND 9007199254740991),
    next_at      timestamptz,
    day          date NOT NULL,
    spent        bigint NOT NULL CHECK (spent >= 0),
    CONSTRAINT what_comes_next_has_its_time CHECK (next_tokens IS NULL OR next_at IS NOT NULL)
) WITH (fillfactor = 70);
CREATE INDEX spend_limits_lifted ON spend_limits (next_at) WHERE next_tokens IS NULL AND next_at IS NOT NULL;

-- Read with the wallet, so that the batch statement reads spend_limits only if one of its payers has a limit.
ALTER TABLE wallets ADD COLUMN limited boolean NOT NULL DEFAULT false;

-- Tips and tickets are looked up by their ids.
CREATE INDEX journal_refs ON journal (ref_id) WHERE kind IN (2, 3);

-- A lower limit takes effect at once, a higher one after a day, so that it cannot be lifted on impulse. NULL is no limit.
CREATE FUNCTION set_spend_limit(owner uuid, wanted bigint) RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE now_at timestamptz; today date; in_force bigint; before_today int; spent_today bigint;
BEGIN
    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at INTO now_at;
    SELECT CASE WHEN next_at <= now_at THEN next_tokens ELSE daily_tokens END INTO in_force
      FROM spend_limits WHERE user_id = owner;
    IF wanted > in_force OR wanted IS NULL THEN
        UPDATE spend_limits SET daily_tokens = in_force, next_tokens = wanted, next_at = now_at + interval '24 hours'
         WHERE user_id = owner AND in_force IS NOT NULL
           -- A repeated request does not prolong the wait.
           AND (next_at > now_at AND next_tokens IS NOT DISTINCT FROM wanted) IS NOT TRUE;
        RETURN;
    END IF;
    today := (now_at AT TIME ZONE 'UTC')::date;
    SELECT entries_before(id, n, '{1,2,3,4,5,6,7}', today::timestamp AT TIME ZONE 'UTC') INTO before_today
      FROM wallets WHERE id = owner;
    SELECT coalesce(sum(j.tokens), 0) INTO spent_today FROM unnest('{1,2,3}'::smallint[]) k, LATERAL (
        SELECT tokens FROM journal WHERE debit_wallet = owner AND kind = k AND debit_n > before_today OFFSET 0) j;
    INSERT INTO spend_limits (user_id, daily_tokens, day, spent) VALUES (owner, wanted, today, spent_today)
        ON CONFLICT (user_id) DO UPDATE SET daily_tokens = wanted, next_tokens = NULL, next_at = NULL,
                                            day = today, spent = spent_today;
    PERFORM set_config('halfminute.booking', 'on', true);
    UPDATE wallets SET limited = true WHERE id = owner AND NOT limited;
    PERFORM set_config('halfminute.booking', '', true);
END $$;

-- Deletes limits that were lifted a day ago, and marks their wallets as not limited.
CREATE FUNCTION forget_lifted_limits() RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_seqscan = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM set_config('halfminute.booking', 'on', true);
    WITH lifted AS (DELETE FROM spend_limits WHERE next_tokens IS NULL AND next_at <= clock_timestamp()
                    RETURNING user_id)
    UPDATE wallets w SET limited = false FROM lifted l WHERE w.id = l.user_id;
    PERFORM set_config('halfminute.booking', '', true);
END $$;

-- The batch statement ------------------------------------------------------------------------------------------------

DROP FUNCTION apply_postings;

-- 0013_batch_steps.sql replaces this function, and describes its parameters, results and guards.
CREATE FUNCTION apply_postings(
    w uuid[], key uuid[], kind smallint[], debit int[], credit int[], room uuid[], epoch int[], block_no int[],
    tokens bigint[], ref uuid[], content uuid[], memo_of int[], memo text[], careful boolean,
    OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[], OUT debit_n int[], OUT credit_n int[],
    OUT first_ref uuid[], OUT day_limit bigint[], OUT day_spent bigint[]
) LANGUAGE plpgsql VOLATILE
    SET search_path = halfminute, pg_temp
    -- The planner assumes 1,000 rows for an array, and would scan and hash all wallets. The actor's connection keeps a
    -- plan that was made while tables were small.
    SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET jit = off
AS $fn$
#variable_conflict use_variable
DECLARE
    postings  int := cardinality(key);
    no_ints   int[] := array_fill(0, ARRAY[postings]);
    no_sums   bigint[] := array_fill(0::bigint, ARRAY[cardinality(w)]);
    w_id      uuid[];    w_tid tid[];  w_balance bigint[];  w_n int[];  w_is_user boolean[];
    limited   boolean;                                   -- whether some wallet is; NULL below for the others
    w_limit   bigint[];  w_spent bigint[];  today date;
    balance   bigint[];  n int[];  spent bigint[];
    refused   int[] := '{}';
    live      int[];                                     -- the epoch of the posting's room; -1: it has ended
    meter     int[];                                     -- position of the posting's meter in the next four
    m_tid     tid[];     m_last int[];  last_block int[];  m_tokens bigint[];
    old       boolean[]; same boolean[];  old_debit_after bigint[];  old_credit_after bigint[];
    old_debit_n int[];   old_credit_n int[];  old_ref uuid[];
    first_use int[];     booked_as int[];                -- the first posting with the key; the committed one
    ticket    int[];     owned boolean[];                -- the first posting for the ticket; the payer has it
    booked    int;       blocks int;  touched int;
    d int; c int; x int; e int; amount bigint; v bigint; spends boolean;
    now_at    timestamptz;
    most_balance CONSTANT bigint := 9007199254740991;  least_balance CONSTANT bigint := -9007199254740991;
BEGIN
    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at INTO now_at;
    PERFORM set_config('halfminute.booking', 'on', true);

    SELECT array_agg(s.id), array_agg(s.ctid), array_agg(s.balance), array_agg(s.n), array_agg(s.user_id IS NOT NULL),
           bool_or(s.limited)
      INTO w_id, w_tid, w_balance, w_n, w_is_user, limited
      FROM (SELECT x.id, x.ctid, x.balance, x.n, x.user_id, x.limited FROM wallets x WHERE x.id = ANY (w) ORDER BY x.id) s;
    IF w_id IS DISTINCT FROM w THEN
        RAISE EXCEPTION 'unknown wallet' USING ERRCODE = 'HM002';
    END IF;

    IF limited AND NOT careful THEN
        careful := EXISTS (SELECT FROM generate_series(1, postings) i WHERE coalesce(kind[i], 1) <= 3
                              AND (SELECT true FROM spend_limits l WHERE l.user_id = w[debit[i]]));
    END IF;
    IF NOT careful THEN
        balance := w_balance;  n := w_n;  spent := no_sums;
        status := array_fill(0::smallint, ARRAY[postings]);
        debit_after := array_fill(0::bigint, ARRAY[postings]);  credit_after := debit_after;
        debit_n := no_ints;  credit_n := no_ints;
        FOR i IN 1..postings LOOP
            d := debit[i];  amount := tokens[i];
            v := balance[d] - amount;
            IF v < 0 AND w_is_user[d] THEN
                status[i] := 2;  debit_after[i] := balance[d];  debit_n[i] := n[d];
                credit_after[i] := NULL;  credit_n[i] := NULL;
                refused := refused || i;
                CONTINUE;
            END IF;
            balance[d] := v;  debit_after[i] := v;  spent[d] := spent[d] + amount;
            e := n[d] + 1;  n[d] := e;  debit_n[i] := e;
            c := credit[i];
            IF v < least_balance OR balance[c] + amount > most_balance THEN
                RAISE EXCEPTION 'balance out of range' USING ERRCODE = 'HM004';
            END IF;
            v := balance[c] + amount;  balance[c] := v;  credit_after[i] := v;
            e := n[c] + 1;  n[c] := e;  credit_n[i] := e;
        END LOOP;
        booked := postings - cardinality(refused);
        IF booked < postings THEN                        -- another guard may precede the refusal for funds
            careful := EXISTS (                          -- one scalar subquery per row: no plan scans a table
                SELECT FROM unnest(refused) i
                 WHERE (SELECT true FROM journal j WHERE j.key = key[i])
                    OR cardinality(array_positions(key, key[i])) > 1
                    OR kind[i] = 3
                    OR room[i] IS NOT NULL AND (SELECT true FROM rooms s WHERE s.id = room[i] AND (kind[i] = 6
                                                    OR s.ended_at IS NULL AND (s.epoch = epoch[i] OR epoch[i] = 0
                                                                               AND block_no[i] = 0))) IS NULL
                    OR block_no[i] > 0 AND (SELECT true FROM meters s WHERE s.room_id = room[i]
                                               AND s.payer_id = w[debit[i]] AND s.last_block = block_no[i] - 1) IS NULL);
        END IF;
    END IF;

    IF careful THEN
        SELECT array_agg(CASE WHEN room[i] IS NULL OR kind[i] = 6 THEN epoch[i]
                              WHEN s.ended_at IS NULL THEN s.epoch ELSE -1 END ORDER BY i)
          INTO live FROM generate_series(1, postings) i LEFT JOIN rooms s ON s.id = room[i]
         WHERE s.id IS NOT NULL OR room[i] IS NULL;
        IF coalesce(cardinality(live), 0) <> postings THEN
            RAISE EXCEPTION 'unknown room' USING ERRCODE = 'HM001';
        END IF;
        meter := no_ints;  m_tid := '{}';  m_last := '{}';
        FOR d, c, x IN
            SELECT i, dense_rank() OVER (ORDER BY room[i], debit[i]), row_number() OVER (PARTITION BY room[i], debit[i])
              FROM generate_series(1, postings) i WHERE block_no[i] > 0 ORDER BY 2, 1
        LOOP
            meter[d] := c;
            IF x = 1 THEN
                SELECT m_tid || s.ctid, m_last || s.last_block INTO m_tid, m_last
                  FROM meters s WHERE s.room_id = room[d] AND s.payer_id = w[debit[d]];
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'unknown meter' USING ERRCODE = 'HM003';
                END IF;
            END IF;
        END LOOP;
        SELECT array_agg(j.key IS NOT NULL ORDER BY u.i), array_agg(u.first_use ORDER BY u.i),
               array_agg(j.debit_after ORDER BY u.i), array_agg(j.credit_after ORDER BY u.i),
               array_agg(j.debit_n ORDER BY u.i), array_agg(j.credit_n ORDER BY u.i), array_agg(j.ref_id ORDER BY u.i),
               array_agg(j.kind = coalesce(kind[u.i], 1) AND j.tokens = tokens[u.i]
                         AND j.debit_wallet = w[debit[u.i]] AND j.credit_wallet = w[credit[u.i]]
                         AND j.room_id IS NOT DISTINCT FROM room[u.i]
                         AND j.block_no IS NOT DISTINCT FROM nullif(block_no[u.i], 0)
                         AND j.content IS NOT DISTINCT FROM content[u.i] ORDER BY u.i)
          INTO old, first_use, old_debit_after, old_credit_after, old_debit_n, old_credit_n, old_ref, same
          FROM (SELECT q.key, q.i, min(q.i) OVER (PARTITION BY q.key) AS first_use
                  FROM unnest(key) WITH ORDINALITY q(key, i)) u
          LEFT JOIN journal j ON j.key = u.key;
        IF 3 = ANY (kind) THEN
            SELECT array_agg(u.first ORDER BY u.i),
                   array_agg((SELECT true FROM stream_tickets s WHERE s.stream_id = room[u.i]
                                 AND s.user_id = w[debit[u.i]] AND s.refunded_at IS NULL) ORDER BY u.i)
              INTO ticket, owned
              FROM (SELECT i, min(i) OVER (PARTITION BY kind[i] = 3, room[i], debit[i]) AS first
                      FROM generate_series(1, postings) i) u;
        END IF;
        IF limited THEN
            today := (now_at AT TIME ZONE 'UTC')::date;
            SELECT array_agg(CASE WHEN l.next_at <= now_at THEN l.next_tokens ELSE l.daily_tokens END ORDER BY u.i),
                   array_agg(CASE WHEN l.day = today THEN l.spent WHEN l.day < today THEN 0 END ORDER BY u.i)
              INTO w_limit, w_spent
              FROM unnest(w) WITH ORDINALITY u(id, i) LEFT JOIN spend_limits l ON l.user_id = u.id;
        END IF;

        balance := w_balance;  n := w_n;  spent := no_sums;  last_block := m_last;  booked_as := no_ints;  booked := 0;
        m_tokens := array_fill(0::bigint, ARRAY[cardinality(m_tid)]);
        status := array_fill(0::smallint, ARRAY[postings]);
        debit_after := array_fill(NULL::bigint, ARRAY[postings]);  credit_after := debit_after;
        debit_n := array_fill(NULL::int, ARRAY[postings]);  credit_n := debit_n;
        first_ref := array_fill(NULL::uuid, ARRAY[postings]);
        day_limit := array_fill(NULL::bigint, ARRAY[postings]);  day_spent := day_limit;
        FOR i IN 1..postings LOOP
            d := debit[i];  c := credit[i];  amount := tokens[i];
            IF old[i] THEN                               -- guard, idempotency: precedes all others
                IF same[i] THEN
                    status[i] := 1;
                    debit_after[i] := old_debit_after[i];  credit_after[i] := old_credit_after[i];
                    debit_n[i] := old_debit_n[i];  credit_n[i] := old_credit_n[i];  first_ref[i] := old_ref[i];
                ELSE
                    status[i] := 5;
                END IF;
                CONTINUE;
            END IF;
            x := booked_as[first_use[i]];
            IF x > 0 THEN
                IF coalesce(kind[x] = kind[i], true) AND tokens[x] = amount AND debit[x] = d AND credit[x] = c
                   AND room[x] IS NOT DISTINCT FROM room[i] AND block_no[x] = block_no[i]
                   AND content[x] IS NOT DISTINCT FROM content[i] THEN
                    status[i] := 1;
                    debit_after[i] := debit_after[x];  credit_after[i] := credit_after[x];
                    debit_n[i] := debit_n[x];  credit_n[i] := credit_n[x];  first_ref[i] := ref[x];
                ELSE
                    status[i] := 5;
                END IF;
                CONTINUE;
            END IF;
            IF live[i] <> epoch[i] AND (epoch[i] > 0 OR block_no[i] > 0 OR live[i] = -1) THEN
                status[i] := CASE WHEN live[i] = -1 THEN 4 ELSE 3 END;
                CONTINUE;
            END IF;
            x := meter[i];
            IF x > 0 AND last_block[x] <> block_no[i] - 1 THEN
                status[i] := 6;
                CONTINUE;
            END IF;
            IF kind[i] = 3 AND owned[ticket[i]] THEN
                status[i] := 9;
                CONTINUE;
            END IF;
            spends := coalesce(kind[i], 1) <= 3;
            IF spends AND amount > 0 AND w_spent[d] + amount > w_limit[d] THEN
                status[i] := 10;  day_limit[i] := w_limit[d];  day_spent[i] := w_spent[d];
                CONTINUE;
            END IF;
            v := balance[d] - amount;
            IF v < 0 AND w_is_user[d] THEN
                status[i] := 2;  debit_after[i] := balance[d];  debit_n[i] := n[d];
                CONTINUE;
            END IF;
            balance[d] := v;  debit_after[i] := v;  spent[d] := spent[d] + amount;
            e := n[d] + 1;  n[d] := e;  debit_n[i] := e;
            IF v < least_balance OR balance[c] + amount > most_balance THEN
                RAISE EXCEPTION 'balance out of range' USING ERRCODE = 'HM004';
            END IF;
            v := balance[c] + amount;  balance[c] := v;  credit_after[i] := v;
            e := n[c] + 1;  n[c] := e;  credit_n[i] := e;
            IF x > 0 THEN
                last_block[x] := block_no[i];  m_tokens[x] := m_tokens[x] + amount;
            END IF;
            IF kind[i] = 3 THEN
                owned[ticket[i]] := true;
            END IF;
            IF spends AND limited THEN
                w_spent[d] := w_spent[d] + amount;
            END IF;
            booked_as[first_use[i]] := i;
            booked := booked + 1;
        END LOOP;
    END IF;
    IF booked = 0 THEN
        PERFORM set_config('halfminute.booking', '', true);
        RETURN;
    END IF;

    INSERT INTO journal (key, debit_wallet, credit_wallet, room_id, ref_id, content, tokens, debit_after, credit_after,
                         created_at, debit_n, credit_n, block_no, kind)
    SELECT key[i], w[debit[i]], w[credit[i]], room[i], ref[i], content[i], tokens[i], debit_after[i], credit_after[i],
           now_at, debit_n[i], credit_n[i], nullif(block_no[i], 0), coalesce(kind[i], 1)
      FROM generate_series(1, postings) i WHERE status[i] = 0;
    IF cardinality(memo_of) > 0 THEN
        INSERT INTO memos (posting_key, memo)
        SELECT key[memo_of[i]], memo[i] FROM generate_series(1, cardinality(memo_of)) i WHERE status[memo_of[i]] = 0;
    END IF;
    UPDATE wallets s
       SET balance = balance[i], n = n[i], lifetime_spent = s.lifetime_spent + spent[i],
           lifetime_earned = s.lifetime_earned + (balance[i] - w_balance[i] + spent[i])
      FROM generate_series(1, cardinality(w)) i WHERE s.ctid = w_tid[i] AND s.n = w_n[i];
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched <> cardinality(w) THEN                    -- a wallet was written without the write lock
        RAISE EXCEPTION 'a wallet moved' USING ERRCODE = '40001';
    END IF;
    IF 3 = ANY (kind) THEN
        INSERT INTO stream_tickets AS s (stream_id, user_id, ticket_id, posting_key, price_tokens, bought_at)
        SELECT room[i], w[debit[i]], ref[i], key[i], tokens[i], now_at
          FROM generate_series(1, postings) i WHERE kind[i] = 3 AND status[i] = 0
            ON CONFLICT (stream_id, user_id) DO UPDATE
           SET ticket_id = excluded.ticket_id, posting_key = excluded.posting_key, bought_at = excluded.bought_at,
               price_tokens = excluded.price_tokens, refunded_at = NULL
         WHERE s.refunded_at IS NOT NULL;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (SELECT count(*) FROM generate_series(1, postings) i WHERE kind[i] = 3 AND status[i] = 0) THEN
            RAISE EXCEPTION 'somebody has such a ticket' USING ERRCODE = 'HM005';
        END IF;
    END IF;
    IF careful THEN
        UPDATE spend_limits s SET day = today, spent = w_spent[i]
          FROM generate_series(1, cardinality(w)) i WHERE limited AND s.user_id = w[i];
        UPDATE meters s SET last_block = last_block[i], tokens = s.tokens + m_tokens[i]
          FROM generate_series(1, cardinality(m_tid)) i WHERE s.ctid = m_tid[i];
    ELSE
        UPDATE meters s SET last_block = block_no[i], tokens = s.tokens + tokens[i]
          FROM generate_series(1, postings) i, rooms o
         WHERE block_no[i] > 0 AND status[i] = 0
           AND o.id = room[i] AND o.epoch = epoch[i] AND o.ended_at IS NULL
           AND s.room_id = o.id AND s.payer_id = w[debit[i]] AND s.last_block = block_no[i] - 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        blocks := booked;
        IF cardinality(kind) > 0 THEN
            SELECT count(*) FILTER (WHERE block_no[i] > 0),
                   count(*) FILTER (WHERE block_no[i] = 0 AND room[i] IS NOT NULL
                                      AND (SELECT true FROM rooms s WHERE s.id = room[i] AND (kind[i] = 6
                                                OR s.ended_at IS NULL AND epoch[i] IN (0, s.epoch))) IS NULL)
              INTO blocks, x FROM generate_series(1, postings) i WHERE status[i] = 0;
            touched := touched - x;
        END IF;
        IF touched <> blocks THEN
            RAISE EXCEPTION 'not to be booked as it is' USING ERRCODE = 'HM005';
        END IF;
    END IF;
    PERFORM set_config('halfminute.booking', '', true);
END $fn$;

-- Refunds ------------------------------------------------------------------------------------------------------------

-- 0007_parts.sql replaces this function, and describes it.
CREATE FUNCTION refund_postings(
    paid uuid[], refund_key uuid[], rest_key uuid[], reason text,
    OUT key uuid[], OUT content uuid[], OUT debit uuid[], OUT credit uuid[], OUT room uuid[], OUT tokens bigint[],
    OUT ref uuid[], OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[], OUT debit_n int[],
    OUT credit_n int[]
) LANGUAGE plpgsql VOLATILE
    SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
    losses CONSTANT uuid := '00000000-0000-7000-8000-000000000004';
    o record;  payee uuid;  there bigint;  amount bigint;  w uuid[];  fresh uuid[] := '{}';
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    FOR o IN SELECT p.i, j.* FROM unnest(paid) WITH ORDINALITY p(key, i) JOIN journal j ON j.key = p.key
              WHERE j.kind <= 3 AND j.tokens > 0
                AND NOT EXISTS (SELECT FROM journal r WHERE r.key IN (refund_key[p.i], rest_key[p.i]))
              ORDER BY p.i
    LOOP
        IF payee IS NULL THEN
            payee := o.credit_wallet;
            SELECT greatest(0, balance) INTO there FROM wallets WHERE id = payee;
        ELSIF payee <> o.credit_wallet THEN
            RAISE EXCEPTION 'several payees' USING ERRCODE = 'HM006';
        END IF;
        amount := least(there, o.tokens);
        there := there - amount;
        IF amount > 0 THEN
            fresh := fresh || refund_key[o.i];  debit := debit || payee;  tokens := tokens || amount;
            content := content || o.key;  credit := credit || o.debit_wallet;  room := room || o.room_id;
            ref := ref || o.ref_id;
        END IF;
        IF amount < o.tokens THEN
            fresh := fresh || rest_key[o.i];  debit := debit || losses;  tokens := tokens || o.tokens - amount;
            content := content || o.key;  credit := credit || o.debit_wallet;  room := room || o.room_id;
            ref := ref || o.ref_id;
        END IF;
    END LOOP;
    IF cardinality(fresh) > 0 THEN
        w := ARRAY(SELECT DISTINCT x FROM unnest(debit || credit) x ORDER BY x);
        PERFORM FROM apply_postings(
            w, fresh, array_fill(6::smallint, ARRAY[cardinality(fresh)]),
            ARRAY(SELECT array_position(w, x) FROM unnest(debit) WITH ORDINALITY u(x, i) ORDER BY i),
            ARRAY(SELECT array_position(w, x) FROM unnest(credit) WITH ORDINALITY u(x, i) ORDER BY i),
            room, array_fill(0, ARRAY[cardinality(fresh)]), array_fill(0, ARRAY[cardinality(fresh)]), tokens, ref,
            content, ARRAY(SELECT generate_series(1, cardinality(fresh))),
            array_fill(reason, ARRAY[cardinality(fresh)]), false);
        UPDATE stream_tickets s SET refunded_at = (SELECT booked_at FROM fence WHERE one)
         WHERE s.posting_key = ANY (content) AND s.refunded_at IS NULL;
    END IF;
    SELECT array_agg(j.key), array_agg(j.content), array_agg(j.debit_wallet), array_agg(j.credit_wallet),
           array_agg(j.room_id), array_agg(j.tokens), array_agg(j.ref_id),
           array_agg(CASE WHEN j.key = ANY (fresh) THEN 0 ELSE 1 END::smallint),
           array_agg(j.debit_after), array_agg(j.credit_after), array_agg(j.debit_n), array_agg(j.credit_n)
      INTO key, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n
      FROM (SELECT r.* FROM unnest(refund_key || rest_key) k JOIN journal r ON r.key = k ORDER BY r.credit_n) j;
END $$;

-- Only the owner of the schema has privileges ------------------------------------------------------------------------

DO $$
DECLARE t text; someone text;
BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'halfminute' LOOP
        EXECUTE format('ALTER TABLE halfminute.%I ENABLE ROW LEVEL SECURITY', t);
    END LOOP;
    FOREACH someone IN ARRAY ARRAY['PUBLIC', 'anon', 'authenticated'] LOOP
        IF someone = 'PUBLIC' OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = someone) THEN
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA halfminute FROM %s', someone);
            EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA halfminute FROM %s', someone);
        END IF;
    END LOOP;
END $$;
