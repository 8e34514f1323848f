"""Guards of the money of tickets, and the tests that find them missing."""

from tests.bugs import Bug, Edit

STAGE, RELEASE, TICKETS = "domain/stage.py", "domain/ticket_release.py", "server/tickets.py"
MIGRATION = "storage/migrations/0008_tickets.sql"
RULE_TESTS = "tests/domain/test_ticket_release.py"
EXPLOITS = "tests/server/test_ticket_exploits.py"

IN_TICKETS = (
    Bug(
        "ticket-escrow",
        "a ticket is paid into escrow",
        "a creator passes the money on, ends the stream, and the buyer is refunded out of nothing",
        (Edit("server/rest/tickets.py", "credit=ESCROW,", "credit=stored.facts.owner_id,"),),
        f"{EXPLOITS}::test_an_unstarted_stream_whose_ticket_money_was_to_go_on_gives_it_back_and_makes_no_token",
        "it did not come",
        "nothing is given back, since the creator has nothing left",
    ),
    Bug(
        "ticket-presence",
        "only time for which the creator was heard counts as presence",
        "a silent creator earns tickets",
        (Edit(STAGE, "self._clock.stop_as_of(self.heard_at, at)", "self._clock.stop(at)"),),
        f"{RULE_TESTS}::test_time_in_which_the_creator_was_silent_does_not_count",
        "assert",
        "the tickets are released ten seconds too early",
    ),
    Bug(
        "ticket-presence-kept",
        "presence goes on after a restart from what is stored",
        "a creator whose server restarts has to begin again",
        (Edit("domain/stream.py", "Stage(at, record.present)", "Stage(at)"),),
        f"{RULE_TESTS}::test_presence_goes_on_from_what_is_stored_and_downtime_earns_nothing",
        "assert",
        "the tickets stay in escrow",
    ),
    Bug(
        "ticket-release-again",
        "a release that a crash kept from the ledger is asked for again",
        "tickets stay in escrow although the show was given",
        (Edit(RELEASE, "if self._was_released or are_earned(self._stage.present(at), self._rules):", "if False:"),),
        f"{RULE_TESTS}::test_a_release_that_a_crash_interrupted_is_asked_for_again",
        "assert",
        "the tickets stay in escrow",
    ),
    Bug(
        "ticket-late-sale",
        "a ticket that is sold while its buyer is being blocked is given back",
        "a blocked user has paid for what they may not see",
        (Edit(MIGRATION, "NEW.return_key := NEW.posting_key;", "NEW.return_key := NULL;"),),
        f"{EXPLOITS}::test_a_ticket_that_is_sold_while_its_buyer_is_blocked_is_given_back",
        "AssertionError",
        "no refund is made",
    ),
    Bug(
        "ticket-uncovered",
        "operators are told of a ticket that its creator cannot cover",
        "a user who was blocked has lost their money, and nobody knows",
        (Edit(TICKETS, "if refunded.uncovered:", "if False:"),),
        f"{EXPLOITS}::test_a_fan_who_is_removed_after_the_money_has_gone_on_makes_no_token[True]",
        "assert",
        "there is no report",
    ),
    Bug(
        "ticket-expiry",
        "only streams that are older than the limit expire",
        "a stream is ended before its time",
        (
            Edit(
                MIGRATION,
                "AND s.created_at < clock_timestamp() - make_interval(days => days)\n                ORDER",
                "ORDER",
            ),
        ),
        f"{EXPLOITS}::test_a_stream_that_is_never_started_ends_after_a_week_and_gives_its_tickets_back",
        "assert",
        "the younger stream has ended, too",
    ),
)
