-- Parts of a balance, so that only earned tokens are cashable; ticket escrow; debts; payouts that a refund reduces.
-- The batch statement moves the parts with the tokens, and the refund statement restores them.

-- Parts of a balance -------------------------------------------------------------------------------------------------

-- Parts of a user's balance: `promotional` tokens were credited by operators, or received from a payer's promotional part;
-- `earned` ones came from blocks, tips and released tickets; the others were bought. `owed` is the sum that `losses`
-- advanced for refunds of this user's payers, less repayments.
-- System wallets have no parts.
ALTER TABLE wallets
    ADD COLUMN promotional bigint NOT NULL DEFAULT 0,
    ADD COLUMN earned      bigint NOT NULL DEFAULT 0,
    ADD COLUMN owed        bigint NOT NULL DEFAULT 0;

-- How many of a posting's tokens left each part of the payer and entered each part of the payee. NULL stands for 0: most
-- postings move bought tokens only, and a NULL takes no space.
ALTER TABLE journal
    ADD COLUMN debit_promotional  integer,
    ADD COLUMN debit_earned       integer,
    ADD COLUMN credit_promotional integer,
    ADD COLUMN credit_earned      integer,
    DROP CONSTRAINT known_kind,
    ADD CONSTRAINT known_kind CHECK (kind BETWEEN 1 AND 9);     -- 8: release of a ticket from escrow; 9: repayment of a debt

ALTER TABLE wallets DISABLE TRIGGER wallets_come_with_users;
INSERT INTO wallets (id) VALUES ('00000000-0000-7000-8000-000000000005');    -- escrow: paid for tickets and not released yet
ALTER TABLE wallets ENABLE TRIGGER wallets_come_with_users;

-- What `losses` advanced for refunds that the payee could not cover; the payee is the debtor. A debt without a debtor was
-- advanced before debts were stored, and is written off. The oldest debt is repaid first.
CREATE TABLE debts (
    advance_key uuid PRIMARY KEY REFERENCES journal (key) ON DELETE RESTRICT,
    debtor      uuid REFERENCES users (supabase_id) ON DELETE RESTRICT,
    tokens      integer NOT NULL CHECK (tokens > 0),
    repaid      integer NOT NULL DEFAULT 0 CHECK (repaid BETWEEN 0 AND tokens),
    created_at  timestamptz NOT NULL
);
CREATE INDEX debts_open ON debts (debtor, created_at, advance_key) WHERE repaid < tokens;
CREATE INDEX debts_newest ON debts (created_at DESC, advance_key DESC);
INSERT INTO debts (advance_key, tokens, created_at)
    SELECT key, tokens, created_at FROM journal
     WHERE debit_wallet = '00000000-0000-7000-8000-000000000004' AND kind = 6;

-- Tickets are paid into escrow and released by a posting of their own. Before, the creator was credited at once.
ALTER TABLE stream_tickets
    ADD COLUMN released_at timestamptz,
    ADD COLUMN release_key uuid UNIQUE REFERENCES journal (key) ON DELETE RESTRICT;
UPDATE stream_tickets SET released_at = bought_at;
CREATE INDEX tickets_in_escrow ON stream_tickets (stream_id) WHERE released_at IS NULL AND refunded_at IS NULL;

-- After `released_at` a ticket is credited as it is sold. `present_us`: how long the creator was live and present.
ALTER TABLE streams
    ADD COLUMN released_at timestamptz,
    ADD COLUMN present_us  bigint NOT NULL DEFAULT 0 CHECK (present_us >= 0);

-- A refund that the creator's balance does not cover reduces the creator's open payouts, to 0 at most.
ALTER TABLE payouts
    ADD COLUMN cut_tokens integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT cut_at_most_to_nothing CHECK (cut_tokens BETWEEN 0 AND tokens),
    DROP CONSTRAINT payouts_settled_as_check,
    ADD CONSTRAINT payouts_settled_as_check CHECK (settled_as IN ('paid', 'rejected', 'cancelled'));

