"""The guards of tickets, spend limits and refunds in the database, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

STEPS = "storage/migrations/0013_batch_steps.sql"  # the batch statement
PARTS = "storage/migrations/0007_parts.sql"  # refunds and releases
TICKETS, LIMITS, REFUNDS = (f"tests/storage/test_{noun}.py" for noun in ("tickets", "limits", "refunds"))

IN_SPENDING = (
    Bug(
        "ticket",
        "a user buys a stream's ticket once",
        "each idempotency key buys the same ticket again",
        (Edit(STEPS, "IF posting_kind = ticket AND has_ticket[first_ticket[i]] THEN", "IF false THEN"),),
        f"{TICKETS}::test_a_ticket_holder_pays_for_no_second_one_whether_they_could_or_not[30]",
        "Outcome.COMMITTED",
        "the second purchase is COMMITTED, not OWNED",
    ),
    Bug(
        "ticket-renewed",
        "a refunded ticket can be bought again",
        "a user whose ticket was refunded can never return",
        (Edit(STEPS, "s.user_id = w[debit[u.p]] AND s.refunded_at IS NULL)", "s.user_id = w[debit[u.p]])"),),
        f"{TICKETS}::test_a_ticket_that_was_given_back_may_be_bought_again_and_is_another_one",
        "Outcome.OWNED",
        "the second ticket is OWNED, not COMMITTED",
    ),
    Bug(
        "look-at-ticket",
        "a batch with a ticket takes the careful path",
        "a ticket is paid and not stored",
        (Edit(STEPS, "careful OR any_debtor OR ticket = ANY (kind) OR", "careful OR any_debtor OR"),),
        f"{TICKETS}::test_a_ticket_is_bought_beside_whoever_owns_the_room_and_is_the_payers_own",
        "assert [] ==",
        "there is no ticket row",
    ),
    Bug(
        "limit",
        "a user spends at most their daily limit",
        "a spend limit has no effect",
        (Edit(STEPS, "spent[payer] + amount > w_limit[payer] THEN", "false THEN"),),
        f"{LIMITS}::test_many_at_once_spend_no_more_than_the_limit",
        "Outcome.COMMITTED",
        "all are COMMITTED",
    ),
    Bug(
        "limit-seen",
        "… and a batch with a payer who has a limit takes the careful path",
        "a spend limit has no effect in a batch that has no other reason for the careful path",
        (Edit(STEPS, "IF any_limited AND NOT careful THEN", "IF false THEN"),),
        f"{LIMITS}::test_many_at_once_spend_no_more_than_the_limit",
        "Outcome.COMMITTED",
        "all are COMMITTED",
    ),
    Bug(
        "limit-counted",
        "spent tokens count against the limit",
        "each single payment may be as large as the limit",
        (Edit(STEPS, " spent[payer] := spent[payer] + amount;", "NULL;"),),
        f"{LIMITS}::test_many_at_once_spend_no_more_than_the_limit",
        "Outcome.COMMITTED",
        "all are COMMITTED",
    ),
    Bug(
        "limit-loosened",
        "a higher or removed limit takes effect after a day",
        "a user can lift the limit at the moment in which they want to spend more",
        (Edit(PARTS, "IF wanted > in_force OR wanted IS NULL THEN", "IF wanted IS NULL THEN"),),
        f"{LIMITS}::test_less_counts_at_once_and_more_after_a_day",
        "assert None is not None",
        "the higher limit applies at once",
    ),
    Bug(
        "refund-once",
        "a refund is made once, whether the payee or `losses` paid it",
        "the payee pays a refund that `losses` have paid before",
        (Edit(PARTS, "r.key IN (refund_key[p.i], rest_key[p.i])", "r.key = refund_key[p.i]"),),
        f"{REFUNDS}::test_a_repeated_refund_takes_nothing_from_a_payee_with_new_tokens",
        "Outcome.COMMITTED",
        "the second refund is COMMITTED, not ALREADY",
    ),
    Bug(
        "refund-split",
        "a refund takes at most the balance of the payee",
        "a refund that exceeds the payee's balance is not made at all",
        (Edit(PARTS, "of_promotional := least(had_promotional, t_promotional);", "of_promotional := t_promotional;"),),
        f"{REFUNDS}::test_the_payee_gives_back_what_is_there_and_the_losses_the_rest[25-25]",
        "assert [] ==",
        "no refund is made",
    ),
    Bug(
        "refund-ticket",
        "a refund deletes the ticket",
        "a refunded viewer continues to watch, and cannot buy again",
        (Edit(PARTS, "WHERE s.posting_key = ANY (content) AND s.refunded_at IS NULL;", "WHERE false;"),),
        f"{REFUNDS}::test_a_ticket_that_was_given_back_is_bought_again_and_given_back_again",
        "== {}",
        "the ticket is still there",
    ),
)
