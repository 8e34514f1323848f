-- Figures by quarter of an hour instead of by UTC day, so that they can be summed by the days of any time zone: the
-- offsets of all zones are multiples of a quarter of an hour.

-- Postings ------------------------------------------------------------------------------------------------------------

-- Sums of days cannot be split. The next reads of the overview sum the journal again, as those of a new installation on
-- an old database do.
DROP TABLE day_postings, day_room_tips;
CREATE TABLE quarter_postings (
    quarter         timestamptz NOT NULL,
    kind            smallint NOT NULL,
    postings        bigint NOT NULL,
    tokens          bigint NOT NULL,
    refunds         bigint NOT NULL,
    refunded_tokens bigint NOT NULL,
    PRIMARY KEY (quarter, kind)
);
CREATE TABLE quarter_room_tips (
    quarter         timestamptz NOT NULL,
    room_id         uuid NOT NULL,
    tips            bigint NOT NULL,
    tokens          bigint NOT NULL,
    refunds         bigint NOT NULL,
    refunded_tokens bigint NOT NULL,
    PRIMARY KEY (quarter, room_id)
);
UPDATE figures SET through = least(through, (SELECT min(created_at) FROM journal));

-- Adds the postings dated before `upto` to the figures, at most to the end of one day; returns up to when they are summed.
-- No later posting has such a date: the caller has set `booked_at` of the write lock to `upto` first. A refund may consist
-- of two postings, by its payee and by `losses`; both have the same date.
CREATE OR REPLACE FUNCTION sum_up_postings(upto timestamptz) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = halfminute, pg_temp SET enable_seqscan = off SET enable_indexscan = off AS $$
DECLARE low timestamptz; high timestamptz;
BEGIN
    SELECT through INTO low FROM figures FOR UPDATE;
    high := least(upto, ((low AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC');
    IF high <= low THEN RETURN low; END IF;
    WITH fresh AS MATERIALIZED (
        SELECT date_bin('15 minutes', created_at, '2000-01-01 00:00:00+00') AS quarter, kind, room_id, tokens, content,
               debit_wallet
          FROM journal WHERE created_at >= low AND created_at < high
    ), given_back AS MATERIALIZED (
        SELECT f.quarter, o.kind, o.room_id, f.content, f.tokens, f.debit_wallet
          FROM fresh f, LATERAL (SELECT j.kind, j.room_id FROM journal j WHERE j.key = f.content OFFSET 0) o
         WHERE f.kind = 6
    ), kinds AS (
        INSERT INTO quarter_postings AS d
        SELECT k.quarter, k.kind, sum(k.postings), sum(k.tokens), sum(k.refunds), sum(k.refunded) FROM (
            SELECT quarter, kind, count(*) AS postings, sum(tokens) AS tokens, 0 AS refunds, 0 AS refunded FROM fresh
             GROUP BY quarter, kind
            UNION ALL
            SELECT quarter, kind, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back GROUP BY quarter, kind
            UNION ALL
            SELECT quarter, 8, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back
             WHERE kind = 3 AND debit_wallet <> '00000000-0000-7000-8000-000000000005' GROUP BY quarter) k
         GROUP BY k.quarter, k.kind
        ON CONFLICT (quarter, kind) DO UPDATE
               SET postings = d.postings + excluded.postings, tokens = d.tokens + excluded.tokens,
                   refunds = d.refunds + excluded.refunds, refunded_tokens = d.refunded_tokens + excluded.refunded_tokens
    )
    INSERT INTO quarter_room_tips AS d
    SELECT t.quarter, t.room_id, sum(t.tips), sum(t.tokens), sum(t.refunds), sum(t.refunded) FROM (
        SELECT quarter, room_id, count(*) AS tips, sum(tokens) AS tokens, 0 AS refunds, 0 AS refunded FROM fresh
         WHERE kind = 2 AND room_id IS NOT NULL GROUP BY quarter, room_id
        UNION ALL
        SELECT quarter, room_id, 0, 0, count(DISTINCT content), sum(tokens) FROM given_back
         WHERE kind = 2 AND room_id IS NOT NULL GROUP BY quarter, room_id) t
     GROUP BY t.quarter, t.room_id
    ON CONFLICT (quarter, room_id) DO UPDATE
           SET tips = d.tips + excluded.tips, tokens = d.tokens + excluded.tokens,
               refunds = d.refunds + excluded.refunds, refunded_tokens = d.refunded_tokens + excluded.refunded_tokens;
    UPDATE figures SET through = high;
    RETURN high;
END $$;

-- Calls ---------------------------------------------------------------------------------------------------------------

-- Calls by the quarter of an hour in which they ended. Each transaction that ends a room holds the write lock, also for
-- this count.
CREATE TABLE quarter_calls (
    quarter   timestamptz PRIMARY KEY,
    calls     bigint NOT NULL,
    answered  bigint NOT NULL,
    active_us bigint NOT NULL
);
INSERT INTO quarter_calls
    SELECT date_bin('15 minutes', r.ended_at, '2000-01-01 00:00:00+00'), count(*), count(c.started_at), coalesce(sum(m.active_us), 0)
      FROM rooms r JOIN calls c ON c.id = r.id LEFT JOIN meters m ON m.room_id = c.id AND m.payer_id = c.fan_id
     WHERE r.ended_at IS NOT NULL GROUP BY 1;
DROP TABLE day_calls;

CREATE OR REPLACE FUNCTION count_ended_call() RETURNS trigger LANGUAGE plpgsql
SET search_path = halfminute, pg_temp AS $$
BEGIN
    INSERT INTO quarter_calls AS q
    SELECT date_bin('15 minutes', NEW.ended_at, '2000-01-01 00:00:00+00'), 1, (c.started_at IS NOT NULL)::int,
           coalesce((SELECT m.active_us FROM meters m WHERE m.room_id = c.id AND m.payer_id = c.fan_id), 0)
      FROM calls c WHERE c.id = NEW.id
    ON CONFLICT (quarter) DO UPDATE SET calls = q.calls + 1, answered = q.answered + excluded.answered,
                                        active_us = q.active_us + excluded.active_us;
    RETURN NULL;
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
