-- Figures net of refunds; indexes for lists of debts; all operators' decisions in operator_actions.

-- Figures of days ----------------------------------------------------------------------------------------------------

-- A refund counts on its own day, beside that day's postings of the kind that it refunds. Rejections and reductions of
-- payouts are refunds too. Refunds of releases are those of tickets after their release.
ALTER TABLE day_postings
    ADD COLUMN refunds         bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded_tokens bigint NOT NULL DEFAULT 0;
ALTER TABLE day_room_tips
    ADD COLUMN refunds         bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded_tokens bigint NOT NULL DEFAULT 0;

-- Adds the postings dated before `upto` to the figures, at most to the end of one day; returns up to when they are summed.
-- No later posting has such a date: the caller has set `booked_at` of the write lock to `upto` first. A refund may consist
-- of two postings, by its payee and by `losses`; both have the same date.
CREATE OR REPLACE FUNCTION sum_up_postings(upto timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = halfminute, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE low timestamptz; high timestamptz; today date;
BEGIN
    SELECT through INTO low FROM figures FOR UPDATE;
    today := (low AT TIME ZONE 'UTC')::date;
    high := least(upto, (today + 1)::timestamp AT TIME ZONE 'UTC');
    IF high <= low THEN RETURN low; END IF;
    WITH fresh AS MATERIALIZED (
        SELECT kind, room_id, tokens, content, debit_wallet FROM journal WHERE created_at >= low AND created_at < high
    ), given_back AS MATERIALIZED (
        SELECT o.kind, o.room_id, f.content, f.tokens, f.debit_wallet
          FROM fresh f, LATERAL (SELECT j.kind, j.room_id FROM journal j WHERE j.key = f.content OFFSET 0) o
         WHERE f.kind = 6
    ), kinds AS (
        INSERT INTO day_postings AS d
        SELECT today, k.kind, sum(k.postings), sum(k.tokens), sum(k.refunds), sum(k.refunded) FROM (
            SELECT kind, count(*) AS postings, sum(tokens) AS tokens, 0 AS refunds, 0 AS refunded FROM fresh GROUP BY kind
            UNION ALL
            SELECT kind, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back GROUP BY kind
            UNION ALL
            SELECT 8, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back
             WHERE kind = 3 AND debit_wallet <> '00000000-0000-7000-8000-000000000005' HAVING count(*) > 0) k
         GROUP BY k.kind
        ON CONFLICT (day, kind) DO UPDATE
               SET postings = d.postings + excluded.postings, tokens = d.tokens + excluded.tokens,
                   refunds = d.refunds + excluded.refunds, refunded_tokens = d.refunded_tokens + excluded.refunded_tokens
    )
    INSERT INTO day_room_tips AS d
    SELECT today, t.room_id, sum(t.tips), sum(t.tokens), sum(t.refunds), sum(t.refunded) FROM (
        SELECT room_id, count(*) AS tips, sum(tokens) AS tokens, 0 AS refunds, 0 AS refunded FROM fresh
         WHERE kind = 2 AND room_id IS NOT NULL GROUP BY room_id
        UNION ALL
        SELECT room_id, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back
         WHERE kind = 2 AND room_id IS NOT NULL GROUP BY room_id) t
     GROUP BY t.room_id
    ON CONFLICT (day, room_id) DO UPDATE
           SET tips = d.tips + excluded.tips, tokens = d.tokens + excluded.tokens,
               refunds = d.refunds + excluded.refunds, refunded_tokens = d.refunded_tokens + excluded.refunded_tokens;
    UPDATE figures SET through = high;
    RETURN high;
END $$;

-- Refunds of the days that are summed already.
CREATE TEMP TABLE given_back ON COMMIT DROP AS
    SELECT (r.created_at AT TIME ZONE 'UTC')::date AS day, o.kind, o.room_id, r.content, r.tokens,
           r.debit_wallet <> '00000000-0000-7000-8000-000000000005' AS was_released
      FROM journal r JOIN journal o ON o.key = r.content, figures f WHERE r.kind = 6 AND r.created_at < f.through;
INSERT INTO day_postings AS d (day, kind, postings, tokens, refunds, refunded_tokens)
    SELECT day, kind, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back GROUP BY day, kind
    UNION ALL
    SELECT day, 8, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back WHERE kind = 3 AND was_released GROUP BY day
    ON CONFLICT (day, kind) DO UPDATE SET refunds = excluded.refunds, refunded_tokens = excluded.refunded_tokens;
INSERT INTO day_room_tips AS d (day, room_id, tips, tokens, refunds, refunded_tokens)
    SELECT day, room_id, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back
     WHERE kind = 2 AND room_id IS NOT NULL GROUP BY day, room_id
    ON CONFLICT (day, room_id) DO UPDATE SET refunds = excluded.refunds, refunded_tokens = excluded.refunded_tokens;

-- Figures of users ---------------------------------------------------------------------------------------------------

-- All debts of a debtor, open or repaid; given_back reads them too.
CREATE INDEX debts_of_debtor ON debts (debtor, created_at DESC, advance_key DESC);
CREATE INDEX debts_open_newest ON debts (created_at DESC, advance_key DESC) WHERE repaid < tokens;
CREATE INDEX debts_repaid_newest ON debts (created_at DESC, advance_key DESC) WHERE repaid = tokens;

-- Returns the refunds that a payer received (side 'debit') or that concern a payee's earnings (side 'credit'): one row per
-- refund, with key, kind, room and counterparty of the refunded payment. The refunds are the wallet's entries above `low`
-- and up to `high`. Refunds that `losses` advanced are not entries of the payee's wallet, and are found by their dates.
CREATE FUNCTION given_back(wallet uuid, side text, low int, high int, since timestamptz, until timestamptz)
RETURNS TABLE (paid uuid, kind smallint, room_id uuid, counterparty uuid, credit_n int, tokens bigint, at timestamptz)
LANGUAGE plpgsql STABLE
    SET search_path = halfminute, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    IF side = 'debit' THEN                               -- the wallet is the payer's
        RETURN QUERY
        SELECT r.content, o.kind, o.room_id, o.credit_wallet, o.credit_n, r.tokens::bigint, r.created_at
          FROM (SELECT j.content, j.tokens, j.created_at FROM journal j
                 WHERE j.credit_wallet = wallet AND j.kind = 6 AND j.credit_n > low AND j.credit_n <= high) r,
               LATERAL (SELECT j.kind, j.room_id, j.credit_wallet, j.credit_n FROM journal j
                         WHERE j.key = r.content OFFSET 0) o
         WHERE o.kind <= 3;
    ELSE
        RETURN QUERY
        SELECT r.content, o.kind, o.room_id, o.debit_wallet, o.credit_n, r.tokens::bigint, r.created_at
          FROM (SELECT j.content, j.tokens, j.created_at FROM journal j
                 WHERE j.debit_wallet = wallet AND j.kind = 6 AND j.debit_n > low AND j.debit_n <= high
                UNION ALL
                SELECT a.content, d.tokens, d.created_at FROM debts d, LATERAL (
                       SELECT j.content FROM journal j WHERE j.key = d.advance_key OFFSET 0) a
                 WHERE d.debtor = wallet AND (since IS NULL OR d.created_at >= since)
                   AND (until IS NULL OR d.created_at < until)) r,
               LATERAL (SELECT j.kind, j.room_id, j.debit_wallet, j.credit_n FROM journal j
                         WHERE j.key = r.content OFFSET 0) o
         WHERE o.kind <= 3;
    END IF;
END $$;

-- Operators' actions -------------------------------------------------------------------------------------------------

-- Decisions about payments and reversals are stored here too, in their own transaction. `target_id` is NULL for a payment
-- of an unknown purchase. `key`: the operator's idempotency key, if the action has no posting.
ALTER TABLE operator_actions
    ALTER COLUMN target_id DROP NOT NULL,
    ADD COLUMN key uuid,
    DROP CONSTRAINT operator_actions_action_check,
    ADD CONSTRAINT operator_actions_action_check CHECK (action IN (
        'credit', 'refund', 'ban', 'lift_ban', 'pay_payout', 'reject_payout', 'credit_purchase', 'reject_payment',
        'release_reversal', 'unfreeze'));
CREATE INDEX operator_actions_of_kind ON operator_actions (action, created_at DESC, id DESC);

-- Earlier decisions. Their ids are derived from the object of the decision.
INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason, created_at)
    SELECT derived_key('settled payout', ARRAY[id]), settled_by,
           CASE settled_as WHEN 'paid' THEN 'pay_payout' ELSE 'reject_payout' END, creator_id, id, tokens - cut_tokens,
           note, settled_at
      FROM payouts WHERE settled_as IN ('paid', 'rejected')
    ON CONFLICT (id) DO NOTHING;
INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, reason, created_at)
    SELECT b.id, b.banned_by, 'ban', b.user_id, b.id, b.reason, b.created_at FROM bans b
     WHERE NOT EXISTS (SELECT FROM operator_actions a WHERE a.ref_id = b.id AND a.action = 'ban');
INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, tokens, reason, key, created_at)
    SELECT derived_key('settled payment', ARRAY[s.id]), s.operator_id,
           CASE s.action WHEN 'credit' THEN 'credit_purchase' ELSE 'reject_payment' END, p.user_id,
           coalesce(s.payment_id, s.purchase_id), CASE s.action WHEN 'credit' THEN p.tokens END, s.reason, s.key,
           s.created_at
      FROM payment_settlements s LEFT JOIN payments y ON y.id = s.payment_id
      LEFT JOIN purchases p ON p.id = coalesce(s.purchase_id, y.purchase_id) WHERE s.action IN ('credit', 'reject');
INSERT INTO operator_actions (id, operator_id, action, target_id, ref_id, reason, key, created_at)
    SELECT derived_key('settled reversal', ARRAY[s.id]), s.operator_id, 'release_reversal', p.user_id, s.reversal_id,
           s.reason, s.key, s.created_at
      FROM reversal_settlements s JOIN payment_reversals r ON r.id = s.reversal_id
      LEFT JOIN purchases p ON p.id = r.purchase_id;

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
