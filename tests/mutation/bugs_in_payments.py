"""Guards of the money that comes from outside, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

PAYMENTS, DESK = "storage/market/payments.py", "server/money/payments/service.py"
BILLING_TESTS = "tests/server/rest/test_billing.py"
LIMIT_TESTS = "tests/server/rest/test_limits.py"
REVERSAL_TESTS = "tests/server/rest/test_admin_reversals.py"
SETTLEMENTS = "storage/market/payment_settlements.py"
SETTLEMENT_TESTS = "tests/server/rest/test_admin_payments.py"
PAYMENT_TESTS = "tests/server/rest/test_payments.py"

IN_PAYMENTS = (
    Bug(
        "paid-twice",
        "the second paid checkout of one purchase is a problem",
        "a buyer has paid twice and nobody knows",
        (Edit(PAYMENTS, "if paid_by != reported.checkout_id:", "if paid_by is None:"),),
        f"{PAYMENT_TESTS}::test_a_second_payment_of_one_purchase_is_reported_to_the_operators",
        "AssertionError",
        "no payment is counted as paid twice",
    ),
    Bug(
        "purchase-lock",
        "a payment is decided under a lock of its purchase",
        "two payments at once are both said to be the one that pays",
        (Edit("storage/market/purchases.py", " WHERE p.id = $1 FOR NO KEY UPDATE", " WHERE p.id = $1"),),
        f"{PAYMENT_TESTS}::test_two_payments_of_one_purchase_wait_for_each_other_before_either_is_decided",
        "FAILED",
        "the second payment meets the database's own constraint, and its event is not answered in time",
    ),
    Bug(
        "one-checkout",
        "a checkout that was accepted pays for its own purchase alone",
        "one payment credits two purchases",
        (
            Edit(
                PAYMENTS,
                'return Verdict(None if same else "unknown", False, purchase)',
                "return Verdict(None, False, purchase)",
            ),
        ),
        f"{PAYMENT_TESTS}::test_one_checkout_pays_for_one_purchase_whatever_its_events_name",
        "AssertionError",
        "the balance is 200",
    ),
    Bug(
        "probe-limit",
        "probes do not count against the address that they share with clients",
        "a balancer's probes get 429, and the server gets no more work",
        (Edit("server/rest/dispatch.py", 'self._limits.get(incoming.endpoint or "", "address")', '"address"'),),
        f"{LIMIT_TESTS}::test_probes_of_an_address_without_requests_left_are_answered",
        "AssertionError",
        "a probe is answered 429",
    ),
    Bug(
        "right-proof",
        "of a webhook's requests only those with a wrong proof are counted",
        "strangers who send wrong secrets lock out the cron and the payment provider",
        (Edit("server/rest/dispatch.py", 'None if limit == "proof" else await', "await"),),
        f"{LIMIT_TESTS}::test_the_cron_is_never_limited_and_wrong_secrets_are_without_locking_it_out",
        "AssertionError",
        "a right secret is answered 429",
    ),
    Bug(
        "event-bound",
        "a payment provider's event has a bound of its own",
        "a large event is refused, and sent again for days",
        (Edit("server/rest/http/bodies.py", "return self._larger.get(path, self._usual)", "return self._usual"),),
        f"{PAYMENT_TESTS}::test_a_large_event_of_another_type_is_acknowledged_and_so_is_a_large_payment",
        "413",
        "it is answered 413",
    ),
    Bug(
        "large-bodies",
        "only so many large bodies are held at once",
        "2,000 strangers make the server hold 2 GiB",
        (Edit("server/rest/http/bodies.py", "<= self._most and not self._is_large:", "<= 0:"),),
        f"{PAYMENT_TESTS}::test_the_number_of_large_events_in_memory_is_bounded_and_payments_do_not_wait_for_them",
        "AssertionError",
        "one more is answered before there is room",
    ),
    Bug(
        "days-of-zone",
        "blocks are summed by the days of the zone that is asked for",
        "a creator in Berlin is told the wrong day of what came after midnight",
        (Edit("storage/rooms/billing_stats.py", "*(*args, zone),", '*(*args, "UTC"),'),),
        f"{BILLING_TESTS}::test_a_day_of_a_zone_has_23_or_25_hours_where_its_clocks_change",
        "AssertionError",
        "each day has 24 hours",
    ),
    Bug(
        "zone-names",
        "a zone is one that this machine and PostgreSQL know by an unabbreviated name",
        "abbreviations without summer time and names like a path are taken, or break the request",
        (Edit("server/config/time_zones.py", "name == UTC_NAME or name in await self._known()", 'name != ""'),),
        f"{BILLING_TESTS}::test_an_unknown_time_zone_is_named",
        "AssertionError",
        "EST is answered 200",
    ),
    Bug(
        "adaptive-pricing",
        "the provider may not convert a price",
        "who pays in another currency pays another amount, and is not credited",
        (Edit("server/money/payments/stripe.py", '"adaptive_pricing": {"enabled": False},', ""),),
        "tests/server/rest/test_tokens.py::test_a_purchase_begins_with_a_checkout_that_the_provider_created",
        "AssertionError",
        "the form says nothing of adaptive pricing",
    ),
    Bug(
        "settled-twice",
        "an operator credits a purchase only if nothing else was accepted for it",
        "a second payment is said to be credited, and its buyer gets nothing for it",
        (Edit(SETTLEMENTS, 'if purchase.accepted or purchase.status == "paid":', "if purchase.id is None:"),),
        f"{SETTLEMENT_TESTS}::test_a_second_payment_of_a_purchase_is_marked_and_can_only_be_refunded",
        "error",
        "the settlement is accepted, or meets the database's own constraint",
    ),
    Bug(
        "own-purchase",
        "nobody credits their own purchase",
        "an operator takes tokens for nothing",
        (
            Edit(
                SETTLEMENTS,
                "if purchase is not None and purchase.user_id == settlement.operator_id:",
                "if purchase is not None and purchase.user_id is None:",
            ),
        ),
        f"{SETTLEMENT_TESTS}::test_nobody_credits_themselves_and_only_operators_settle",
        "KeyError",
        "it is answered 200",
    ),
    Bug(
        "owed-credits",
        "what was accepted and not booked is booked by a later round",
        "a server that stops between the two has taken money for nothing",
        (
            Edit(
                DESK, "for purchase in await purchases_to_credit(self._postgres):", "for purchase in list[Purchase]():"
            ),
        ),
        f"{SETTLEMENT_TESTS}::test_payments_that_a_server_had_no_time_to_credit_are_credited_by_the_next_round",
        "AssertionError",
        "the balance stays 0",
    ),
    Bug(
        "settlement-trace",
        "what operators decided is append-only",
        "who credited what, and why, can be rewritten",
        (
            Edit(
                "storage/migrations/0005_checkouts.sql",
                "BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_settlements",
                "BEFORE TRUNCATE ON payment_settlements",
            ),
        ),
        f"{SETTLEMENT_TESTS}::test_the_trace_of_decisions_cannot_be_changed",
        "DID NOT RAISE",
        "an UPDATE passes",
    ),
    Bug(
        "exchange-rate",
        "packs in another currency than the payouts' need an exchange rate",
        "100 tokens are bought for 6.99 INR and cashed out for 5 USD",
        (Edit("server/config/packs.py", "_check_rate(packs.currency, payouts)", "pass"),),
        "tests/server/money/test_market_settings.py::test_where_currencies_differ_the_margin_is_checked_against_a_rate",
        "DID NOT RAISE",
        "the settings are taken",
    ),
    Bug(
        "freeze",
        "a refund or chargeback freezes the wallet that its payment was credited to",
        "tokens that were charged back are spent and cashed out",
        (Edit("storage/market/reversals.py", '"SELECT freeze_wallet($1) WHERE', '"SELECT $1::uuid WHERE'),),
        f"{REVERSAL_TESTS}::test_a_chargeback_freezes_the_wallet_until_an_operator_releases_it",
        "AssertionError",
        "the wallet is not frozen",
    ),
    Bug(
        "frozen-payout",
        "no payout of a frozen wallet is paid",
        "an operator pays out what was charged back, because the payout was asked for before",
        (Edit("storage/market/payouts.py", "AND NOT ($2 = 'paid' AND EXISTS", "AND NOT (false AND EXISTS"),),
        f"{REVERSAL_TESTS}::test_nothing_is_cashed_out_of_a_frozen_wallet_and_no_payout_of_it_is_paid",
        "KeyError",
        "it is answered 200",
    ),
    Bug(
        "thaw-last",
        "a wallet is frozen for as long as one of its reversals is open",
        "the first decision frees a wallet that another chargeback holds",
        (Edit("storage/market/reversals.py", "WHERE p.user_id = $1 AND r.status = 'open')", "WHERE false)"),),
        f"{REVERSAL_TESTS}::test_a_wallet_is_frozen_for_as_long_as_one_of_its_reversals_is_open",
        "AssertionError",
        "it is free after the first decision",
    ),
)
