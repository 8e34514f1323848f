-- The record of operators' reads of personal data, and indexes for their searches.

-- One row for each user whose data an operator read; `user_id` is NULL for a list or a search that is not about one user.
-- `route` is the path as it is declared, `room_id` the call or stream. Without foreign keys: a filter may name any id.
CREATE TABLE personal_reads (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    operator_id uuid NOT NULL,
    user_id     uuid,
    route       text NOT NULL CHECK (length(route) BETWEEN 1 AND 200),
    room_id     uuid,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX personal_reads_newest ON personal_reads (created_at DESC, id DESC);
CREATE INDEX personal_reads_of_operator ON personal_reads (operator_id, created_at DESC, id DESC);
CREATE INDEX personal_reads_about ON personal_reads (user_id, created_at DESC, id DESC) WHERE user_id IS NOT NULL;
CREATE INDEX personal_reads_of_route ON personal_reads (route, created_at DESC, id DESC);
CREATE TRIGGER personal_reads_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON personal_reads
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('what operators read is append-only');

-- Names are found by their beginning, without regard to case: a range of this index, whatever the collation.
CREATE INDEX users_by_name ON users (lower(display_name) text_pattern_ops);
CREATE INDEX users_newest ON users (created_at DESC, supabase_id DESC);
CREATE INDEX bans_of_user ON bans (user_id, created_at DESC, id DESC);

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
