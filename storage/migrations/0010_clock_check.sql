-- The database dates postings. They are refused while its clock and the server's differ.

-- Raises HM008 if the server's clock, as it sent this statement, and the database's, as it received it, are more than
-- 5 s apart. A wait for the write lock is not counted: statement_timestamp() is the moment of arrival.
CREATE FUNCTION check_clock(server_at timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    apart numeric := extract(epoch FROM server_at - statement_timestamp());
BEGIN
    IF abs(apart) > 5 THEN
        RAISE EXCEPTION 'the clock of the server is % s % that of the database', round(abs(apart), 1),
            CASE WHEN apart > 0 THEN 'ahead of' ELSE 'behind' END USING ERRCODE = 'HM008';
    END IF;
    RETURN true;
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
