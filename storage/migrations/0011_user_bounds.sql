-- Indexes for limits per user: scheduled streams, unpaid checkouts, reports.

CREATE INDEX streams_scheduled ON streams (creator_id) WHERE status = 'scheduled';
CREATE INDEX purchases_pending_of_user ON purchases (user_id) WHERE status = 'pending';
CREATE INDEX reports_of_reporter ON reports (reporter_id, created_at DESC);

-- A strict function is not called with a NULL argument, and its privileges are then not checked.
ALTER FUNCTION derived_key(text, uuid[]) CALLED ON NULL INPUT;

-- Only the owner of the schema has privileges ------------------------------------------------------------------------
-- Includes functions that earlier migrations have created again.

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
