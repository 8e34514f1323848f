-- Bounds on what one user may leave behind: streams that wait, checkouts that are not paid, reports.

CREATE INDEX streams_scheduled ON streams (creator_id) WHERE status = 'scheduled';
CREATE INDEX purchases_pending_of_user ON purchases (user_id) WHERE status = 'pending';
CREATE INDEX reports_of_reporter ON reports (reporter_id, created_at DESC);

-- A strict function with a NULL is not called, so that nobody is asked whether they may.
ALTER FUNCTION derived_key(text, uuid[]) CALLED ON NULL INPUT;

-- Nobody but the owner ----------------------------------------------------------------------------------------------
-- Also what earlier migrations have made anew since the last time.

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