-- Actions of operators, append-only. An action that moves tokens is written in the statement of its posting. The operator
-- is NULL for actions from before operators were stored. There is no table of operators to refer to: their tokens
-- identify them.
CREATE TABLE operator_actions (
    id          uuid PRIMARY KEY,
    operator_id uuid,
    action      text NOT NULL CHECK (action IN ('credit', 'refund', 'ban', 'lift_ban', 'pay_payout', 'reject_payout',
                                                'settle_purchase', 'freeze', 'unfreeze')),
    target_id   uuid NOT NULL,                           -- the user concerned
    ref_id      uuid,                                    -- the tip, ticket, room, payout, purchase or ban concerned
    tokens      bigint,                                  -- the change of the target's balance
    reason      text NOT NULL DEFAULT '',
    posting_key uuid UNIQUE REFERENCES journal (key) ON DELETE RESTRICT,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX operator_actions_newest ON operator_actions (created_at DESC, id DESC);
CREATE INDEX operator_actions_of_operator ON operator_actions (operator_id, created_at DESC, id DESC);
CREATE INDEX operator_actions_about ON operator_actions (target_id, created_at DESC, id DESC);
CREATE TRIGGER operator_actions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what operators did is append-only');

-- The key of a posting that follows from another: 16 bytes of a SHA-256 over a tag and keys, as in domain/ids.py.
CREATE FUNCTION derived_key(tag text, keys uuid[]) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT
    SET search_path = halfminute, pg_temp AS $$
    SELECT encode(substring(sha256(convert_to(tag, 'UTF8') || string_agg(uuid_send(k), ''::bytea ORDER BY i)) FOR 16),
                  'hex')::uuid FROM unnest(keys) WITH ORDINALITY u(k, i)
$$;

INSERT INTO operator_actions (id, action, target_id, ref_id, tokens, reason, posting_key, created_at)
    SELECT derived_key('operator action', ARRAY[j.key]), 'credit',
           CASE WHEN w.user_id IS NULL THEN j.debit_wallet ELSE j.credit_wallet END, j.ref_id,
           CASE WHEN w.user_id IS NULL THEN -j.tokens ELSE j.tokens END, coalesce(m.memo, ''), j.key, j.created_at
      FROM journal j JOIN wallets w ON w.id = j.credit_wallet LEFT JOIN memos m ON m.posting_key = j.key
     WHERE j.kind = 5;

-- Parts of earlier postings ------------------------------------------------------------------------------------------

-- Replays the journal under the rules of the batch statement, in the order of both wallets' posting numbers. An earlier
-- payout could exceed the earned tokens: it takes earned tokens first, then bought, then promotional ones.
CREATE FUNCTION replay_parts() RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    j journal%ROWTYPE;  payer record;  payee record;  given record;
    po bigint;  eo bigint;  pi bigint;  ei bigint;  moved int;
BEGIN
    CREATE TEMP TABLE part ON COMMIT DROP AS
        SELECT id, user_id IS NOT NULL AS is_user, 0 AS n, 0::bigint AS balance, 0::bigint AS promotional,
               0::bigint AS earned FROM wallets;
    ALTER TABLE part ADD PRIMARY KEY (id);
    CREATE TEMP TABLE waiting ON COMMIT DROP AS SELECT * FROM journal WITH NO DATA;
    CREATE TEMP TABLE replayed ON COMMIT DROP AS
        SELECT key, debit_promotional, debit_earned, credit_promotional, credit_earned FROM journal WITH NO DATA;
    ALTER TABLE replayed ADD PRIMARY KEY (key);
    FOR j IN SELECT * FROM journal ORDER BY created_at, ctid LOOP
        INSERT INTO waiting VALUES (j.*);
        LOOP                                             -- a waiting posting may be the next one of its wallets now
            moved := 0;
            FOR given IN SELECT * FROM waiting ORDER BY debit_n LOOP
                SELECT * INTO payer FROM part WHERE id = given.debit_wallet;
                SELECT * INTO payee FROM part WHERE id = given.credit_wallet;
                CONTINUE WHEN payer.n <> given.debit_n - 1 OR payee.n <> given.credit_n - 1;
                po := 0;  eo := 0;  pi := 0;  ei := 0;
                IF payer.is_user AND given.kind = 7 THEN
                    eo := least(payer.earned, given.tokens);
                    po := greatest(0, given.tokens - (payer.balance - payer.promotional));
                ELSIF payer.is_user AND given.kind = 6 THEN
                    SELECT least(payer.promotional, coalesce(max(o.debit_promotional), 0)) INTO po
                      FROM replayed o WHERE o.key = given.content;
                    po := least(po, given.tokens);
                    eo := least(payer.earned, given.tokens - po);
                    po := greatest(po, given.tokens - (payer.balance - payer.promotional));
                    eo := least(eo, given.tokens - po);
                ELSIF payer.is_user THEN
                    po := least(payer.promotional, given.tokens);
                    eo := greatest(0, given.tokens - (payer.balance - payer.earned));
                END IF;
                IF payee.is_user AND given.kind <= 3 THEN
                    pi := po;  ei := given.tokens - po;
                ELSIF payee.is_user AND given.kind = 5 THEN
                    pi := given.tokens;
                ELSIF payee.is_user AND given.kind = 6 THEN
                    SELECT greatest(0, coalesce(sum(o.debit_promotional), 0) - coalesce(sum(r.promotional), 0)),
                           greatest(0, coalesce(sum(o.debit_earned), 0) - coalesce(sum(r.earned), 0)) INTO pi, ei
                      FROM replayed o, LATERAL (
                           SELECT sum(b.credit_promotional) AS promotional, sum(b.credit_earned) AS earned
                             FROM replayed b JOIN journal s ON s.key = b.key WHERE s.kind = 6 AND s.content = o.key) r
                     WHERE o.key = given.content;
                    pi := least(pi, given.tokens);  ei := least(ei, given.tokens - pi);
                END IF;
                INSERT INTO replayed VALUES (given.key, nullif(po, 0), nullif(eo, 0), nullif(pi, 0), nullif(ei, 0));
                UPDATE part SET n = n + 1, balance = balance - given.tokens,
                                promotional = promotional - po, earned = earned - eo WHERE id = payer.id;
                UPDATE part SET n = n + 1, balance = balance + given.tokens,
                                promotional = promotional + pi, earned = earned + ei WHERE id = payee.id;
                DELETE FROM waiting WHERE key = given.key;
                moved := moved + 1;
            END LOOP;
            EXIT WHEN moved = 0;
        END LOOP;
    END LOOP;
    IF EXISTS (SELECT FROM waiting) THEN
        RAISE EXCEPTION 'the journal has a gap: run halfminute audit' USING ERRCODE = 'HM012';
    END IF;
    ALTER TABLE journal DISABLE TRIGGER journal_is_append_only;
    UPDATE journal s SET debit_promotional = r.debit_promotional, debit_earned = r.debit_earned,
                         credit_promotional = r.credit_promotional, credit_earned = r.credit_earned
      FROM replayed r WHERE r.key = s.key AND num_nonnulls(r.debit_promotional, r.debit_earned, r.credit_promotional,
                                                           r.credit_earned) > 0;
    ALTER TABLE journal ENABLE TRIGGER journal_is_append_only;
    PERFORM set_config('halfminute.booking', 'on', true);
    UPDATE wallets s SET promotional = p.promotional, earned = p.earned FROM part p WHERE p.id = s.id AND p.is_user;
    -- Lifetime sums: tokens earned and spent with blocks, tips and tickets, less refunds.
    UPDATE wallets s SET lifetime_earned = coalesce(e.earned, 0), lifetime_spent = coalesce(e.spent, 0)
      FROM wallets t LEFT JOIN (
           SELECT id, sum(earned) AS earned, sum(spent) AS spent FROM (
               SELECT credit_wallet AS id, CASE WHEN kind <= 3 THEN tokens ELSE 0 END AS earned,
                      CASE WHEN kind = 6 AND debit_wallet <> '00000000-0000-7000-8000-000000000003'
                           THEN -tokens ELSE 0 END AS spent FROM journal
               UNION ALL
               SELECT debit_wallet, CASE WHEN kind = 6 THEN -tokens ELSE 0 END,
                      CASE WHEN kind <= 3 THEN tokens ELSE 0 END FROM journal) h GROUP BY id) e ON e.id = t.id
     WHERE t.id = s.id AND s.user_id IS NOT NULL;
    UPDATE wallets SET lifetime_earned = 0, lifetime_spent = 0 WHERE user_id IS NULL;
    PERFORM set_config('halfminute.booking', '', true);
END $$;
SELECT replay_parts();
DROP FUNCTION replay_parts();

ALTER TABLE wallets
    ADD CONSTRAINT parts_of_a_balance CHECK (promotional >= 0 AND earned >= 0
        AND CASE WHEN user_id IS NULL THEN promotional + earned = 0 ELSE balance < 0 OR promotional + earned <= balance END),
    ADD CONSTRAINT debts_come_before_earnings CHECK (owed >= 0 AND (owed = 0 OR earned = 0));
ALTER TABLE journal
    ADD CONSTRAINT parts_of_a_posting CHECK (coalesce(debit_promotional, 0) + coalesce(debit_earned, 0) <= greatest(tokens, 0)
        AND coalesce(credit_promotional, 0) + coalesce(credit_earned, 0) <= greatest(tokens, 0)
        AND least(debit_promotional, debit_earned, credit_promotional, credit_earned) IS DISTINCT FROM 0);

-- The batch statement ------------------------------------------------------------------------------------------------

DROP FUNCTION refund_postings;
DROP FUNCTION apply_postings;

-- 0013_batch_steps.sql replaces this function, and describes its parameters, results and guards.
CREATE FUNCTION apply_postings(
    w uuid[], key uuid[], kind smallint[], debit int[], credit int[], room uuid[], epoch int[], block_no int[],
    tokens bigint[], ref uuid[], content uuid[], memo_of int[], memo text[], careful boolean,
    operator uuid[] DEFAULT '{}', debit_parts int[] DEFAULT '{}', credit_parts int[] DEFAULT '{}',
    OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[], OUT debit_n int[], OUT credit_n int[],
    OUT first_ref uuid[], OUT day_limit bigint[], OUT day_spent bigint[],
    OUT more_key uuid[], OUT more_kind smallint[], OUT more_debit uuid[], OUT more_credit uuid[], OUT more_room uuid[],
    OUT more_tokens bigint[], OUT more_ref uuid[], OUT more_content uuid[]
) LANGUAGE plpgsql VOLATILE
    SET search_path = halfminute, pg_temp
    -- The planner assumes 1,000 rows for an array, and would scan and hash all wallets. The actor's connection keeps a
    -- plan that was made while tables were small.
    SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off
    SET enable_seqscan = off SET jit = off
AS $fn$
#variable_conflict use_variable
DECLARE
    -- domain.posting.Kind
    block CONSTANT smallint := 1;  tip CONSTANT smallint := 2;  ticket CONSTANT smallint := 3;
    purchase CONSTANT smallint := 4;  gift CONSTANT smallint := 5;  refund CONSTANT smallint := 6;
    payout CONSTANT smallint := 7;  release CONSTANT smallint := 8;  repayment CONSTANT smallint := 9;
    -- domain.posting.Outcome
    committed CONSTANT smallint := 0;  already CONSTANT smallint := 1;  insufficient CONSTANT smallint := 2;
    fenced CONSTANT smallint := 3;  closed CONSTANT smallint := 4;  conflict CONSTANT smallint := 5;
    gap CONSTANT smallint := 6;  owned_before CONSTANT smallint := 9;  beyond_limit CONSTANT smallint := 10;
    payouts CONSTANT uuid := '00000000-0000-7000-8000-000000000003';
    losses CONSTANT uuid := '00000000-0000-7000-8000-000000000004';
    most_balance CONSTANT bigint := 9007199254740991;  least_balance CONSTANT bigint := -9007199254740991;
    postings  int := cardinality(key);
    all_wallets int := cardinality(w);
    w_id      uuid[];    w_tid tid[];  w_is_user boolean[];
    w_balance bigint[];  w_n int[];  w_promotional bigint[];  w_earned bigint[];  w_owed bigint[];
    balance   bigint[];  n int[];  promotional bigint[];  earned bigint[];  owed bigint[];
    limited   boolean;                                   -- whether some wallet is; NULL below for the others
    indebted  boolean;
    w_limit   bigint[];  w_spent bigint[];  today date;  spent bigint[];
    gained    bigint[];  paid bigint[];                  -- what the lifetime sums change by
    dp int[];  de int[];  cp int[];  ce int[];           -- the parts of each posting that is booked
    refused   int[] := '{}';
    live      int[];                                     -- the epoch of the posting's room; -1: it has ended
    meter     int[];                                     -- position of the posting's meter in the next four
    m_tid     tid[];     m_last int[];  last_block int[];  m_tokens bigint[];
    old       boolean[]; same boolean[];  old_debit_after bigint[];  old_credit_after bigint[];
    old_debit_n int[];   old_credit_n int[];  old_ref uuid[];
    first_use int[];     booked_as int[];                -- the first posting with the key; the committed one
    first_ticket int[];  owned boolean[];                -- the first posting for the ticket; the payer has it
    release_to int[];                                    -- for a ticket that is released as it is sold: its creator
    more      uuid[];                                    -- wallets that only added postings move
    cause     int[];                                     -- of each added posting
    all_postings int;                                    -- with those that were added
    booked    int;       blocks int;  touched int;  next_given int;  next_more int;
    i int; k smallint; d int; c int; x int; e int; amount bigint; v bigint;
    po int; eo int; pi int; ei int;                      -- promotional and earned tokens: out of the payer, into the payee
    now_at    timestamptz;
BEGIN
    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at INTO now_at;
    IF now_at > clock_timestamp() + interval '5 seconds' THEN  -- this clock or an earlier one was wrong
        RAISE EXCEPTION 'the clock of the database is behind its latest booking' USING ERRCODE = 'HM008';
    END IF;
    PERFORM set_config('halfminute.booking', 'on', true);

    -- The wallets, read once.
    SELECT array_agg(s.id), array_agg(s.ctid), array_agg(s.balance), array_agg(s.n), array_agg(s.user_id IS NOT NULL),
           array_agg(s.promotional), array_agg(s.earned), array_agg(s.owed), bool_or(s.limited), bool_or(s.owed > 0)
      INTO w_id, w_tid, w_balance, w_n, w_is_user, w_promotional, w_earned, w_owed, limited, indebted
      FROM (SELECT x.ctid, x.* FROM wallets x WHERE x.id = ANY (w) ORDER BY x.id) s;
    IF w_id IS DISTINCT FROM w THEN
        RAISE EXCEPTION 'unknown wallet' USING ERRCODE = 'HM002';
    END IF;

    -- Take the careful path for tickets, debtors, limits, and refunds without given parts.
    careful := careful OR indebted OR ticket = ANY (kind) OR refund = ANY (kind) AND cardinality(credit_parts) = 0;
    IF NOT careful AND cardinality(kind) > 0 THEN        -- a client may have used the key for something else
        careful := EXISTS (SELECT FROM idempotency_keys o WHERE o.key = ANY (key));
    END IF;
    IF limited AND NOT careful THEN
        careful := EXISTS (SELECT FROM generate_series(1, postings) p WHERE coalesce(kind[p], block) <= ticket
                              AND (SELECT true FROM spend_limits l WHERE l.user_id = w[debit[p]]));
    END IF;

    LOOP                                                 -- the fast path; then the careful one if needed
        IF careful THEN
            IF cardinality(kind) = 0 THEN
                kind := array_fill(block, ARRAY[postings]);
            END IF;
            -- The rooms: ended or owned by whom.
            SELECT array_agg(CASE WHEN room[p] IS NULL OR kind[p] >= refund THEN epoch[p]
                                  WHEN s.ended_at IS NULL THEN s.epoch ELSE -1 END ORDER BY p)
              INTO live FROM generate_series(1, postings) p LEFT JOIN rooms s ON s.id = room[p]
             WHERE s.id IS NOT NULL OR room[p] IS NULL;
            IF coalesce(cardinality(live), 0) <> postings THEN
                RAISE EXCEPTION 'unknown room' USING ERRCODE = 'HM001';
            END IF;
            -- The meters of blocks.
            meter := array_fill(0, ARRAY[postings]);  m_tid := '{}';  m_last := '{}';
            FOR d, c, x IN
                SELECT p, dense_rank() OVER (ORDER BY room[p], debit[p]), row_number() OVER (PARTITION BY room[p], debit[p])
                  FROM generate_series(1, postings) p WHERE block_no[p] > 0 ORDER BY 2, 1
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
            -- The keys: used before, and for the same. A client's key may stand for something that is no posting.
            SELECT array_agg(j.key IS NOT NULL OR o.key IS NOT NULL ORDER BY u.p), array_agg(u.first_use ORDER BY u.p),
                   array_agg(j.debit_after ORDER BY u.p), array_agg(j.credit_after ORDER BY u.p),
                   array_agg(j.debit_n ORDER BY u.p), array_agg(j.credit_n ORDER BY u.p), array_agg(j.ref_id ORDER BY u.p),
                   array_agg(j.kind = kind[u.p] AND j.tokens = tokens[u.p]
                             AND j.debit_wallet = w[debit[u.p]] AND j.credit_wallet = w[credit[u.p]]
                             AND j.room_id IS NOT DISTINCT FROM room[u.p]
                             AND j.block_no IS NOT DISTINCT FROM nullif(block_no[u.p], 0)
                             AND j.content IS NOT DISTINCT FROM content[u.p] ORDER BY u.p)
              INTO old, first_use, old_debit_after, old_credit_after, old_debit_n, old_credit_n, old_ref, same
              FROM (SELECT q.key, q.p, min(q.p) OVER (PARTITION BY q.key) AS first_use
                      FROM unnest(key) WITH ORDINALITY q(key, p)) u
              LEFT JOIN journal j ON j.key = u.key LEFT JOIN idempotency_keys o ON o.key = u.key;
            -- The tickets: held, and released as they are sold.
            release_to := array_fill(NULL::int, ARRAY[postings]);  more := '{}';
            IF ticket = ANY (kind) THEN
                SELECT array_agg(u.first ORDER BY u.p),
                       array_agg((SELECT true FROM stream_tickets s WHERE s.stream_id = room[u.p]
                                     AND s.user_id = w[debit[u.p]] AND s.refunded_at IS NULL) ORDER BY u.p)
                  INTO first_ticket, owned
                  FROM (SELECT p, min(p) OVER (PARTITION BY kind[p] = ticket, room[p], debit[p]) AS first
                          FROM generate_series(1, postings) p) u;
                more := ARRAY(SELECT DISTINCT s.creator_id FROM generate_series(1, postings) p JOIN streams s
                                  ON s.id = room[p] AND s.released_at IS NOT NULL
                               WHERE kind[p] = ticket AND s.creator_id <> ALL (w));
            END IF;
            IF (indebted OR EXISTS (SELECT FROM wallets s WHERE s.id = ANY (more) AND s.owed > 0)) AND losses <> ALL (w) THEN
                more := more || losses;
            END IF;
            IF cardinality(more) > 0 THEN
                SELECT w || array_agg(s.id), w_tid || array_agg(s.ctid), w_balance || array_agg(s.balance),
                       w_n || array_agg(s.n), w_is_user || array_agg(s.user_id IS NOT NULL),
                       w_promotional || array_agg(s.promotional), w_earned || array_agg(s.earned), w_owed || array_agg(s.owed)
                  INTO w, w_tid, w_balance, w_n, w_is_user, w_promotional, w_earned, w_owed
                  FROM wallets s WHERE s.id = ANY (more);
                all_wallets := cardinality(w);
            END IF;
            IF ticket = ANY (kind) THEN
                SELECT array_agg(CASE WHEN kind[p] = ticket THEN (SELECT array_position(w, s.creator_id) FROM streams s
                                       WHERE s.id = room[p] AND s.released_at IS NOT NULL) END ORDER BY p)
                  INTO release_to FROM generate_series(1, postings) p;
            END IF;
            -- The daily limits.
            IF limited THEN
                today := (now_at AT TIME ZONE 'UTC')::date;
                SELECT array_agg(CASE WHEN l.next_at <= now_at THEN l.next_tokens ELSE l.daily_tokens END ORDER BY u.p),
                       array_agg(CASE WHEN l.day = today THEN l.spent WHEN l.day < today THEN 0 END ORDER BY u.p)
                  INTO w_limit, w_spent
                  FROM unnest(w) WITH ORDINALITY u(id, p) LEFT JOIN spend_limits l ON l.user_id = u.id;
            END IF;
            first_ref := array_fill(NULL::uuid, ARRAY[postings]);
            day_limit := array_fill(NULL::bigint, ARRAY[postings]);  day_spent := day_limit;
        END IF;

        -- Decide and book, one posting after the other.
        balance := w_balance;  n := w_n;  promotional := w_promotional;  earned := w_earned;  owed := w_owed;
        last_block := m_last;  m_tokens := array_fill(0::bigint, ARRAY[coalesce(cardinality(m_tid), 0)]);
        spent := w_spent;  booked_as := array_fill(0, ARRAY[postings]);
        gained := array_fill(0::bigint, ARRAY[all_wallets]);  paid := gained;
        status := array_fill(committed, ARRAY[postings]);
        debit_after := array_fill(NULL::bigint, ARRAY[postings]);  credit_after := debit_after;
        debit_n := array_fill(NULL::int, ARRAY[postings]);  credit_n := debit_n;
        dp := debit_n;  de := debit_n;  cp := debit_n;  ce := debit_n;
        cause := '{}';  all_postings := postings;  next_given := 1;  next_more := postings + 1;
        refused := '{}';  booked := 0;
        LOOP
            IF next_more <= all_postings THEN            -- what the posting before has caused comes first
                i := next_more;  next_more := next_more + 1;
            ELSIF next_given <= postings THEN
                i := next_given;  next_given := next_given + 1;
            ELSE
                EXIT;
            END IF;
            d := debit[i];  c := credit[i];  amount := tokens[i];  k := coalesce(kind[i], block);
            IF careful AND i <= postings THEN
                IF old[i] THEN                           -- guard, idempotency: precedes all others
                    IF same[i] THEN
                        status[i] := already;
                        debit_after[i] := old_debit_after[i];  credit_after[i] := old_credit_after[i];
                        debit_n[i] := old_debit_n[i];  credit_n[i] := old_credit_n[i];  first_ref[i] := old_ref[i];
                    ELSE
                        status[i] := conflict;
                    END IF;
                    CONTINUE;
                END IF;
                x := booked_as[first_use[i]];
                IF x > 0 THEN
                    IF kind[x] = k AND tokens[x] = amount AND debit[x] = d AND credit[x] = c
                       AND room[x] IS NOT DISTINCT FROM room[i] AND block_no[x] = block_no[i]
                       AND content[x] IS NOT DISTINCT FROM content[i] THEN
                        status[i] := already;
                        debit_after[i] := debit_after[x];  credit_after[i] := credit_after[x];
                        debit_n[i] := debit_n[x];  credit_n[i] := credit_n[x];  first_ref[i] := ref[x];
                    ELSE
                        status[i] := conflict;
                    END IF;
                    CONTINUE;
                END IF;
                IF live[i] <> epoch[i] AND (epoch[i] > 0 OR block_no[i] > 0 OR live[i] = -1) THEN
                    status[i] := CASE WHEN live[i] = -1 THEN closed ELSE fenced END;
                    CONTINUE;
                END IF;
                x := meter[i];
                IF x > 0 AND last_block[x] <> block_no[i] - 1 THEN
                    status[i] := gap;
                    CONTINUE;
                END IF;
                IF k = ticket AND owned[first_ticket[i]] THEN
                    status[i] := owned_before;
                    CONTINUE;
                END IF;
                IF k <= ticket AND amount > 0 AND spent[d] + amount > w_limit[d] THEN
                    status[i] := beyond_limit;  day_limit[i] := w_limit[d];  day_spent[i] := spent[d];
                    CONTINUE;
                END IF;
            END IF;
            v := balance[d] - amount;
            IF w_is_user[d] AND (v < 0 OR k = payout AND earned[d] < amount) THEN
                status[i] := insufficient;  debit_after[i] := balance[d];  debit_n[i] := n[d];
                refused := refused || i;
                CONTINUE;
            END IF;
            IF v < least_balance OR balance[c] + amount > most_balance THEN
                RAISE EXCEPTION 'balance out of range' USING ERRCODE = 'HM004';
            END IF;

            -- The parts that leave the payer: promotional tokens first and earned ones last; a payout takes these alone.
            po := 0;  eo := 0;  pi := 0;  ei := 0;
            IF w_is_user[d] THEN
                IF i <= postings AND cardinality(debit_parts) > 0 THEN
                    po := debit_parts[2 * i - 1];  eo := debit_parts[2 * i];
                ELSIF k = payout OR k = repayment THEN
                    eo := amount;
                ELSE
                    po := least(promotional[d], amount);
                    eo := greatest(0, earned[d] - v);
                END IF;
                IF po > 0 THEN
                    promotional[d] := promotional[d] - po;  dp[i] := po;
                END IF;
                IF eo > 0 THEN
                    earned[d] := earned[d] - eo;  de[i] := eo;
                END IF;
            END IF;
            -- The parts that the payee gets: promotional tokens stay so; what is paid for something is earned.
            IF w_is_user[c] THEN
                IF i <= postings AND cardinality(credit_parts) > 0 THEN
                    pi := credit_parts[2 * i - 1];  ei := credit_parts[2 * i];
                ELSIF k <= ticket THEN
                    pi := po;  ei := amount - po;
                ELSIF k = gift THEN
                    pi := amount;
                ELSIF k = release THEN
                    pi := coalesce(dp[cause[i - postings]], 0);  ei := amount - pi;
                ELSIF k = refund THEN                    -- of a payout: as the tokens were taken, less what is back already
                    SELECT coalesce(o.debit_promotional, 0) - coalesce(r.promotional, 0),
                           coalesce(o.debit_earned, 0) - coalesce(r.earned, 0) INTO pi, ei
                      FROM journal o, LATERAL (
                           SELECT sum(b.credit_promotional) AS promotional, sum(b.credit_earned) AS earned
                             FROM journal b WHERE b.kind = refund AND b.credit_wallet = w[c] AND b.content = o.key) r
                     WHERE o.key = content[i];
                    ei := greatest(0, least(coalesce(ei, 0), amount));
                    pi := greatest(0, least(coalesce(pi, 0), amount - ei));
                END IF;
                IF pi > 0 THEN
                    promotional[c] := promotional[c] + pi;  cp[i] := pi;
                END IF;
                IF ei > 0 THEN
                    earned[c] := earned[c] + ei;  ce[i] := ei;
                END IF;
            END IF;

            balance[d] := v;  debit_after[i] := v;
            e := n[d] + 1;  n[d] := e;  debit_n[i] := e;
            v := balance[c] + amount;  balance[c] := v;  credit_after[i] := v;
            e := n[c] + 1;  n[c] := e;  credit_n[i] := e;
            booked := booked + 1;
            -- Lifetime sums: what was paid and earned, less refunds; never credits, purchases or payouts.
            IF k <= ticket THEN
                paid[d] := paid[d] + amount;  gained[c] := gained[c] + amount;
            ELSIF k = release THEN
                gained[c] := gained[c] + amount;
            ELSIF k = repayment THEN
                gained[d] := gained[d] - amount;  owed[d] := owed[d] - amount;
            ELSIF k = refund THEN
                gained[d] := gained[d] - amount;
                IF w[d] <> payouts THEN
                    paid[c] := paid[c] - amount;
                END IF;
            END IF;
            CONTINUE WHEN NOT careful;

            IF i <= postings THEN
                booked_as[first_use[i]] := i;
                x := meter[i];
                IF x > 0 THEN
                    last_block[x] := block_no[i];  m_tokens[x] := m_tokens[x] + amount;
                END IF;
                IF k = ticket THEN
                    owned[first_ticket[i]] := true;
                END IF;
                IF k <= ticket AND limited THEN
                    spent[d] := spent[d] + amount;
                END IF;
            END IF;
            -- What follows at once: the release of a ticket, the repayment of a debt.
            x := NULL;
            IF k = ticket AND release_to[i] IS NOT NULL AND NOT w_is_user[c] THEN
                x := release_to[i];  e := c;  v := amount;
            ELSIF ei > 0 AND owed[c] > 0 THEN
                x := array_position(w, losses);  e := c;  v := least(owed[c], ei);
            END IF;
            IF x IS NOT NULL THEN
                all_postings := all_postings + 1;  cause := cause || i;
                key[all_postings] := derived_key(CASE k WHEN ticket THEN 'release' ELSE 'repayment' END, ARRAY[key[i]]);
                kind[all_postings] := CASE k WHEN ticket THEN release ELSE repayment END;
                debit[all_postings] := e;  credit[all_postings] := x;  tokens[all_postings] := v;
                room[all_postings] := room[i];  ref[all_postings] := ref[i];  content[all_postings] := key[i];
                epoch[all_postings] := 0;  block_no[all_postings] := 0;  status[all_postings] := committed;
            END IF;
        END LOOP;
        EXIT WHEN careful OR cardinality(refused) = 0;
        -- A refusal is believed only if nothing else comes before it. One row each, which no plan can turn into a scan.
        careful := EXISTS (
            SELECT FROM unnest(refused) p
             WHERE (SELECT true FROM journal j WHERE j.key = key[p])
                OR cardinality(array_positions(key, key[p])) > 1
                OR room[p] IS NOT NULL AND (SELECT true FROM rooms s WHERE s.id = room[p] AND (kind[p] >= refund
                                                OR s.ended_at IS NULL AND (s.epoch = epoch[p] OR epoch[p] = 0
                                                                           AND block_no[p] = 0))) IS NULL
                OR block_no[p] > 0 AND (SELECT true FROM meters s WHERE s.room_id = room[p]
                                           AND s.payer_id = w[debit[p]] AND s.last_block = block_no[p] - 1) IS NULL);
        EXIT WHEN NOT careful;
    END LOOP;
    IF booked = 0 THEN
        PERFORM set_config('halfminute.booking', '', true);
        RETURN;
    END IF;

    -- Write the decisions.
    INSERT INTO journal (key, debit_wallet, credit_wallet, room_id, ref_id, content, tokens, debit_after, credit_after,
                         created_at, debit_n, credit_n, block_no, kind, debit_promotional, debit_earned,
                         credit_promotional, credit_earned)
    SELECT key[p], w[debit[p]], w[credit[p]], room[p], ref[p], content[p], tokens[p], debit_after[p], credit_after[p],
           now_at, debit_n[p], credit_n[p], nullif(block_no[p], 0), coalesce(kind[p], block), dp[p], de[p], cp[p], ce[p]
      FROM generate_series(1, all_postings) p WHERE status[p] = committed;
    IF cardinality(memo_of) > 0 THEN
        INSERT INTO memos (posting_key, memo)
        SELECT key[memo_of[p]], memo[p] FROM generate_series(1, cardinality(memo_of)) p
         WHERE status[memo_of[p]] = committed;
    END IF;
    IF cardinality(operator) > 0 THEN
        INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason, posting_key, created_at)
        SELECT derived_key('operator action', ARRAY[key[p]]), operator[p], CASE kind[p] WHEN gift THEN 'credit' ELSE 'refund' END,
               CASE WHEN w_is_user[credit[p]] THEN w[credit[p]] ELSE w[debit[p]] END, ref[p],
               CASE WHEN w_is_user[credit[p]] THEN tokens[p] ELSE -tokens[p] END,
               coalesce(memo[array_position(memo_of, p)], ''), key[p], now_at
          FROM generate_series(1, postings) p WHERE operator[p] IS NOT NULL AND status[p] = committed;
    END IF;
    UPDATE wallets s
       SET balance = balance[p], n = n[p], promotional = promotional[p], earned = earned[p], owed = owed[p],
           lifetime_spent = s.lifetime_spent + CASE WHEN w_is_user[p] THEN paid[p] ELSE 0 END,
           lifetime_earned = s.lifetime_earned + CASE WHEN w_is_user[p] THEN gained[p] ELSE 0 END
      FROM generate_series(1, all_wallets) p WHERE s.ctid = w_tid[p] AND s.n = w_n[p];
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched <> all_wallets THEN                           -- a wallet was written without the write lock
        RAISE EXCEPTION 'a wallet moved' USING ERRCODE = '40001';
    END IF;
    IF careful THEN
        IF ticket = ANY (kind) THEN
            INSERT INTO stream_tickets AS s (stream_id, user_id, ticket_id, posting_key, price_tokens, bought_at,
                                             released_at)
            SELECT room[p], w[debit[p]], ref[p], key[p], tokens[p], now_at, CASE WHEN w_is_user[credit[p]] THEN now_at END
              FROM generate_series(1, postings) p WHERE kind[p] = ticket AND status[p] = committed
                ON CONFLICT (stream_id, user_id) DO UPDATE
               SET ticket_id = excluded.ticket_id, posting_key = excluded.posting_key, bought_at = excluded.bought_at,
                   price_tokens = excluded.price_tokens, released_at = excluded.released_at, release_key = NULL,
                   refunded_at = NULL;
        END IF;
        IF release = ANY (kind) THEN
            UPDATE stream_tickets s SET released_at = now_at, release_key = key[p]
              FROM generate_series(1, all_postings) p
             WHERE kind[p] = release AND status[p] = committed AND s.posting_key = content[p];
        END IF;
        IF repayment = ANY (kind) THEN                   -- of several debts the oldest first
            UPDATE debts s SET repaid = s.repaid + least(o.open, o.now - o.before)
              FROM (SELECT q.advance_key, q.tokens - q.repaid AS open, r.now,
                           sum(q.tokens - q.repaid) OVER (PARTITION BY q.debtor ORDER BY q.created_at, q.advance_key)
                           - (q.tokens - q.repaid) AS before
                      FROM debts q
                      JOIN (SELECT w[debit[p]] AS debtor, sum(tokens[p]) AS now
                              FROM generate_series(postings + 1, all_postings) p WHERE kind[p] = repayment GROUP BY 1) r
                        ON r.debtor = q.debtor
                     WHERE q.repaid < q.tokens) o
             WHERE s.advance_key = o.advance_key AND o.before < o.now;
        END IF;
        UPDATE spend_limits s SET day = today, spent = spent[p]
          FROM generate_series(1, all_wallets) p WHERE limited AND s.user_id = w[p];
        UPDATE meters s SET last_block = last_block[p], tokens = s.tokens + m_tokens[p]
          FROM generate_series(1, cardinality(m_tid)) p WHERE s.ctid = m_tid[p];
        IF all_postings > postings THEN
            SELECT array_agg(key[p] ORDER BY p), array_agg(kind[p] ORDER BY p), array_agg(w[debit[p]] ORDER BY p),
                   array_agg(w[credit[p]] ORDER BY p), array_agg(room[p] ORDER BY p), array_agg(tokens[p] ORDER BY p),
                   array_agg(ref[p] ORDER BY p), array_agg(content[p] ORDER BY p)
              INTO more_key, more_kind, more_debit, more_credit, more_room, more_tokens, more_ref, more_content
              FROM generate_series(postings + 1, all_postings) p;
        END IF;
    ELSE
        -- Epochs and block numbers are seen to have been right while the meters are written.
        UPDATE meters s SET last_block = block_no[p], tokens = s.tokens + tokens[p]
          FROM generate_series(1, postings) p, rooms o
         WHERE block_no[p] > 0 AND status[p] = committed
           AND o.id = room[p] AND o.epoch = epoch[p] AND o.ended_at IS NULL
           AND s.room_id = o.id AND s.payer_id = w[debit[p]] AND s.last_block = block_no[p] - 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        blocks := booked;
        IF cardinality(kind) > 0 THEN
            SELECT count(*) FILTER (WHERE block_no[p] > 0),
                   count(*) FILTER (WHERE block_no[p] = 0 AND room[p] IS NOT NULL
                                      AND (SELECT true FROM rooms s WHERE s.id = room[p] AND (kind[p] >= refund
                                                OR s.ended_at IS NULL AND epoch[p] IN (0, s.epoch))) IS NULL)
              INTO blocks, x FROM generate_series(1, postings) p WHERE status[p] = committed;
            touched := touched - x;
        END IF;
        IF touched <> blocks THEN
            RAISE EXCEPTION 'not to be booked as it is' USING ERRCODE = 'HM005';
        END IF;
    END IF;
    PERFORM set_config('halfminute.booking', '', true);
