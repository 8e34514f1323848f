"""The guards of parts, escrow, debts, payouts and figures, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

STEPS = "storage/migrations/0013_batch_steps.sql"
PARTS, FIGURES = "storage/migrations/0007_parts.sql", "storage/migrations/0012_figures.sql"
QUARTERS = "storage/migrations/0015_figures_by_quarter.sql"
PARTS_TESTS = "tests/storage/test_parts.py"
FIGURES_TESTS, ACTIONS_TESTS, EXPLOITS = (
    f"tests/server/rest/test_{noun}.py" for noun in ("net_figures", "operator_actions", "money_exploits")
)

IN_FIGURES = (
    Bug(
        "promotional-first",
        "promotional tokens are spent first",
        "a gift is kept and bought tokens are spent instead",
        (Edit(STEPS, "out_promotional := least(promotional[payer], amount);", "out_promotional := 0;"),),
        f"{PARTS_TESTS}::test_promotional_tokens_are_spent_first_and_earned_ones_last",
        "assert",
        "they remain after a tip of the same amount",
    ),
    Bug(
        "earned-last",
        "earned tokens are spent last",
        "a creator who spends can cash out less than they might",
        (
            Edit(
                STEPS,
                "out_earned := greatest(0, earned[payer] - payer_after);",
                "out_earned := least(earned[payer], amount - out_promotional);",
            ),
        ),
        f"{PARTS_TESTS}::test_promotional_tokens_are_spent_first_and_earned_ones_last",
        "assert",
        "earned tokens are gone before bought ones",
    ),
    Bug(
        "promotional-along",
        "a payment keeps the promotional part of its tokens",
        "a gift becomes cashable after a tip to a friend",
        (
            Edit(
                STEPS,
                "in_promotional := out_promotional;  in_earned := amount - out_promotional;",
                "in_promotional := 0;  in_earned := amount;",
            ),
        ),
        f"{PARTS_TESTS}::test_a_payment_carries_its_promotional_part_along",
        "assert",
        "all of a tip counts as earned",
    ),
    Bug(
        "payout-earned",
        "a payout takes earned tokens only",
        "bought tokens are cashed out",
        (
            Edit(
                STEPS,
                "AND (payer_after < 0 OR posting_kind = payout AND earned[payer] < amount) THEN",
                "AND payer_after < 0 THEN",
            ),
            Edit(
                STEPS,
                "ELSIF posting_kind = payout OR posting_kind = repayment THEN",
                "ELSIF posting_kind = repayment THEN",
            ),
        ),
        f"{PARTS_TESTS}::test_a_payout_takes_earned_tokens_and_no_others",
        "Outcome.COMMITTED",
        "a payout beyond the earned tokens is COMMITTED",
    ),
    Bug(
        "refund-parts",
        "a refund restores the parts as they were",
        "promotional tokens come back as bought ones",
        (
            Edit(
                PARTS,
                "in_parts := in_parts || ARRAY[promotional_given::int, least(back_earned, other_given)::int];",
                "in_parts := in_parts || ARRAY[0, least(back_earned, other_given)::int];",
            ),
        ),
        f"{PARTS_TESTS}::test_a_refund_restores_the_parts_as_they_were",
        "assert",
        "the payer's promotional tokens are gone",
    ),
    Bug(
        "refund-of-bought",
        "promotional tokens do not refund bought ones",
        "a refund turns a payee's gift into bought tokens of the payer",
        (
            Edit(
                PARTS,
                "of_bought := least(had_bought, t_other - of_earned);",
                "of_bought := least(had_bought + had_promotional, t_other - of_earned);",
            ),
            Edit(PARTS, "CONSTRAINT parts_of_a_balance CHECK (", "CONSTRAINT parts_of_a_balance CHECK (true OR "),
        ),
        f"{PARTS_TESTS}::test_promotional_tokens_pay_no_bought_ones_back",
        "assert",
        "the payee's promotional tokens cover the refund",
    ),
    Bug(
        "release-once",
        "a ticket is released once",
        "a creator receives the price of a ticket as often as its release is requested",
        (
            Edit(PARTS, "AND s.released_at IS NULL AND s.refunded_at IS NULL\n             ORDER", "ORDER"),
            Edit(PARTS, "array_agg(derived_key('release', ARRAY[t.key]))", "array_agg(gen_random_uuid())"),
        ),
        f"{PARTS_TESTS}::test_a_ticket_is_the_creators_once_its_stream_is_released_and_only_once",
        "[1, 1] == [1, 0]",
        "the ticket is released twice",
    ),
    Bug(
        "release-refunded",
        "a refunded ticket is not released",
        "buyer and creator both have its tokens",
        (Edit(PARTS, "AND s.released_at IS NULL AND s.refunded_at IS NULL\n", "AND s.released_at IS NULL\n"),),
        f"{PARTS_TESTS}::test_a_ticket_that_was_given_back_is_not_released",
        "assert 1 == 0",
        "it is released",
    ),
    Bug(
        "release-at-sale",
        "a ticket that is sold after the release is paid to the creator",
        "its tokens stay in escrow for good",
        (Edit(STEPS, "IF posting_kind = ticket AND release_to[i] IS NOT NULL AND", "IF false AND"),),
        f"{PARTS_TESTS}::test_a_ticket_that_is_sold_after_the_release_is_the_creators_at_once",
        "assert",
        "they are in escrow",
    ),
    Bug(
        "debt-repaid",
        "earnings repay a debt at once",
        "a debtor cashes out what is owed",
        (
            Edit(STEPS, "ELSIF in_earned > 0 AND owed[payee] > 0 THEN", "ELSIF false THEN"),
            Edit(PARTS, "CHECK (owed >= 0 AND (owed = 0 OR earned = 0))", "CHECK (true)"),
        ),
        f"{PARTS_TESTS}::test_a_debt_is_repaid_by_the_next_earnings_the_oldest_first",
        "assert",
        "the creator keeps the tip, and the debt remains",
    ),
    Bug(
        "debt-seen",
        "a batch with a debtor takes the careful path",
        "payments to a debtor fail",
        (Edit(STEPS, "careful := careful OR any_debtor OR", "careful := careful OR"),),
        f"{PARTS_TESTS}::test_a_debt_is_repaid_by_the_next_earnings_the_oldest_first",
        "assert (False",
        "a tip to a debtor is INVALID",
    ),
    Bug(
        "debt-oldest",
        "of several debts the oldest is repaid first",
        "an old debt stays open for ever",
        (
            Edit(
                STEPS,
                "PARTITION BY q.debtor ORDER BY q.created_at, q.advance_key)",
                "PARTITION BY q.debtor ORDER BY q.created_at DESC, q.advance_key)",
            ),
        ),
        f"{PARTS_TESTS}::test_a_debt_is_repaid_by_the_next_earnings_the_oldest_first",
        "[20, 5]",
        "the later one is repaid",
    ),
    Bug(
        "payout-cut",
        "a refund reduces open payouts before `losses` advances anything",
        "a payout that is rejected afterwards returns to the creator what the payer got back as well",
        (Edit(PARTS, "from_payouts := least(had_paid_out, t_other - of_earned - of_bought);", "from_payouts := 0;"),),
        f"{PARTS_TESTS}::test_a_refund_takes_from_open_payouts_the_newest_first_before_anything_is_advanced",
        "assert",
        "`losses` advances it",
    ),
    Bug(
        "losses-limit",
        "`losses` advances at most its daily limit",
        "one operator gives away any amount by mistake",
        (Edit(PARTS, "IF advanced_today + missing > most_advanced THEN", "IF false THEN"),),
        f"{PARTS_TESTS}::test_nothing_is_given_back_beyond_the_daily_limit_of_advances",
        "assert",
        "the amount is advanced",
    ),
    Bug(
        "losses-day",
        "the daily limit of advances is reset at midnight, even before the first posting",
        "yesterday's advances count against today's limit",
        (
            Edit(
                PARTS,
                "missing := 0;\n    UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one;",
                "missing := 0;\n    PERFORM 1 FROM fence WHERE one FOR NO KEY UPDATE;",
            ),
        ),
        f"{PARTS_TESTS}::test_a_day_of_advances_begins_at_midnight_utc_also_before_anything_was_booked_in_it",
        "assert (20 > 0) is False",
        "the first refund of a day is refused",
    ),
    Bug(
        "operator-written",
        "an operator's action is stored with its posting",
        "nobody can find out who gave the tokens",
        (Edit(STEPS, "WHERE operator[p] IS NOT NULL AND status[p] = committed;", "WHERE false;"),),
        f"{PARTS_TESTS}::test_an_operators_action_is_stored_with_its_posting",
        "assert [] ==",
        "no action is stored",
    ),
    Bug(
        "figures-refunds",
        "refunds are listed beside the postings of their day",
        "the overview counts refunded tokens as income",
        (Edit(QUARTERS, "         WHERE f.kind = 6\n    ), kinds AS (", "         WHERE false\n    ), kinds AS ("),),
        f"{FIGURES_TESTS}::test_the_overview_is_net_of_refunds_and_shows_their_sum",
        "AssertionError",
        "no refund is shown",
    ),
    Bug(
        "figures-advanced",
        "a creator's refunds include what `losses` advanced",
        "what `losses` advanced counts as earned in the stats",
        (Edit(FIGURES, "WHERE d.debtor = wallet AND (since", "WHERE false AND (since"),),
        f"{FIGURES_TESTS}::test_half_a_call_that_is_refunded_shows_in_all_its_figures",
        "AssertionError",
        "the creator's stats show less than the fan's",
    ),
    Bug(
        "figures-ranking",
        "a leaderboard subtracts refunds",
        "a giver whose tips were refunded stays first",
        (Edit("storage/rooms/tips.py", "g.tokens - coalesce(r.tokens, 0) AS tokens", "g.tokens AS tokens"),),
        f"{FIGURES_TESTS}::test_a_leaderboard_is_net_of_refunds",
        "AssertionError",
        "the giver with the largest refund is first",
    ),
    Bug(
        "figures-cash-out",
        "refunds reduce the amount of a payout",
        "the overview shows creators more than they receive",
        (
            Edit(
                "storage/market/business_figures.py",
                "count(*), sum(tokens - cut_tokens)::bigint",
                "count(*), sum(tokens)::bigint",
            ),
        ),
        f"{FIGURES_TESTS}::test_cash_out_is_net_of_the_refunds_taken_out_of_payouts",
        "AssertionError",
        "the whole payout is shown",
    ),
    Bug(
        "refund-of-ones-own",
        "an operator cannot refund a payment of their own",
        "an operator takes back their payment to a creator, or lets `losses` pay their debts",
        (
            Edit(
                "server/rest/routes/refunds.py",
                "if request.user_id in await find_parties(",
                "if not await find_parties(",
            ),
        ),
        f"{ACTIONS_TESTS}::test_nobody_refunds_what_they_paid_or_were_paid_themselves",
        "201",
        "the request is answered 201",
    ),
    Bug(
        "payout-of-ones-own",
        "an operator cannot settle their own payout",
        "an operator who is a creator records their own payout as paid",
        (
            Edit("storage/market/payouts.py", " AND p.creator_id <> $3 AND (", " AND $3 IS NOT NULL AND ("),
            Edit(
                "server/rest/routes/payouts.py", "if payout.creator_id == operator_id:", "if payout.creator_id is None:"
            ),
        ),
        f"{ACTIONS_TESTS}::test_nobody_settles_their_own_payout",
        "200",
        "the request is answered 200",
    ),
    Bug(
        "payout-amount",
        "a payout is settled for at most what refunds have left of it",
        "the ledger does not show the excess payment",
        (
            Edit(
                "storage/market/payouts.py",
                "(p.tokens - p.cut_tokens), p.tokens) = $5)",
                "(p.tokens - p.cut_tokens), p.tokens) <= $5)",
            ),
        ),
        f"{EXPLOITS}::test_a_reduced_payout_is_not_settled_as_paid_for_more_than_is_left",
        "AssertionError",
        "the payout is settled",
    ),
    Bug(
        "action-of-payment",
        "a decision about a payment is stored with the operator's actions",
        "a purchase is credited and the list of actions does not name the operator",
        (Edit("storage/market/payment_settlements.py", "    await note_action(connection, action)\n", ""),),
        f"{ACTIONS_TESTS}::test_each_decision_about_a_payment_is_recorded",
        "AssertionError",
        "there is no action",
    ),
    Bug(
        "action-proved",
        "the audit detects a settlement without its action",
        "an action can be forged or lost without notice",
        (Edit("storage/ledger/audit.py", "IS DISTINCT FROM (a.operator_id, a.action, a.ref_id, a.tokens)", "IS NULL"),),
        f"{ACTIONS_TESTS}::test_the_audit_checks_that_settlements_and_actions_match_one_to_one",
        "assert [] ==",
        "a deleted action is not detected",
    ),
)
