-- Payments that a provider reported, credited or not; operators' decisions about those that were not credited; and sums of
-- blocks by the days of any time zone.

-- accepted: the purchase is to be credited; its posting is committed or will be. Set once.
-- paid_twice: a second checkout of this purchase was paid as well.
ALTER TABLE purchases
    ADD COLUMN accepted   boolean NOT NULL DEFAULT false,
    ADD COLUMN paid_twice boolean NOT NULL DEFAULT false;
CREATE INDEX purchases_newest ON purchases (created_at DESC, id DESC);
CREATE INDEX purchases_by_status ON purchases (status, created_at DESC, id DESC);
CREATE INDEX purchases_paid_twice ON purchases (created_at DESC, id DESC) WHERE paid_twice;
CREATE INDEX purchases_to_credit ON purchases (created_at) WHERE accepted AND status <> 'paid';

-- One row for each checkout that was paid. `open` waits for an operator, and `problem` says why.
CREATE TABLE payments (
    id           uuid PRIMARY KEY,
    provider     text NOT NULL CHECK (length(provider) BETWEEN 1 AND 40),
    checkout_id  text NOT NULL CHECK (length(checkout_id) BETWEEN 1 AND 255),
    event_id     text NOT NULL CHECK (length(event_id) <= 255),
    reference    text NOT NULL DEFAULT '' CHECK (length(reference) <= 255), -- the purchase's id, as the provider returned it
    purchase_id  uuid REFERENCES purchases (id) ON DELETE RESTRICT,         -- NULL: no known purchase
    amount_cents bigint CHECK (amount_cents >= 0),                          -- NULL: it was not stored
    currency     text NOT NULL DEFAULT '' CHECK (length(currency) <= 16),
    status       text NOT NULL CHECK (status IN ('accepted', 'open', 'rejected')),
    problem      text CHECK (problem IN ('unknown', 'wrong_amount', 'paid_twice', 'not_credited')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_payment_a_checkout UNIQUE (provider, checkout_id),
    CONSTRAINT accepted_payments_have_a_purchase CHECK (status <> 'accepted' OR purchase_id IS NOT NULL),
    CONSTRAINT other_payments_have_a_problem CHECK (status = 'accepted' OR problem IS NOT NULL)
);
CREATE UNIQUE INDEX one_accepted_payment_a_purchase ON payments (purchase_id) WHERE status = 'accepted';
CREATE INDEX payments_of_purchase ON payments (purchase_id, created_at DESC, id DESC) WHERE purchase_id IS NOT NULL;
CREATE INDEX payments_newest ON payments (created_at DESC, id DESC);
CREATE INDEX payments_open ON payments (created_at DESC, id DESC) WHERE status = 'open';
CREATE INDEX payments_rejected ON payments (created_at DESC, id DESC) WHERE status = 'rejected';

-- Before, an amount other than the price was only logged.
INSERT INTO payments (id, provider, checkout_id, event_id, reference, purchase_id, status, problem, created_at)
    SELECT id, provider, coalesce(checkout_id, 'purchase ' || id), 'not kept', id::text, id, 'open', 'wrong_amount', created_at
      FROM purchases WHERE status = 'review';

-- Operators' decisions with their reasons. `not_booked` follows a credit that the ledger refused.
CREATE TABLE payment_settlements (
    id          uuid PRIMARY KEY,
    payment_id  uuid REFERENCES payments (id) ON DELETE RESTRICT,
    purchase_id uuid REFERENCES purchases (id) ON DELETE RESTRICT,
    action      text NOT NULL CHECK (action IN ('credit', 'reject', 'not_booked')),
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    operator_id uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    key         uuid,                                     -- the operator's idempotency key, if there was one
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT settlements_are_about_something CHECK (payment_id IS NOT NULL OR purchase_id IS NOT NULL)
);
CREATE INDEX payment_settlements_of_payment ON payment_settlements (payment_id, created_at) WHERE payment_id IS NOT NULL;
CREATE INDEX payment_settlements_of_purchase ON payment_settlements (purchase_id, created_at)
    WHERE purchase_id IS NOT NULL;
CREATE TRIGGER payment_settlements_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_settlements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('settlements are append-only');

-- As sum_blocks, by the days of a time zone. An instant has one local date in it, also on days of 23 or 25 hours.
CREATE FUNCTION sum_blocks_by_day(wallet uuid, side text, low int, high int, zone text)
RETURNS TABLE (day date, blocks bigint, tokens bigint) LANGUAGE plpgsql STABLE
    SET search_path = halfminute, pg_temp SET enable_seqscan = off AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT (created_at AT TIME ZONE $4)::date, count(*), sum(tokens)::bigint FROM journal
          WHERE %1$I = $1 AND kind = 1 AND %2$I > $2 AND %2$I <= $3 GROUP BY 1',
        side || '_wallet', side || '_n'
    ) USING wallet, low, high, zone;
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
