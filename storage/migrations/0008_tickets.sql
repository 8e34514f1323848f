-- Tickets: how long a stream's creator was present, tickets that are due for a refund, streams that were never started.

-- `return_key`: the ticket with this posting is due for a refund. `uncovered_key`: its creator's balance did not cover the
-- refund, and a report to the operators was stored. Both are keys of postings, so that they do not concern a ticket that
-- the viewer buys later.
ALTER TABLE stream_tickets
    ADD COLUMN return_key    uuid,
    ADD COLUMN uncovered_key uuid;
CREATE INDEX tickets_to_return ON stream_tickets (stream_id)
    WHERE refunded_at IS NULL AND return_key = posting_key AND uncovered_key IS DISTINCT FROM posting_key;

-- `expired`: the stream was not started in time.
ALTER TABLE streams
    DROP CONSTRAINT streams_end_reason_check,
    ADD CONSTRAINT streams_end_reason_check
        CHECK (end_reason IN ('ended', 'owner_lost', 'server_fault', 'admin', 'cancelled', 'expired'));

-- A report without a reporter was made by the server.
ALTER TABLE reports ALTER COLUMN reporter_id DROP NOT NULL;

-- Before, tickets were credited to creators as they were sold: releases equal sales.
INSERT INTO day_postings (day, kind, postings, tokens)
    SELECT day, 8, postings, tokens FROM day_postings WHERE kind = 3;
INSERT INTO day_postings AS d (day, kind, postings, tokens)
    SELECT (j.created_at AT TIME ZONE 'UTC')::date, 8, count(*), sum(j.tokens)
      FROM journal j, figures f WHERE j.kind = 3 AND j.created_at >= f.through GROUP BY 1
    ON CONFLICT (day, kind) DO UPDATE SET postings = d.postings + excluded.postings, tokens = d.tokens + excluded.tokens;

-- Stores the state of a stream and the active time of its viewers' meters. Returns false, and stores nothing, if the room
-- has a later epoch. The last record ends the room. Tickets of removed viewers become due for a refund.
DROP FUNCTION save_stream;
CREATE FUNCTION save_stream(
    stream uuid, owner_epoch int, new_status text, ended timestamptz, reason text, now_muted uuid[], now_removed uuid[],
    payer uuid[], active bigint[], present bigint
) RETURNS boolean LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    PERFORM 1 FROM rooms WHERE id = stream AND epoch = owner_epoch AND ended_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    -- Times never decrease: a delayed record must not undo a later one.
    UPDATE streams SET status = new_status, ended_at = ended, end_reason = reason, muted = now_muted,
                       removed = now_removed, present_us = greatest(present_us, present)
     WHERE id = stream;
    UPDATE meters m SET active_us = greatest(m.active_us, active[i]) FROM generate_series(1, cardinality(payer)) i
     WHERE m.room_id = stream AND m.payer_id = payer[i];
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

-- Stores how long the creators of live streams have been present, for rooms that still have this epoch.
CREATE FUNCTION checkpoint_presence(stream uuid[], owner_epoch int[], present bigint[]) RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    -- As in checkpoint_meters: the commit does not wait for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE streams s SET present_us = greatest(s.present_us, present[i])
      FROM generate_series(1, cardinality(stream)) i JOIN rooms r ON r.id = stream[i] AND r.epoch = owner_epoch[i]
     WHERE s.id = stream[i] AND r.ended_at IS NULL;
END $$;

-- A creator blocks a user. The user's tickets to this creator's streams become due for a refund, unless the stream has
-- ended.
CREATE FUNCTION block_user(creator uuid, blocked uuid) RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    INSERT INTO creator_blocks (creator_id, user_id) VALUES (creator, blocked) ON CONFLICT DO NOTHING;
    UPDATE stream_tickets t SET return_key = t.posting_key
      FROM (SELECT unnest(ARRAY['scheduled', 'live']) AS status) w JOIN streams s ON s.status = w.status
     WHERE s.creator_id = creator AND t.stream_id = s.id AND t.user_id = blocked AND t.refunded_at IS NULL
       AND t.return_key IS DISTINCT FROM t.posting_key;
END $$;

-- A ticket that is sold while its buyer is being removed or blocked is due for a refund too.
CREATE FUNCTION return_ticket_of_the_unwelcome() RETURNS trigger LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp AS $$
BEGIN
    IF (SELECT NEW.user_id = ANY (s.removed)
               OR EXISTS (SELECT FROM creator_blocks b WHERE b.creator_id = s.creator_id AND b.user_id = NEW.user_id)
          FROM streams s WHERE s.id = NEW.stream_id) THEN
        NEW.return_key := NEW.posting_key;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stream_tickets_of_the_unwelcome BEFORE INSERT OR UPDATE OF posting_key ON stream_tickets
    FOR EACH ROW EXECUTE FUNCTION return_ticket_of_the_unwelcome();

-- Stores one report for each ticket that is due for a refund and that its creator's balance does not cover; returns how
-- many are new.
CREATE FUNCTION report_uncovered_tickets(paid uuid[], why text) RETURNS int LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE reported int;
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    WITH uncovered AS (
        UPDATE stream_tickets t SET uncovered_key = t.posting_key
         WHERE t.posting_key = ANY (paid) AND t.refunded_at IS NULL AND t.uncovered_key IS DISTINCT FROM t.posting_key
        RETURNING t.*)
    INSERT INTO reports (id, user_id, room_id, reason)
    SELECT derived_key('uncovered ticket', ARRAY[u.posting_key]), s.creator_id, u.stream_id,
           format('Ticket %s of user %s (%s tokens) was not given back, though %s: the creator''s balance does not cover it.',
                  u.ticket_id, u.user_id, u.price_tokens, why)
      FROM uncovered u JOIN streams s ON s.id = u.stream_id
        ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS reported = ROW_COUNT;
    RETURN reported;
END $$;

-- Ends at most `most` streams that were not started within `days` days after they were announced; returns their ids.
CREATE FUNCTION expire_streams(days int, most int) RETURNS uuid[] LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp SET enable_seqscan = off AS $$
DECLARE expired uuid[];
BEGIN
    IF NOT EXISTS (SELECT FROM streams s WHERE s.status = 'scheduled'
                      AND s.created_at < clock_timestamp() - make_interval(days => days)) THEN
        RETURN '{}';                                     -- the usual case, without the write lock
    END IF;
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    WITH late AS (
        UPDATE streams SET status = 'ended', ended_at = clock_timestamp(), end_reason = 'expired'
         WHERE status = 'scheduled' AND id IN (
               SELECT s.id FROM streams s WHERE s.status = 'scheduled'
                  AND s.created_at < clock_timestamp() - make_interval(days => days)
                ORDER BY s.created_at LIMIT most)
        RETURNING id, ended_at
    ), closed AS (
        UPDATE rooms r SET ended_at = l.ended_at FROM late l WHERE r.id = l.id
    )
    SELECT coalesce(array_agg(id), '{}') INTO expired FROM late;
    RETURN expired;
END $$;

-- Only the owner of the schema has privileges ------------------------------------------------------------------------

DO $$
DECLARE someone text;
BEGIN
    FOREACH someone IN ARRAY ARRAY['PUBLIC', 'anon', 'authenticated'] LOOP
        IF someone = 'PUBLIC' OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = someone) THEN
            EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA halfminute FROM %s', someone);
        END IF;
    END LOOP;
END $$;
