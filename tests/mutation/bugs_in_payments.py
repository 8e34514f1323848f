"""Guards of the money that comes from outside, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

PAYMENTS, OPERATOR = "storage/market/payments.py", "server/money/payments/service.py"
BILLING_TESTS = "tests/server/rest/test_billing.py"
LIMIT_TESTS = "tests/server/rest/test_limits.py"
REVERSAL_TESTS = "tests/server/rest/test_admin_reversals.py"
SETTLEMENTS = "storage/market/payment_settlements.py"
SETTLEMENT_TESTS = "tests/server/rest/test_admin_payments.py"
PAYMENT_TESTS = "tests/server/rest/test_payments.py"

IN_PAYMENTS = (
    Bug(
        "paid-twice",
        "a second paid checkout of one purchase is recorded as a problem",
        "a buyer has paid twice and nobody notices",
        (Edit(PAYMENTS, "if paid_by != reported.checkout_id:", "if paid_by is None:"),),
        f"{PAYMENT_TESTS}::test_a_second_payment_of_one_purchase_is_reported_to_the_operators",
        "AssertionError",
        "no payment is counted as paid twice",
    ),
    Bug(
        "purchase-lock",
        "a payment is decided under a lock of its purchase",
        "two payments at once are both reported as the accepted one",
        (Edit("storage/market/purchases.py", " WHERE p.id = $1 FOR NO KEY UPDATE", " WHERE p.id = $1"),),
        f"{PAYMENT_TESTS}::test_two_payments_of_one_purchase_wait_for_each_other_before_either_is_decided",
        "FAILED",
        "the second payment meets the database's own constraint, and its event is not answered in time",
    ),
    Bug(
        "one-checkout",
        "an accepted checkout pays for its own purchase only",
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
        "health probes do not count against the rate limit of their address",
        "a load balancer's probes get 429, and the server receives no more requests",
        (Edit("server/rest/dispatch.py", 'self._limits.get(request.endpoint or "", "address")', '"address"'),),
        f"{LIMIT_TESTS}::test_probes_of_an_address_without_requests_left_are_answered",
        "AssertionError",
        "a probe is answered 429",
    ),
    Bug(
        "right-proof",
        "only webhook requests with a wrong secret or signature count against the limit",
        "strangers with wrong secrets block the cron and the payment provider",
        (Edit("server/rest/dispatch.py", 'None if limit == "proof" else await', "await"),),
        f"{LIMIT_TESTS}::test_the_cron_is_never_limited_and_wrong_secrets_are_without_locking_it_out",
        "AssertionError",
        "a correct secret is answered 429",
    ),
    Bug(
        "event-bound",
        "the body limit of provider events is separate",
        "a large event is refused, and the provider retries for days",
        (Edit("server/rest/http/bodies.py", "return self._larger.get(path, self.usual)", "return self.usual"),),
        "tests/server/rest/test_payment_webhook.py::test_a_large_event_of_another_type_is_acknowledged_and_so_is_a_large_payment",
        "413",
        "it is answered 413",
    ),
    Bug(
        "large-bodies",
        "the number of large bodies in memory is bounded",
        "2,000 unauthenticated clients make the server hold 2 GiB",
        (Edit("server/rest/http/bodies.py", "> self._bounds.usual and not self._is_large:", "< 0:"),),
        "tests/server/rest/test_payment_webhook.py::test_the_number_of_large_events_in_memory_is_bounded_and_payments_do_not_wait_for_them",
        "AssertionError",
        "one more is answered before another one has ended",
    ),
    Bug(
        "days-of-zone",
        "blocks are summed by days of the requested time zone",
        "a creator in Berlin finds blocks after midnight under the wrong day",
        (Edit("storage/rooms/billing_stats.py", "*(*args, zone),", '*(*args, "UTC"),'),),
        f"{BILLING_TESTS}::test_a_day_of_a_zone_has_23_or_25_hours_where_its_clocks_change",
        "AssertionError",
        "each day has 24 hours",
    ),
    Bug(
        "zone-names",
        "a time zone needs an unabbreviated name that both this machine and PostgreSQL know",
        "abbreviations without daylight saving and path-like names are accepted, or fail the request",
        (Edit("server/config/time_zones.py", "name == UTC_NAME or name in await self._known()", 'name != ""'),),
        f"{BILLING_TESTS}::test_an_unknown_time_zone_is_named",
        "AssertionError",
        "EST is answered 200",
    ),
    Bug(
        "adaptive-pricing",
        "adaptive pricing is off at the payment provider",
        "a buyer in another currency pays another amount, and is not credited",
        (Edit("server/money/payments/stripe.py", '"adaptive_pricing": {"enabled": False},', ""),),
        "tests/server/rest/test_tokens.py::test_a_purchase_begins_with_a_checkout_that_the_provider_created",
        "AssertionError",
        "the form has no field for adaptive pricing",
    ),
    Bug(
        "settled-twice",
        "an operator credits a purchase only if no payment was accepted for it",
        "a second payment is reported as credited, and its buyer gets nothing for it",
        (Edit(SETTLEMENTS, 'if purchase.accepted or purchase.status == "paid":', "if purchase.id is None:"),),
        f"{SETTLEMENT_TESTS}::test_a_second_payment_of_a_purchase_is_marked_and_can_only_be_refunded",
        "error",
        "the settlement is accepted, or meets the database's own constraint",
    ),
    Bug(
        "own-purchase",
        "an operator cannot credit their own purchase",
        "an operator gets tokens without payment",
        (
            Edit(
                SETTLEMENTS,
                "if purchase is not None and purchase.user_id == settlement.operator_id:",
                "if purchase is not None and purchase.user_id is None:",
            ),
        ),
        f"{SETTLEMENT_TESTS}::test_nobody_credits_themselves_and_only_operators_settle",
        "KeyError",
        "the request is answered 200",
    ),
    Bug(
        "owed-credits",
        "an accepted payment that was not posted is posted by a later maintenance round",
        "a server that stops between the two steps has taken money for nothing",
        (
            Edit(
                OPERATOR,
                "for purchase in await purchases_to_credit(self._postgres):",
                "for purchase in list[Purchase]():",
            ),
        ),
        f"{SETTLEMENT_TESTS}::test_payments_that_a_server_had_no_time_to_credit_are_credited_by_the_next_round",
        "AssertionError",
        "the balance stays 0",
    ),
    Bug(
        "settlement-trace",
        "the log of operators' decisions is append-only",
        "who credited a purchase, and why, can be rewritten",
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
        "a pack in another currency than the payouts needs an exchange rate",
        "100 tokens are bought for 6.99 INR and cashed out for 5 USD",
        (Edit("server/config/packs.py", "_check_rate(packs.currency, payouts)", "pass"),),
        "tests/server/money/test_market_settings.py::test_where_currencies_differ_the_margin_is_checked_against_a_rate",
        "DID NOT RAISE",
        "the settings are accepted",
    ),
    Bug(
        "freeze",
        "a refund or chargeback freezes the credited wallet",
        "charged-back tokens are spent and cashed out",
        (Edit("storage/market/reversals.py", '"SELECT freeze_wallet($1) WHERE', '"SELECT $1::uuid WHERE'),),
        f"{REVERSAL_TESTS}::test_a_chargeback_freezes_the_wallet_until_an_operator_releases_it",
        "AssertionError",
        "the wallet is not frozen",
    ),
    Bug(
        "frozen-payout",
        "a payout of a frozen wallet is not paid",
        "an operator pays out charged-back tokens, because the payout was requested earlier",
        (Edit("storage/market/payouts.py", "AND NOT ($2 = 'paid' AND EXISTS", "AND NOT (false AND EXISTS"),),
        f"{REVERSAL_TESTS}::test_nothing_is_cashed_out_of_a_frozen_wallet_and_no_payout_of_it_is_paid",
        "KeyError",
        "the request is answered 200",
    ),
    Bug(
        "thaw-last",
        "a wallet is frozen for as long as one of its reversals is open",
        "the first decision unfreezes a wallet that another chargeback freezes",
        (Edit("storage/market/reversals.py", "WHERE p.user_id = $1 AND r.status = 'open')", "WHERE false)"),),
        f"{REVERSAL_TESTS}::test_a_wallet_is_frozen_for_as_long_as_one_of_its_reversals_is_open",
        "AssertionError",
        "the wallet is unfrozen after the first decision",
    ),
)
