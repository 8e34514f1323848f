-- Several servers on one database: which server may claim a room, and which requests must be serialised.

-- Room owners --------------------------------------------------------------------------------------------------------

-- A server that stops in order sets this: its rooms can be claimed before its lease expires.
ALTER TABLE servers ADD COLUMN released boolean NOT NULL DEFAULT false;

-- Deleting a server's row must not update every room that it ever owned. A room whose owner has no row has no owner.
ALTER TABLE rooms DROP CONSTRAINT rooms_server_id_fkey;

-- The rooms of scheduled streams have no owner yet. They are many, and are not adopted.
DROP INDEX rooms_live;
CREATE INDEX rooms_live ON rooms (server_id) WHERE ended_at IS NULL AND opened;

DROP FUNCTION claim_rooms;

-- Returns the servers whose rooms may be claimed. `watched`: the claimant has renewed its own lease without a failure
-- for as long as a lease lasts, so an owner whose lease has expired had as long a time to renew it.
-- The owner's row stays locked until the claim commits: a lease that is renewed meanwhile is renewed after the claim,
-- and the owner that compares its epochs then sees it. An owner that is renewing right now is alive.
CREATE FUNCTION lock_lapsed_servers(claimant uuid, watched boolean) RETURNS uuid[]
LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT id FROM servers
                  WHERE id <> claimant AND (released OR (watched AND lease_expires_at <= clock_timestamp()))
                  ORDER BY id FOR UPDATE SKIP LOCKED);
END $$;

-- Claims one live room that is the claimant's own or has no owner with a valid lease. Each claim is a new epoch.
CREATE FUNCTION claim_room(claimant uuid, claimed uuid, watched boolean)
RETURNS TABLE (room_id uuid, room_kind text, room_epoch int) LANGUAGE plpgsql SET search_path = halfminute, pg_temp
    -- Read the index rooms_live: the planner would scan the rows of all rooms, of which few are live.
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE lapsed uuid[];
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    lapsed := lock_lapsed_servers(claimant, watched);
    RETURN QUERY
    UPDATE rooms r SET epoch = r.epoch + 1, server_id = claimant
     WHERE r.id = claimed AND r.ended_at IS NULL AND r.opened
       AND (r.server_id IS NULL OR r.server_id = claimant OR r.server_id = ANY (lapsed)
            OR NOT EXISTS (SELECT FROM servers o WHERE o.id = r.server_id))
    RETURNING r.id, r.kind, r.epoch;
END $$;

-- Claims at most `most` live rooms without an owner that has a valid lease. `alone`: the claimant knows that no other
-- server runs.
CREATE FUNCTION claim_orphans(claimant uuid, watched boolean, alone boolean, most int)
RETURNS TABLE (room_id uuid, room_kind text, room_epoch int) LANGUAGE plpgsql SET search_path = halfminute, pg_temp
    -- Read the index rooms_live: the planner would scan the rows of all rooms, of which few are live.
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE lapsed uuid[];
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    lapsed := lock_lapsed_servers(claimant, watched);
    RETURN QUERY
    UPDATE rooms r SET epoch = r.epoch + 1, server_id = claimant
      FROM (SELECT o.id FROM rooms o
             WHERE o.ended_at IS NULL AND o.opened AND o.server_id IS DISTINCT FROM claimant
               AND (alone OR o.server_id IS NULL OR o.server_id = ANY (lapsed)
                    OR NOT EXISTS (SELECT FROM servers s WHERE s.id = o.server_id))
             LIMIT most) f
     WHERE r.id = f.id
    RETURNING r.id, r.kind, r.epoch;
END $$;

-- Active time never decreases ----------------------------------------------------------------------------------------

-- As in save_stream: a delayed record must not undo a later checkpoint.
CREATE OR REPLACE FUNCTION save_call(
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
    UPDATE meters m SET active_us = greatest(m.active_us, active) WHERE m.room_id = call;
    IF ended IS NOT NULL THEN
        UPDATE rooms SET ended_at = ended WHERE id = call;
    END IF;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION checkpoint_meters(r uuid[], owner_epoch int[], payer uuid[], active bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = halfminute, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    -- The commit does not wait for the disk, so that blocks do not wait behind it. A crash may lose the last second.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE meters m SET active_us = greatest(m.active_us, active[i])
      FROM generate_series(1, cardinality(r)) i JOIN rooms s ON s.id = r[i] AND s.epoch = owner_epoch[i]
     WHERE m.room_id = r[i] AND m.payer_id = payer[i] AND s.ended_at IS NULL;
END $$;

-- Live or in a call, not both ----------------------------------------------------------------------------------------

-- Both triggers lock the users concerned, in the order of their ids, before they read. If two requests would make a user
-- live and a party to a call, the second waits for the first and then reads its result.
CREATE OR REPLACE FUNCTION occupy_parties() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    IF NEW.ended_at IS NULL THEN
        PERFORM 1 FROM users WHERE supabase_id IN (NEW.fan_id, NEW.creator_id) ORDER BY supabase_id FOR NO KEY UPDATE;
        IF EXISTS (SELECT FROM streams s WHERE s.creator_id IN (NEW.fan_id, NEW.creator_id) AND s.status = 'live') THEN
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

CREATE FUNCTION refuse_live_in_a_call() RETURNS trigger LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM users WHERE supabase_id = NEW.creator_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM users_in_calls WHERE user_id = NEW.creator_id) THEN
        RAISE EXCEPTION 'a user who is in a call cannot be live'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'live_or_in_a_call';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER streams_go_live_alone BEFORE UPDATE OF status ON streams FOR EACH ROW
    WHEN (OLD.status <> 'live' AND NEW.status = 'live') EXECUTE FUNCTION refuse_live_in_a_call();
CREATE TRIGGER streams_begin_live_alone BEFORE INSERT ON streams FOR EACH ROW
    WHEN (NEW.status = 'live') EXECUTE FUNCTION refuse_live_in_a_call();

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
