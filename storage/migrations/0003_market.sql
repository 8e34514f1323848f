-- Purchases of tokens, payouts, reports, overlay tokens, bans, and business figures.

-- Purchases ----------------------------------------------------------------------------------------------------------

-- Price and tokens as they were when the checkout began: a later change of the packs has no effect here.
CREATE TABLE purchases (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    pack_id      text NOT NULL CHECK (length(pack_id) BETWEEN 1 AND 40),
    tokens       integer NOT NULL CHECK (tokens BETWEEN 1 AND 1000000000),
    price_cents  integer NOT NULL CHECK (price_cents > 0),
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    provider     text NOT NULL CHECK (length(provider) BETWEEN 1 AND 40),
    status       text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'paid', 'failed', 'expired', 'review')),
    checkout_id  text CHECK (length(checkout_id) <= 255), -- the provider's id of it
    checkout_url text CHECK (length(checkout_url) <= 4096),
    created_at   timestamptz NOT NULL DEFAULT now(),
    paid_at      timestamptz,
    CONSTRAINT paid_purchases_say_when CHECK ((status = 'paid') = (paid_at IS NOT NULL))
);
CREATE INDEX purchases_of_user ON purchases (user_id, created_at DESC, id DESC);
CREATE INDEX purchases_pending ON purchases (created_at) WHERE status = 'pending';
CREATE INDEX purchases_paid ON purchases (paid_at) INCLUDE (user_id, tokens, price_cents, currency)
    WHERE status = 'paid';

-- Payouts ------------------------------------------------------------------------------------------------------------

-- A row without its posting in the journal is a requested payout. It reserves its tokens until the posting is committed,
-- or until it is abandoned because the tokens were gone (`given_up_at`).
CREATE TABLE payouts (
    id          uuid PRIMARY KEY,
    creator_id  uuid NOT NULL REFERENCES creators (user_id) ON DELETE RESTRICT,
    posting_key uuid NOT NULL UNIQUE,
    tokens      integer NOT NULL CHECK (tokens BETWEEN 1 AND 1000000000),
    cents       bigint NOT NULL CHECK (cents > 0),
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at  timestamptz NOT NULL DEFAULT now(),
    given_up_at timestamptz,
    settled_as  text CHECK (settled_as IN ('paid', 'rejected')),
    settled_at  timestamptz,
    settled_by  uuid REFERENCES users (supabase_id) ON DELETE RESTRICT,
    note        text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
    given_back  boolean NOT NULL DEFAULT false,           -- of a rejected one: its tokens were returned
    CONSTRAINT settled_payouts_say_when CHECK ((settled_as IS NULL) = (settled_at IS NULL)),
    CONSTRAINT only_rejected_payouts_are_given_back CHECK (NOT given_back OR settled_as = 'rejected')
);
CREATE INDEX payouts_of_creator ON payouts (creator_id, created_at DESC, id DESC);
CREATE INDEX payouts_newest ON payouts (created_at DESC, id DESC);
CREATE INDEX payouts_open ON payouts (created_at DESC, id DESC) WHERE settled_as IS NULL;
CREATE INDEX payouts_owed_back ON payouts (settled_at) WHERE settled_as = 'rejected' AND NOT given_back;

-- 0009_calls.sql replaces this function. Cashable are tokens from blocks, tips and tickets, less refunds and earlier
-- payouts, up to the balance. Bought and promotional tokens are spent first and are never cashable.
CREATE FUNCTION cashable_tokens(creator uuid) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = halfminute, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    payouts_wallet CONSTANT uuid := '00000000-0000-7000-8000-000000000003';
    wished bigint; gone bigint;
BEGIN
    SELECT coalesce(sum(p.tokens), 0) INTO wished FROM payouts p
     WHERE p.creator_id = creator AND p.given_up_at IS NULL AND p.settled_as IS NULL
       AND (SELECT true FROM journal j WHERE j.key = p.posting_key) IS NULL;
    SELECT coalesce(sum(t), 0) INTO gone FROM (
        SELECT j.tokens AS t FROM journal j WHERE j.credit_wallet = creator AND j.kind IN (4, 5)   -- bought, promotional
        UNION ALL SELECT j.tokens FROM journal j WHERE j.credit_wallet = creator AND j.kind = 6
                     AND j.debit_wallet <> payouts_wallet                                           -- refunded to a fan
        UNION ALL SELECT j.tokens FROM journal j WHERE j.debit_wallet = creator AND j.kind IN (6, 7) -- refunded, cashed out
    ) e;
    -- The return of a rejected payout is an entry of its own, which cancels the payout's.
    RETURN (SELECT greatest(0, least(w.balance, w.lifetime_earned - gone) - wished) FROM wallets w WHERE w.id = creator);
END $$;

-- Safety -------------------------------------------------------------------------------------------------------------

CREATE TABLE reports (
    id          uuid PRIMARY KEY,
    reporter_id uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    user_id     uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    room_id     uuid REFERENCES rooms (id) ON DELETE RESTRICT,
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT nobody_reports_themselves CHECK (reporter_id <> user_id)
);
CREATE INDEX reports_newest ON reports (created_at DESC, id DESC);
CREATE INDEX reports_of_user ON reports (user_id, created_at DESC, id DESC);

