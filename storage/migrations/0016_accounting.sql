-- Exports, statements and balances for accountants.

-- The journal is exported in the order of its dates. The former index found blocks of rows by date, but in no order.
DROP INDEX journal_dates;
CREATE INDEX journal_dates ON journal (created_at);

-- Returns the balance of a wallet right after its entry `number`, NULL if there is no such entry.
CREATE FUNCTION balance_after(wallet uuid, kinds smallint[], number int) RETURNS bigint
LANGUAGE sql STABLE SET search_path = halfminute, pg_temp AS $$
    SELECT e.after FROM unnest(kinds) k, LATERAL (
        SELECT j.debit_after AS after FROM journal j
         WHERE j.debit_wallet = wallet AND j.kind = k AND j.debit_n = number
        UNION ALL
        SELECT j.credit_after FROM journal j
         WHERE j.credit_wallet = wallet AND j.kind = k AND j.credit_n = number
        LIMIT 1                                          -- one index lookup per kind, and no join
    ) e
$$;

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
