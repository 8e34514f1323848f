-- Chargebacks, and refunds that a provider made. The buyer's wallet is frozen until an operator decides.

-- The provider's id of a payment, to which its refunds and chargebacks refer.
ALTER TABLE payments ADD COLUMN intent_id text NOT NULL DEFAULT '' CHECK (length(intent_id) <= 255);
CREATE INDEX payments_of_intent ON payments (provider, intent_id) WHERE intent_id <> '';

ALTER TABLE purchases ADD COLUMN reversed_as text CHECK (reversed_as IN ('refund', 'chargeback'));

-- One row for each charge that was refunded, and for each chargeback. `open` waits for an operator; `expected` is of a
-- payment that had not been credited, such as the second one of a purchase.
CREATE TABLE payment_reversals (
    id           uuid PRIMARY KEY,
    provider     text NOT NULL CHECK (length(provider) BETWEEN 1 AND 40),
    kind         text NOT NULL CHECK (kind IN ('refund', 'chargeback')),
    reversal_id  text NOT NULL CHECK (length(reversal_id) BETWEEN 1 AND 255), -- the provider's id of it
    event_id     text NOT NULL CHECK (length(event_id) <= 255),
    intent_id    text NOT NULL CHECK (length(intent_id) <= 255),
    purchase_id  uuid REFERENCES purchases (id) ON DELETE RESTRICT,           -- NULL: no known purchase
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    currency     text NOT NULL CHECK (length(currency) <= 16),
    state        text NOT NULL CHECK (length(state) <= 40),                   -- as the provider calls it
    status       text NOT NULL CHECK (status IN ('open', 'expected', 'released')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_row_a_reversal UNIQUE (provider, kind, reversal_id)
);
CREATE INDEX payment_reversals_newest ON payment_reversals (created_at DESC, id DESC);
CREATE INDEX payment_reversals_open ON payment_reversals (created_at DESC, id DESC) WHERE status = 'open';
CREATE INDEX payment_reversals_of_purchase ON payment_reversals (purchase_id) WHERE purchase_id IS NOT NULL;

CREATE TABLE reversal_settlements (
    id          uuid PRIMARY KEY,
    reversal_id uuid NOT NULL REFERENCES payment_reversals (id) ON DELETE RESTRICT,
    action      text NOT NULL CHECK (action = 'release'),
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    operator_id uuid NOT NULL REFERENCES users (supabase_id) ON DELETE RESTRICT,
    key         uuid,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reversal_settlements_of_reversal ON reversal_settlements (reversal_id, created_at);
CREATE TRIGGER reversal_settlements_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reversal_settlements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('settlements are append-only');

-- Frozen wallets, with the daily limits that their owners had set before. While a wallet is frozen, its limit in
-- spend_limits is -1 tokens a day. The batch statement checks it like any other limit, also for postings in flight.
CREATE TABLE wallet_freezes (
    user_id      uuid PRIMARY KEY REFERENCES users (supabase_id) ON DELETE RESTRICT,
    daily_tokens bigint,                                  -- NULL: no limit of their own
    next_tokens  bigint,
    next_at      timestamptz,
    frozen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE spend_limits DROP CONSTRAINT spend_limits_daily_tokens_check;
ALTER TABLE spend_limits ADD CONSTRAINT spend_limits_daily_tokens_check
    CHECK (daily_tokens BETWEEN -1 AND 9007199254740991);

ALTER FUNCTION set_spend_limit(uuid, bigint) RENAME TO set_limit_in_force;

CREATE FUNCTION freeze_wallet(owner uuid) RETURNS void LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    INSERT INTO wallet_freezes (user_id, daily_tokens, next_tokens, next_at)
        SELECT owner, l.daily_tokens, l.next_tokens, l.next_at
          FROM (VALUES (owner)) o (id) LEFT JOIN spend_limits l ON l.user_id = o.id
            ON CONFLICT (user_id) DO NOTHING;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM set_limit_in_force(owner, 0);                 -- counts what was spent today, also without a limit before
    UPDATE spend_limits SET daily_tokens = -1, next_tokens = NULL, next_at = NULL WHERE user_id = owner;
END $$;

CREATE FUNCTION thaw_wallet(owner uuid) RETURNS void LANGUAGE plpgsql SET search_path = halfminute, pg_temp AS $$
DECLARE own record;
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    DELETE FROM wallet_freezes WHERE user_id = owner RETURNING * INTO own;
    IF NOT FOUND THEN RETURN; END IF;
    IF own.daily_tokens IS NOT NULL THEN
        UPDATE spend_limits SET daily_tokens = own.daily_tokens, next_tokens = own.next_tokens, next_at = own.next_at
         WHERE user_id = owner;
        RETURN;
    END IF;
    DELETE FROM spend_limits WHERE user_id = owner;
    PERFORM set_config('halfminute.booking', 'on', true);
    UPDATE wallets SET limited = false WHERE id = owner;
    PERFORM set_config('halfminute.booking', '', true);
END $$;

-- As before; for a frozen wallet it sets the limit that takes effect when the freeze ends.
CREATE FUNCTION set_spend_limit(owner uuid, wanted bigint) RETURNS void LANGUAGE plpgsql
    SET search_path = halfminute, pg_temp AS $$
DECLARE own record; in_force bigint; now_at timestamptz := clock_timestamp();
BEGIN
    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;
    SELECT * INTO own FROM wallet_freezes WHERE user_id = owner;
    IF NOT FOUND THEN
        PERFORM set_limit_in_force(owner, wanted);
        RETURN;
    END IF;
    in_force := CASE WHEN own.next_at <= now_at THEN own.next_tokens ELSE own.daily_tokens END;
    IF in_force IS NULL OR wanted <= in_force THEN
        UPDATE wallet_freezes SET daily_tokens = wanted, next_tokens = NULL, next_at = NULL WHERE user_id = owner;
    ELSIF (own.next_at > now_at AND own.next_tokens IS NOT DISTINCT FROM wanted) IS NOT TRUE THEN
        UPDATE wallet_freezes SET daily_tokens = in_force, next_tokens = wanted, next_at = now_at + interval '24 hours'
         WHERE user_id = owner;
    END IF;
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
