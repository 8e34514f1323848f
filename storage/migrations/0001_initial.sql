-- The first schema: users, wallets, the journal, rooms and calls.
-- All objects are in a schema of their own that is closed to other roles. In a shared database, such as Supabase's
-- `public`, a table without row-level security is open to every holder of the anonymous key.

-- Users --------------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    supabase_id  uuid PRIMARY KEY,                       -- the token's `sub`
    display_name text NOT NULL DEFAULT '' CHECK (length(display_name) <= 80),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE creators (
    user_id             uuid PRIMARY KEY REFERENCES users (supabase_id) ON DELETE RESTRICT,
    rate_tokens_per_min integer NOT NULL CHECK (rate_tokens_per_min BETWEEN 1 AND 1000000000),
    accepts_calls       boolean NOT NULL DEFAULT true,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX creators_newest ON creators (created_at DESC, user_id DESC);

-- Users whom a creator has blocked.
CREATE TABLE creator_blocks (
    creator_id uuid NOT NULL REFERENCES creators (user_id) ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES users (supabase_id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (creator_id, user_id)
);

-- The ledger ---------------------------------------------------------------------------------------------------------

-- A wallet without a user is a system wallet, a source or a sink of tokens: all balances sum to zero.
-- `n` counts the wallet's postings. It is the wallet's version, the length of its statement, and the key of its pages.
CREATE TABLE wallets (
    id              uuid PRIMARY KEY,
    user_id         uuid CHECK (user_id = id),           -- created with its user; neither is ever deleted
    balance         bigint NOT NULL DEFAULT 0,
    lifetime_earned bigint NOT NULL DEFAULT 0,
    lifetime_spent  bigint NOT NULL DEFAULT 0,
    n               integer NOT NULL DEFAULT 0,
    CONSTRAINT users_never_owe CHECK (user_id IS NULL OR balance >= 0),
    CONSTRAINT every_client_can_hold_it CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991)
) WITH (fillfactor = 60);                                -- free space on each page: updates stay on it (HOT)

INSERT INTO wallets (id) VALUES
    ('00000000-0000-7000-8000-000000000001'),            -- token sales
    ('00000000-0000-7000-8000-000000000002'),            -- promotions
    ('00000000-0000-7000-8000-000000000003'),            -- payouts
    ('00000000-0000-7000-8000-000000000004');            -- losses

-- One immutable row per posting, with both balances after it. It has no foreign keys: each would look up rows that the
-- batch statement has read already, and wallets and rooms cannot be deleted.
CREATE TABLE journal (
    key           uuid PRIMARY KEY,
    debit_wallet  uuid NOT NULL,
    credit_wallet uuid NOT NULL,
    room_id       uuid,
    ref_id        uuid,                                  -- the tip, ticket, purchase or credit it belongs to
    content       uuid,                                  -- digest of the client's request beyond this row
    tokens        bigint NOT NULL,
    debit_after   bigint NOT NULL,
    credit_after  bigint NOT NULL,
    created_at    timestamptz NOT NULL,
    debit_n       integer NOT NULL,
    credit_n      integer NOT NULL,
    block_no      integer,
    kind          smallint NOT NULL,
    CONSTRAINT nobody_pays_themselves CHECK (debit_wallet <> credit_wallet),
    CONSTRAINT tokens_in_range CHECK (tokens BETWEEN 0 AND 1000000000),
    CONSTRAINT only_blocks_are_free CHECK (tokens > 0 OR kind = 1),
    CONSTRAINT known_kind CHECK (kind BETWEEN 1 AND 7),
    CONSTRAINT blocks_are_numbered CHECK (CASE WHEN kind = 1 THEN block_no IS NOT NULL AND block_no >= 1
                                                                  AND room_id IS NOT NULL
                                               ELSE block_no IS NULL END)
);
-- A statement is read by number, and also by kind and number. One index with the kind in the middle serves both.
CREATE UNIQUE INDEX journal_debit ON journal (debit_wallet, kind, debit_n);
CREATE UNIQUE INDEX journal_credit ON journal (credit_wallet, kind, credit_n);

-- Texts that users or operators wrote with a posting. They are not in the journal, since they must stay erasable.
CREATE TABLE memos (
    posting_key uuid PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT,
    memo        text NOT NULL CHECK (length(memo) <= 1000)
);

-- Idempotency keys of requests that make no posting; kept for a day.
CREATE TABLE idempotency_keys (
    key        uuid PRIMARY KEY,
    content    uuid NOT NULL,
    ref_id     uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- The write lock. Each transaction that commits postings, claims a room or ends one locks this row first, on any server:
-- writers of the ledger are serialised, so that they cannot deadlock. `booked_at` is the date of the latest posting: no
-- posting is dated before an earlier one, even if the machine's clock is set back.
CREATE TABLE fence (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    booked_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10);
INSERT INTO fence DEFAULT VALUES;

-- Rooms --------------------------------------------------------------------------------------------------------------

CREATE TABLE servers (
    id               uuid PRIMARY KEY,
    started_at       timestamptz NOT NULL DEFAULT now(),
    lease_expires_at timestamptz NOT NULL
);

-- `epoch` counts the room's owners. A posting that was made under an earlier epoch cannot commit.
CREATE TABLE rooms (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('call', 'stream')),
    channel    text NOT NULL UNIQUE CHECK (length(channel) BETWEEN 21 AND 64),
    server_id  uuid REFERENCES servers (id) ON DELETE SET NULL,
    epoch      integer NOT NULL DEFAULT 1 CHECK (epoch > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
) WITH (fillfactor = 70);
CREATE INDEX rooms_live ON rooms (server_id) WHERE ended_at IS NULL;

-- A payer's blocks in a room: the last committed one, the sum of their prices, and the active time so far.
CREATE TABLE meters (
    room_id    uuid NOT NULL,                            -- refuse_orphans checks that both exist
    payer_id   uuid NOT NULL,
    tokens     bigint NOT NULL DEFAULT 0 CHECK (tokens >= 0),
    active_us  bigint NOT NULL DEFAULT 0 CHECK (active_us >= 0),
    last_block integer NOT NULL DEFAULT 0 CHECK (last_block >= 0),
    PRIMARY KEY (room_id, payer_id)
) WITH (fillfactor = 50);

CREATE TABLE calls (
    id                  uuid PRIMARY KEY REFERENCES rooms (id) ON DELETE RESTRICT,
    fan_id              uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    creator_id          uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    status              text NOT NULL DEFAULT 'ringing' CHECK (status IN ('ringing', 'active', 'paused', 'ended')),
    rate_tokens_per_min integer NOT NULL CHECK (rate_tokens_per_min > 0),
    block_seconds       integer NOT NULL CHECK (block_seconds > 0),
    block_rounding      text NOT NULL CHECK (block_rounding IN ('up', 'exact')),
    max_tokens          bigint CHECK (max_tokens > 0),
    created_at          timestamptz NOT NULL,
    rings_until         timestamptz NOT NULL,
    accepted_at         timestamptz,
    started_at          timestamptz,
    ended_at            timestamptz,
    end_reason          text CHECK (end_reason IN ('declined', 'cancelled', 'missed', 'hangup', 'creator_ended',
                            'insufficient_funds', 'budget_reached', 'peer_lost', 'pause_limit', 'server_fault', 'admin')),
    holds               text[] NOT NULL DEFAULT '{}',
    fan_paused_at       timestamptz,
    creator_paused_at   timestamptz,
    updated_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT nobody_calls_themselves CHECK (fan_id <> creator_id),
    CONSTRAINT ended_calls_say_why CHECK ((status = 'ended') = (ended_at IS NOT NULL)
                                          AND (ended_at IS NULL) = (end_reason IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX calls_of_fan ON calls (fan_id, created_at DESC, id DESC);
CREATE INDEX calls_of_creator ON calls (creator_id, created_at DESC, id DESC);

-- A user is in at most one call that has not ended, in either role: the primary key. A trigger on `calls` writes it.
CREATE TABLE users_in_calls (
    user_id uuid PRIMARY KEY REFERENCES users (supabase_id) ON DELETE RESTRICT,
    call_id uuid NOT NULL REFERENCES calls (id) ON DELETE RESTRICT
);

-- Triggers -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER users_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER creators_updated_at BEFORE UPDATE ON creators FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER calls_updated_at BEFORE UPDATE ON calls FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION give_wallet() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    INSERT INTO wallets (id, user_id) VALUES (NEW.supabase_id, NEW.supabase_id);
    RETURN NULL;
END $$;
CREATE TRIGGER users_have_wallets AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION give_wallet();

CREATE FUNCTION occupy_parties() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    IF NEW.ended_at IS NULL THEN
        -- In the order of ids, so that two calls between the same two users cannot deadlock.
        INSERT INTO users_in_calls (user_id, call_id)
        SELECT party, NEW.id FROM unnest(ARRAY[NEW.fan_id, NEW.creator_id]) party ORDER BY party;
    ELSE
        DELETE FROM users_in_calls WHERE call_id = NEW.id AND user_id IN (NEW.fan_id, NEW.creator_id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER calls_occupy AFTER INSERT ON calls FOR EACH ROW EXECUTE FUNCTION occupy_parties();
CREATE TRIGGER calls_release AFTER UPDATE OF ended_at ON calls FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION occupy_parties();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'HM010';
END $$;
CREATE TRIGGER journal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the journal is append-only');
CREATE TRIGGER wallets_stay BEFORE DELETE OR TRUNCATE ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('wallets stay');
CREATE TRIGGER rooms_stay BEFORE DELETE OR TRUNCATE ON rooms
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('rooms stay');
CREATE TRIGGER users_stay BEFORE DELETE OR TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a user is anonymised, never deleted');

-- Replaces foreign keys of wallets and meters, which every block updates. A foreign key is checked with each update,
-- although only a new row can violate it: users and rooms are never deleted and keep their ids.
CREATE FUNCTION refuse_orphans() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM rooms WHERE id = NEW.room_id)
       OR NOT EXISTS (SELECT FROM users WHERE supabase_id = NEW.payer_id) THEN
        RAISE EXCEPTION 'a meter needs its room and its payer' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER meters_have_rooms AFTER INSERT ON meters FOR EACH ROW EXECUTE FUNCTION refuse_orphans();
CREATE TRIGGER wallets_come_with_users BEFORE INSERT ON wallets FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION refuse_change('a wallet comes with its user');
CREATE TRIGGER wallets_keep_their_ids BEFORE UPDATE OF id, user_id ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('ids stay');
CREATE TRIGGER meters_keep_their_ids BEFORE UPDATE OF room_id, payer_id ON meters
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('ids stay');
CREATE TRIGGER users_keep_their_ids BEFORE UPDATE OF supabase_id ON users
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('ids stay');
CREATE TRIGGER rooms_keep_their_ids BEFORE UPDATE OF id ON rooms
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('ids stay');

-- Only apply_postings writes balances and the journal. It sets halfminute.booking for the time of its writes.
CREATE FUNCTION refuse_unless_booking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('halfminute.booking', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '% of % is refused: only apply_postings books', TG_OP, TG_TABLE_NAME USING ERRCODE = 'HM011';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER only_booking_writes_the_journal BEFORE INSERT ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_booking();
CREATE TRIGGER only_booking_writes_balances BEFORE UPDATE ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unless_booking();

-- The batch statement ------------------------------------------------------------------------------------------------

-- 0013_batch_steps.sql replaces this function, and describes its parameters, results and guards.
CREATE FUNCTION apply_postings(
    w uuid[], key uuid[], kind smallint[], debit int[], credit int[], room uuid[], epoch int[], block_no int[],
    tokens bigint[], ref uuid[], content uuid[], memo_of int[], memo text[], careful boolean,
    OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[], OUT debit_n int[], OUT credit_n int[]
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
    balance   bigint[];  n int[];  spent bigint[];
    refused   int[] := '{}';
    live      int[];                                     -- the epoch of the posting's room; -1: it has ended
    meter     int[];                                     -- position of the posting's meter in the next four
    m_tid     tid[];     m_last int[];  last_block int[];  m_tokens bigint[];
    old       boolean[]; same boolean[];  old_debit_after bigint[];  old_credit_after bigint[];
    old_debit_n int[];   old_credit_n int[];
    first_use int[];     booked_as int[];                -- the first posting with the key; the committed one
    booked    int;       blocks int;  touched int;
    d int; c int; x int; e int; amount bigint; v bigint;
    now_at    timestamptz;
    most_balance CONSTANT bigint := 9007199254740991;  least_balance CONSTANT bigint := -9007199254740991;
BEGIN
    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at INTO now_at;
    PERFORM set_config('halfminute.booking', 'on', true);

    SELECT array_agg(s.id), array_agg(s.ctid), array_agg(s.balance), array_agg(s.n), array_agg(s.user_id IS NOT NULL)
      INTO w_id, w_tid, w_balance, w_n, w_is_user
      FROM (SELECT x.id, x.ctid, x.balance, x.n, x.user_id FROM wallets x WHERE x.id = ANY (w) ORDER BY x.id) s;
    IF w_id IS DISTINCT FROM w THEN
        RAISE EXCEPTION 'unknown wallet' USING ERRCODE = 'HM002';
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
                    OR room[i] IS NOT NULL AND (SELECT true FROM rooms s WHERE s.id = room[i] AND s.epoch = epoch[i]
                                                                           AND s.ended_at IS NULL) IS NULL
                    OR block_no[i] > 0 AND (SELECT true FROM meters s WHERE s.room_id = room[i]
                                               AND s.payer_id = w[debit[i]] AND s.last_block = block_no[i] - 1) IS NULL);
        END IF;
    END IF;

    IF careful THEN
        SELECT array_agg(CASE WHEN room[i] IS NULL THEN 0 WHEN s.ended_at IS NULL THEN s.epoch ELSE -1 END ORDER BY i)
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
               array_agg(j.debit_n ORDER BY u.i), array_agg(j.credit_n ORDER BY u.i),
               array_agg(j.kind = coalesce(kind[u.i], 1) AND j.tokens = tokens[u.i]
                         AND j.debit_wallet = w[debit[u.i]] AND j.credit_wallet = w[credit[u.i]]
                         AND j.room_id IS NOT DISTINCT FROM room[u.i]
                         AND j.block_no IS NOT DISTINCT FROM nullif(block_no[u.i], 0)
                         AND j.content IS NOT DISTINCT FROM content[u.i] ORDER BY u.i)
          INTO old, first_use, old_debit_after, old_credit_after, old_debit_n, old_credit_n, same
          FROM (SELECT q.key, q.i, min(q.i) OVER (PARTITION BY q.key) AS first_use
                  FROM unnest(key) WITH ORDINALITY q(key, i)) u
          LEFT JOIN journal j ON j.key = u.key;

        balance := w_balance;  n := w_n;  spent := no_sums;  last_block := m_last;  booked_as := no_ints;  booked := 0;
        m_tokens := array_fill(0::bigint, ARRAY[cardinality(m_tid)]);
        status := array_fill(0::smallint, ARRAY[postings]);
        debit_after := array_fill(NULL::bigint, ARRAY[postings]);  credit_after := debit_after;
        debit_n := array_fill(NULL::int, ARRAY[postings]);  credit_n := debit_n;
        FOR i IN 1..postings LOOP
            d := debit[i];  c := credit[i];  amount := tokens[i];
            IF old[i] THEN                               -- guard, idempotency: precedes all others
                IF same[i] THEN
                    status[i] := 1;
                    debit_after[i] := old_debit_after[i];  credit_after[i] := old_credit_after[i];
                    debit_n[i] := old_debit_n[i];  credit_n[i] := old_credit_n[i];
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
                    debit_n[i] := debit_n[x];  credit_n[i] := credit_n[x];
                ELSE
                    status[i] := 5;
                END IF;
                CONTINUE;
            END IF;
            IF room[i] IS NOT NULL AND live[i] <> epoch[i] THEN
                status[i] := CASE WHEN live[i] = -1 THEN 4 ELSE 3 END;
                CONTINUE;
            END IF;
            x := meter[i];
            IF x > 0 AND last_block[x] <> block_no[i] - 1 THEN
                status[i] := 6;
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
    IF careful THEN
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
                                      AND (SELECT true FROM rooms s WHERE s.id = room[i] AND s.epoch = epoch[i]
                                                                      AND s.ended_at IS NULL) IS NULL)
              INTO blocks, x FROM generate_series(1, postings) i WHERE status[i] = 0;
            touched := touched - x;
        END IF;
        IF touched <> blocks THEN
            RAISE EXCEPTION 'not to be booked as it is' USING ERRCODE = 'HM005';
        END IF;
    END IF;
    PERFORM set_config('halfminute.booking', '', true);
END $fn$;

-- Room owners --------------------------------------------------------------------------------------------------------

-- Claims one room, which may be the claimant's own. With `claimed` NULL, claims all live rooms whose owner is unknown or
-- has an expired lease. `alone`: the claimant knows that no other server runs. Each claim is a new epoch.
CREATE FUNCTION claim_rooms(claimant uuid, claimed uuid, alone boolean)
RETURNS TABLE (room_id uuid, room_kind text, room_epoch int) LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    RETURN QUERY
    UPDATE rooms s SET epoch = s.epoch + 1, server_id = claimant
     WHERE s.ended_at IS NULL
       AND CASE WHEN s.server_id = claimant THEN s.id = claimed
                ELSE (claimed IS NULL OR s.id = claimed)
                     AND (alone OR s.server_id IS NULL OR NOT EXISTS (
                          SELECT 1 FROM servers o WHERE o.id = s.server_id AND o.lease_expires_at > clock_timestamp()))
           END
    RETURNING s.id, s.kind, s.epoch;
END $$;

-- Stores the state of a call. Returns false, and stores nothing, if the room has a later epoch. The last record ends the
-- room.
CREATE FUNCTION save_call(
    call uuid, owner_epoch int, new_status text, accepted timestamptz, started timestamptz, ended timestamptz,
    reason text, new_holds text[], fan_paused timestamptz, creator_paused timestamptz, active bigint
) RETURNS boolean LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM 1 FROM rooms WHERE id = call AND epoch = owner_epoch AND ended_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE calls SET status = new_status, accepted_at = accepted, started_at = started, ended_at = ended,
                     end_reason = reason, holds = new_holds, fan_paused_at = fan_paused,
                     creator_paused_at = creator_paused
     WHERE id = call;
    UPDATE meters SET active_us = active WHERE room_id = call;
    IF ended IS NOT NULL THEN
        UPDATE rooms SET ended_at = ended WHERE id = call;
    END IF;
    RETURN true;
END $$;

-- Stores the active time of running meters, for rooms that still have this epoch.
CREATE FUNCTION checkpoint_meters(r uuid[], owner_epoch int[], payer uuid[], active bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    -- The commit does not wait for the disk, so that blocks do not wait behind it. A crash may lose the last second.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE meters m SET active_us = active[i]
      FROM generate_series(1, cardinality(r)) i JOIN rooms s ON s.id = r[i] AND s.epoch = owner_epoch[i]
     WHERE m.room_id = r[i] AND m.payer_id = payer[i] AND s.ended_at IS NULL;
END $$;

-- Statements ---------------------------------------------------------------------------------------------------------

-- Returns how many of a wallet's first `entries` entries were committed before a moment. No posting is dated before an
-- earlier one, so that a period is a range of numbers. A binary search finds its ends in about twenty index lookups.
CREATE FUNCTION entries_before(wallet uuid, entries int, kinds smallint[], moment timestamptz) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE low int := 0; high int := entries; middle int; booked_at timestamptz;
BEGIN
    WHILE low < high LOOP                                -- entries up to `low` are before the moment, those above `high` are not
        middle := low + (high - low + 1) / 2;
        SELECT e.created_at INTO booked_at FROM unnest(kinds) k, LATERAL (
            SELECT j.created_at FROM journal j WHERE j.debit_wallet = wallet AND j.kind = k AND j.debit_n = middle
            UNION ALL
            SELECT j.created_at FROM journal j WHERE j.credit_wallet = wallet AND j.kind = k AND j.credit_n = middle
            LIMIT 1                                      -- one index lookup per kind, and no join
        ) e;
        IF booked_at < moment THEN low := middle; ELSE high := middle - 1; END IF;
    END LOOP;
    RETURN low;
END $$;

-- Returns the numbers of a wallet's entries of one side and kind, above `low` and up to `high`, newest first, at most
-- `reach` of them.
CREATE FUNCTION entry_numbers(wallet uuid, side text, kind smallint, low int, high int, room uuid, reach int)
RETURNS SETOF int LANGUAGE plpgsql STABLE SET search_path = halfminute, pg_temp
    -- Read the index in its order: the planner would read all entries of a long wallet and sort them.
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT %1$I FROM journal WHERE %2$I = $1 AND kind = $2 AND %1$I > $3 AND %1$I <= $4 %3$s
          ORDER BY %1$I DESC LIMIT $6',
        side || '_n', side || '_wallet', CASE WHEN room IS NULL THEN '' ELSE 'AND room_id = $5' END
    ) USING wallet, kind, low, high, room, reach;
END $$;

-- Returns the blocks of one side among a wallet's entries above `low` and up to `high`, summed by counterparty and UTC
-- day.
CREATE FUNCTION sum_blocks(wallet uuid, side text, low int, high int)
RETURNS TABLE (counterparty uuid, day date, blocks bigint, tokens bigint) LANGUAGE plpgsql STABLE
    SET search_path = halfminute, pg_temp SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT %3$I, (created_at AT TIME ZONE ''UTC'')::date, count(*), sum(tokens)::bigint FROM journal
          WHERE %1$I = $1 AND kind = 1 AND %2$I > $2 AND %2$I <= $3 GROUP BY 1, 2',
        side || '_wallet', side || '_n', CASE side WHEN 'debit' THEN 'credit' ELSE 'debit' END || '_wallet'
    ) USING wallet, low, high;
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
            EXECUTE format('REVOKE ALL ON SCHEMA halfminute FROM %s', someone);
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA halfminute FROM %s', someone);
            EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA halfminute FROM %s', someone);
        END IF;
    END LOOP;
END $$;