-- What a secret opens; the secret itself is shown once and kept nowhere.
CREATE TABLE overlay_tokens (
    id           uuid PRIMARY KEY,
    creator_id   uuid NOT NULL REFERENCES creators (user_id) ON DELETE CASCADE,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    digest       bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX overlay_tokens_of_creator ON overlay_tokens (creator_id, created_at DESC, id DESC);

CREATE TABLE bans (
    id         uuid PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    banned_by  uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    created_at timestamptz NOT NULL DEFAULT now(),
    until      timestamptz,                               -- NULL: until it is lifted
    lifted_at  timestamptz
);
CREATE UNIQUE INDEX bans_standing ON bans (user_id) WHERE lifted_at IS NULL;
CREATE INDEX bans_newest ON bans (created_at DESC, id DESC) WHERE lifted_at IS NULL;

-- Counts the changes of bans: each server compares the number to learn whether it must read them again.
CREATE TABLE ban_changes (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    n   bigint NOT NULL DEFAULT 0
);
INSERT INTO ban_changes DEFAULT VALUES;

CREATE FUNCTION count_ban_change() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    UPDATE ban_changes SET n = n + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER bans_are_counted AFTER INSERT OR UPDATE OR DELETE ON bans
    FOR EACH STATEMENT EXECUTE FUNCTION count_ban_change();

-- Figures ------------------------------------------------------------------------------------------------------------

-- Postings summed by UTC day: all that are dated before `through`, and no others.
CREATE TABLE day_postings (
    day      date NOT NULL,
    kind     smallint NOT NULL,
    postings bigint NOT NULL,
    tokens   bigint NOT NULL,
    PRIMARY KEY (day, kind)
);
CREATE TABLE day_room_tips (
    day     date NOT NULL,
    room_id uuid NOT NULL,
    tips    bigint NOT NULL,
    tokens  bigint NOT NULL,
    PRIMARY KEY (day, room_id)
);
CREATE TABLE figures (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    through timestamptz NOT NULL
);
INSERT INTO figures (through) SELECT coalesce(min(created_at), now()) FROM journal;

-- The journal is in the order of its dates: a BRIN index is small and finds the pages of a period.
CREATE INDEX journal_dates ON journal USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

-- Adds the postings dated before `upto` to the figures, at most to the end of one day; returns up to when they are summed.
-- No later posting has such a date: the caller has set `booked_at` of the write lock to `upto` first.
CREATE FUNCTION sum_up_postings(upto timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = halfminute, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE low timestamptz; high timestamptz; today date;
BEGIN
    SELECT through INTO low FROM figures FOR UPDATE;
    today := (low AT TIME ZONE 'UTC')::date;
    high := least(upto, (today + 1)::timestamp AT TIME ZONE 'UTC');
    IF high <= low THEN RETURN low; END IF;
    WITH fresh AS MATERIALIZED (
        SELECT kind, room_id, tokens FROM journal WHERE created_at >= low AND created_at < high
    ), kinds AS (
        INSERT INTO day_postings AS d SELECT today, kind, count(*), sum(tokens) FROM fresh GROUP BY kind
        ON CONFLICT (day, kind) DO UPDATE SET postings = d.postings + excluded.postings, tokens = d.tokens + excluded.tokens
    )
    INSERT INTO day_room_tips AS d SELECT today, room_id, count(*), sum(tokens) FROM fresh
     WHERE kind = 2 AND room_id IS NOT NULL GROUP BY room_id
    ON CONFLICT (day, room_id) DO UPDATE SET tips = d.tips + excluded.tips, tokens = d.tokens + excluded.tokens;
    UPDATE figures SET through = high;
    RETURN high;
END $$;

-- Calls by the UTC day on which they ended. Each transaction that ends a room holds the write lock, also for this count.
CREATE TABLE day_calls (
    day       date PRIMARY KEY,
    calls     bigint NOT NULL,
    answered  bigint NOT NULL,
    active_us bigint NOT NULL
);
INSERT INTO day_calls
    SELECT (c.ended_at AT TIME ZONE 'UTC')::date, count(*), count(c.started_at), coalesce(sum(m.active_us), 0)
      FROM calls c JOIN meters m ON m.room_id = c.id AND m.payer_id = c.fan_id WHERE c.ended_at IS NOT NULL GROUP BY 1;

CREATE FUNCTION count_ended_call() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    INSERT INTO day_calls AS d
    SELECT (NEW.ended_at AT TIME ZONE 'UTC')::date, 1, (c.started_at IS NOT NULL)::int,
           coalesce((SELECT m.active_us FROM meters m WHERE m.room_id = c.id AND m.payer_id = c.fan_id), 0)
      FROM calls c WHERE c.id = NEW.id
    ON CONFLICT (day) DO UPDATE SET calls = d.calls + 1, answered = d.answered + excluded.answered,
                                    active_us = d.active_us + excluded.active_us;
    RETURN NULL;
END $$;
CREATE TRIGGER rooms_count_calls AFTER UPDATE OF ended_at ON rooms FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.kind = 'call') EXECUTE FUNCTION count_ended_call();

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