END $fn$;

-- Sets a daily limit as before; the new kinds of postings are among a wallet's entries.
CREATE OR REPLACE FUNCTION set_limit_in_force(owner uuid, wanted bigint) RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE now_at timestamptz; today date; in_force bigint; before_today int; spent_today bigint;
BEGIN
    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one RETURNING booked_at INTO now_at;
    IF now_at > clock_timestamp() + interval '5 seconds' THEN  -- as in apply_postings
        RAISE EXCEPTION 'the clock of the database is behind its latest booking' USING ERRCODE = 'HM008';
    END IF;
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
    SELECT entries_before(id, n, '{1,2,3,4,5,6,7,8,9}', today::timestamp AT TIME ZONE 'UTC') INTO before_today
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

-- Refunds and releases -----------------------------------------------------------------------------------------------

-- Refunds blocks, tips and tickets, each once and in full, with the parts that the payer had spent. All refunds that a
-- payee pays must have the same payee (HM006). A ticket in escrow is refunded from escrow, everything else by the payee:
--   tokens that were not promotional come from earned tokens, then bought ones, then open payouts, the newest first;
--   promotional ones come from promotional tokens, then from the others in that order.
-- `advance`: `losses` pays what is missing, and the payee owes it. Without it, a refund that the payee cannot cover in full
-- is not made, and counted in `uncovered`. `most_advanced`: no refund is made if the advances of this UTC day would exceed
-- it; `missing` is then the sum that `losses` would have had to advance. A refund's content is the key of its payment.
-- Returns one row of arrays: the refunds of all the given payments, with `status` 0 for new ones and 1 for earlier ones,
-- then the other postings that were made: reductions of payouts, repayments of debts.
CREATE FUNCTION refund_postings(
    paid uuid[], refund_key uuid[], rest_key uuid[], reason text, advance boolean, most_advanced bigint, operator uuid,
    OUT key uuid[], OUT kind smallint[], OUT content uuid[], OUT debit uuid[], OUT credit uuid[], OUT room uuid[],
    OUT tokens bigint[], OUT ref uuid[], OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[],
    OUT debit_n int[], OUT credit_n int[], OUT uncovered int, OUT missing bigint
) LANGUAGE plpgsql VOLATILE
    SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
    payouts CONSTANT uuid := '00000000-0000-7000-8000-000000000003';
    losses  CONSTANT uuid := '00000000-0000-7000-8000-000000000004';
    o record;  cut record;
    payee uuid;  had_promotional bigint;  had_bought bigint;  had_earned bigint;  had_paid_out bigint := 0;
    t_promotional bigint;  t_other bigint;               -- of the payment that is refunded
    of_promotional bigint;  of_bought bigint;  of_earned bigint;  from_payouts bigint;  v bigint;
    other_given bigint;  promotional_given bigint;  back_earned bigint;  rest bigint;
    fresh uuid[] := '{}';  causes uuid[] := '{}';  more uuid[];  w uuid[];
    out_parts int[] := '{}';  in_parts int[] := '{}';  advanced_today bigint;  booked smallint[];
    cut_payout uuid[] := '{}';  cut_tokens int[] := '{}';
BEGIN
    uncovered := 0;  missing := 0;
    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one;   -- the advances of a new day may begin here
    FOR o IN SELECT p.i, j.*, t.released_at IS NULL AND t.posting_key IS NOT NULL AS in_escrow,
                    coalesce((SELECT r.credit_wallet FROM journal r WHERE r.key = t.release_key), j.credit_wallet) AS went_to
               FROM unnest(paid) WITH ORDINALITY p(key, i) JOIN journal j ON j.key = p.key
               LEFT JOIN stream_tickets t ON t.posting_key = j.key
              WHERE j.kind <= 3 AND j.tokens > 0
                AND NOT EXISTS (SELECT FROM journal r WHERE r.key IN (refund_key[p.i], rest_key[p.i]))
              ORDER BY p.i
    LOOP
        t_promotional := coalesce(o.debit_promotional, 0);  t_other := o.tokens - t_promotional;
        back_earned := coalesce(o.debit_earned, 0);
        IF o.in_escrow THEN
            fresh := fresh || refund_key[o.i];  debit := debit || o.credit_wallet;  credit := credit || o.debit_wallet;
            tokens := tokens || o.tokens;  content := content || o.key;  room := room || o.room_id;  ref := ref || o.ref_id;
            out_parts := out_parts || ARRAY[0, 0];  in_parts := in_parts || ARRAY[t_promotional::int, back_earned::int];
            CONTINUE;
        END IF;
        IF payee IS NULL THEN
            payee := o.went_to;
            SELECT s.promotional, s.balance - s.promotional - s.earned, s.earned
              INTO had_promotional, had_bought, had_earned FROM wallets s WHERE s.id = payee;
            IF advance THEN
                PERFORM 1 FROM payouts p WHERE p.creator_id = payee AND p.settled_as IS NULL ORDER BY p.id FOR UPDATE;
                SELECT coalesce(sum(p.tokens - p.cut_tokens), 0) INTO had_paid_out FROM payouts p
                 WHERE p.creator_id = payee AND p.settled_as IS NULL AND p.given_up_at IS NULL
                   AND (SELECT true FROM journal j WHERE j.key = p.posting_key);
            END IF;
        ELSIF payee <> o.went_to THEN
            RAISE EXCEPTION 'several payees' USING ERRCODE = 'HM006';
        END IF;
        -- Tokens that were not promotional are refunded from tokens that are not.
        of_earned := least(had_earned, t_other);
        of_bought := least(had_bought, t_other - of_earned);
        from_payouts := least(had_paid_out, t_other - of_earned - of_bought);
        other_given := of_earned + of_bought + from_payouts;
        -- Promotional tokens are refunded from promotional ones first, then from any.
        of_promotional := least(had_promotional, t_promotional);
        promotional_given := of_promotional;
        v := least(had_bought - of_bought, t_promotional - promotional_given);
        of_bought := of_bought + v;  promotional_given := promotional_given + v;
        v := least(had_earned - of_earned, t_promotional - promotional_given);
        of_earned := of_earned + v;  promotional_given := promotional_given + v;
        v := least(had_paid_out - from_payouts, t_promotional - promotional_given);
        from_payouts := from_payouts + v;  promotional_given := promotional_given + v;
        rest := o.tokens - promotional_given - other_given;
        IF rest > 0 AND NOT advance THEN
            uncovered := uncovered + 1;
            CONTINUE;
        END IF;
        had_promotional := had_promotional - of_promotional;  had_bought := had_bought - of_bought;
        had_earned := had_earned - of_earned;  had_paid_out := had_paid_out - from_payouts;
        missing := missing + rest;
        -- First return tokens of open payouts to the payee's wallet.
        FOR cut IN
            SELECT p.id, p.posting_key, p.tokens - p.cut_tokens
                   - coalesce((SELECT sum(c.tokens) FROM unnest(cut_payout, cut_tokens) c(id, tokens) WHERE c.id = p.id), 0)
                     AS left_over
              FROM payouts p
             WHERE from_payouts > 0 AND p.creator_id = payee AND p.settled_as IS NULL AND p.given_up_at IS NULL
               AND (SELECT true FROM journal j WHERE j.key = p.posting_key)
             ORDER BY p.created_at DESC, p.id DESC
        LOOP
            v := least(from_payouts, cut.left_over);
            CONTINUE WHEN v = 0;
            fresh := fresh || derived_key('payout cut', ARRAY[cut.posting_key, refund_key[o.i]]);
            debit := debit || payouts;  credit := credit || payee;  tokens := tokens || v;
            content := content || cut.posting_key;  room := room || NULL::uuid;  ref := ref || cut.id;
            out_parts := out_parts || ARRAY[0, 0];  in_parts := in_parts || ARRAY[0, v::int];
            cut_payout := cut_payout || cut.id;  cut_tokens := cut_tokens || v::int;
            of_earned := of_earned + v;  from_payouts := from_payouts - v;
        END LOOP;
        v := promotional_given + other_given;
        IF v > 0 THEN
            fresh := fresh || refund_key[o.i];  debit := debit || payee;  credit := credit || o.debit_wallet;
            tokens := tokens || v;  content := content || o.key;  room := room || o.room_id;  ref := ref || o.ref_id;
            out_parts := out_parts || ARRAY[of_promotional::int, of_earned::int];
            in_parts := in_parts || ARRAY[promotional_given::int, least(back_earned, other_given)::int];
        END IF;
        IF rest > 0 THEN
            fresh := fresh || rest_key[o.i];  debit := debit || losses;  credit := credit || o.debit_wallet;
            tokens := tokens || rest;  content := content || o.key;  room := room || o.room_id;  ref := ref || o.ref_id;
            out_parts := out_parts || ARRAY[0, 0];
            in_parts := in_parts || ARRAY[(t_promotional - promotional_given)::int,
                                          (back_earned - least(back_earned, other_given))::int];
        END IF;
    END LOOP;
    IF missing > 0 AND most_advanced IS NOT NULL THEN
        SELECT coalesce(sum(q.tokens), 0) INTO advanced_today FROM debts q, fence f
         WHERE q.created_at >= date_trunc('day', f.booked_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
        IF advanced_today + missing > most_advanced THEN
            fresh := '{}';
        ELSE
            missing := 0;
        END IF;
    ELSE
        missing := 0;
    END IF;
    IF cardinality(fresh) > 0 THEN
        w := ARRAY(SELECT DISTINCT x FROM unnest(debit || credit) x ORDER BY x);
        SELECT a.status, a.more_key INTO booked, more FROM apply_postings(
            w, fresh, array_fill(6::smallint, ARRAY[cardinality(fresh)]),
            ARRAY(SELECT array_position(w, x) FROM unnest(debit) WITH ORDINALITY u(x, i) ORDER BY i),
            ARRAY(SELECT array_position(w, x) FROM unnest(credit) WITH ORDINALITY u(x, i) ORDER BY i),
            room, array_fill(0, ARRAY[cardinality(fresh)]), array_fill(0, ARRAY[cardinality(fresh)]), tokens, ref,
            content, ARRAY(SELECT generate_series(1, cardinality(fresh))),
            array_fill(reason, ARRAY[cardinality(fresh)]), false,
            CASE WHEN operator IS NULL THEN '{}' ELSE array_fill(operator, ARRAY[cardinality(fresh)]) END,
            out_parts, in_parts) a;
        IF 0 <> ANY (booked) THEN
            RAISE EXCEPTION 'a refund was refused' USING ERRCODE = 'HM013';
        END IF;
        UPDATE stream_tickets s SET refunded_at = (SELECT f.booked_at FROM fence f WHERE f.one)
         WHERE s.posting_key = ANY (content) AND s.refunded_at IS NULL;
        UPDATE meters m SET refunded_blocks = m.refunded_blocks + r.blocks,
                            refunded_tokens = m.refunded_tokens + r.tokens
          FROM (SELECT b.room_id, b.debit_wallet, count(*) AS blocks, sum(b.tokens) AS tokens
                  FROM (SELECT DISTINCT x FROM unnest(content) u(x)) u JOIN journal b ON b.key = u.x
                 WHERE b.kind = 1 GROUP BY 1, 2) r
         WHERE m.room_id = r.room_id AND m.payer_id = r.debit_wallet;
        UPDATE payouts p SET cut_tokens = p.cut_tokens + c.tokens,
                             settled_as = CASE WHEN p.cut_tokens + c.tokens = p.tokens THEN 'cancelled' END,
                             settled_at = CASE WHEN p.cut_tokens + c.tokens = p.tokens THEN clock_timestamp() END
          FROM (SELECT u.id, sum(u.tokens)::int AS tokens FROM unnest(cut_payout, cut_tokens) u(id, tokens) GROUP BY u.id) c
         WHERE p.id = c.id;
        INSERT INTO debts (advance_key, debtor, tokens, created_at)
        SELECT j.key, payee, j.tokens, j.created_at FROM unnest(fresh) f(key) JOIN journal j ON j.key = f.key
         WHERE j.debit_wallet = losses;
        IF FOUND THEN
            PERFORM set_config('halfminute.booking', 'on', true);
            UPDATE wallets s SET owed = (SELECT sum(q.tokens - q.repaid) FROM debts q
                                          WHERE q.debtor = payee AND q.repaid < q.tokens) WHERE s.id = payee;
            PERFORM set_config('halfminute.booking', '', true);
        END IF;
    END IF;
    SELECT array_agg(j.key), array_agg(j.kind), array_agg(j.content), array_agg(j.debit_wallet),
           array_agg(j.credit_wallet), array_agg(j.room_id), array_agg(j.tokens), array_agg(j.ref_id),
           array_agg(CASE WHEN j.key = ANY (fresh) OR j.is_more THEN 0 ELSE 1 END::smallint),
           array_agg(j.debit_after), array_agg(j.credit_after), array_agg(j.debit_n), array_agg(j.credit_n)
      INTO key, kind, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n
      FROM (SELECT r.*, k.is_more FROM (
                SELECT unnest(refund_key || rest_key) AS key, false AS is_more
                UNION SELECT unnest(more), true
                UNION SELECT f.key, true FROM unnest(fresh) f(key) WHERE f.key <> ALL (refund_key || rest_key)) k
              JOIN journal r ON r.key = k.key ORDER BY k.is_more, r.credit_n) j;
END $$;

-- Releases the tickets of a stream to its creator: at most `most` of those in escrow per call, and later ones as they are
-- sold. With an epoch, only the room's owner may do so: if the room has a later epoch, nothing is done and `released` is
-- NULL. Returns one row of arrays: the postings. `released` is the number of tickets; if it equals `most`, there may be
-- more.
CREATE FUNCTION release_tickets(
    stream uuid, owner_epoch int, most int,
    OUT key uuid[], OUT kind smallint[], OUT content uuid[], OUT debit uuid[], OUT credit uuid[], OUT room uuid[],
    OUT tokens bigint[], OUT ref uuid[], OUT status smallint[], OUT debit_after bigint[], OUT credit_after bigint[],
    OUT debit_n int[], OUT credit_n int[], OUT released int
) LANGUAGE plpgsql VOLATILE
    SET search_path = halfminute, pg_temp SET plan_cache_mode = force_generic_plan
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
    creator uuid;  escrow CONSTANT uuid := '00000000-0000-7000-8000-000000000005';
    in_parts int[];  more uuid[];  paid uuid[];  fresh uuid[];  booked smallint[];
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    IF owner_epoch IS NOT NULL AND NOT EXISTS (SELECT FROM rooms r WHERE r.id = stream AND r.epoch = owner_epoch) THEN
        RETURN;
    END IF;
    UPDATE streams s SET released_at = coalesce(s.released_at, (SELECT f.booked_at FROM fence f WHERE f.one))
     WHERE s.id = stream RETURNING s.creator_id INTO creator;
    SELECT array_agg(t.key), array_agg(derived_key('release', ARRAY[t.key])), array_agg(t.tokens), array_agg(t.ref_id),
           coalesce(sum(1), 0)
      INTO paid, fresh, tokens, ref, released
      FROM (SELECT j.* FROM stream_tickets s JOIN journal j ON j.key = s.posting_key
             WHERE s.stream_id = stream AND s.released_at IS NULL AND s.refunded_at IS NULL
             ORDER BY s.bought_at, s.ticket_id LIMIT most) t;
    IF released > 0 THEN
        SELECT array_agg(part ORDER BY i, side) INTO in_parts FROM (
            SELECT u.i, x.side, x.part FROM unnest(paid) WITH ORDINALITY u(key, i) JOIN journal j ON j.key = u.key,
                   LATERAL (VALUES (1, coalesce(j.debit_promotional, 0)),
                                   (2, (j.tokens - coalesce(j.debit_promotional, 0))::int)) x(side, part)) p;
        SELECT a.status, a.more_key INTO booked, more FROM apply_postings(
            ARRAY(SELECT x FROM unnest(ARRAY[escrow, creator]) x ORDER BY x), fresh,
            array_fill(8::smallint, ARRAY[released]),
            array_fill(CASE WHEN escrow < creator THEN 1 ELSE 2 END, ARRAY[released]),
            array_fill(CASE WHEN escrow < creator THEN 2 ELSE 1 END, ARRAY[released]),
            array_fill(stream, ARRAY[released]), array_fill(0, ARRAY[released]), array_fill(0, ARRAY[released]), tokens,
            ref, paid, '{}', '{}', false, '{}', array_fill(0, ARRAY[2 * released]), in_parts) a;
        IF 0 <> ANY (booked) THEN
            RAISE EXCEPTION 'a release was refused' USING ERRCODE = 'HM013';
        END IF;
        UPDATE stream_tickets s SET released_at = j.created_at, release_key = j.key
          FROM unnest(fresh) f(key) JOIN journal j ON j.key = f.key WHERE s.posting_key = j.content;
    END IF;
    SELECT array_agg(j.key), array_agg(j.kind), array_agg(j.content), array_agg(j.debit_wallet),
           array_agg(j.credit_wallet), array_agg(j.room_id), array_agg(j.tokens), array_agg(j.ref_id),
           array_agg(0::smallint), array_agg(j.debit_after), array_agg(j.credit_after), array_agg(j.debit_n),
           array_agg(j.credit_n)
      INTO key, kind, content, debit, credit, room, tokens, ref, status, debit_after, credit_after, debit_n, credit_n
      FROM (SELECT r.* FROM unnest(fresh || more) k(key) JOIN journal r ON r.key = k.key
             ORDER BY r.kind, r.credit_n) j;
END $$;

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
