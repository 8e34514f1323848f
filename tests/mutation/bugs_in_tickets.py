"""Guards of the money of tickets, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

STAGE, RELEASE, TICKETS = (
    "domain/stream/host_presence.py",
    "domain/stream/ticket_release.py",
    "server/money/ticket_settlement.py",
)
MIGRATION = "storage/migrations/0008_tickets.sql"
RULE_TESTS = "tests/domain/test_ticket_release.py"
EXPLOITS = "tests/server/rooms/test_ticket_exploits.py"

CALLS_MIGRATION, PARTS_MIGRATION = "storage/migrations/0009_calls.sql", "storage/migrations/0007_parts.sql"
ROOM_FLOOR = "server/rooms/lifecycle.py"
DUE_TESTS = "tests/storage/test_refunds_due.py"

IN_TICKETS = (
    Bug(
        "ticket-escrow",
        "a ticket is paid into escrow",
        "a creator passes the money on, ends the stream, and the buyer is refunded out of nothing",
        (Edit("server/rest/routes/tickets.py", "credit=ESCROW,", "credit=stored.facts.owner_id,"),),
        f"{EXPLOITS}::test_an_unstarted_stream_whose_ticket_money_was_to_be_tipped_on_refunds_it_and_makes_no_token",
        "it did not come",
        "nothing is given back, since the creator has nothing left",
    ),
    Bug(
        "ticket-presence",
        "only time for which the creator was heard counts as presence",
        "a silent creator earns tickets",
        (Edit(STAGE, "self._clock.stop_as_of(self.last_received_at, at)", "self._clock.stop(at)"),),
        f"{RULE_TESTS}::test_time_in_which_the_creator_was_silent_does_not_count",
        "assert",
        "the tickets are released ten seconds too early",
    ),
    Bug(
        "ticket-presence-kept",
        "presence goes on after a restart from what is stored",
        "a creator whose server restarts has to begin again",
        (Edit("domain/stream/state.py", "HostPresence(at, record.present)", "HostPresence(at)"),),
        f"{RULE_TESTS}::test_presence_goes_on_from_what_is_stored_and_downtime_earns_nothing",
        "assert",
        "the tickets stay in escrow",
    ),
    Bug(
        "ticket-release-again",
        "a release that a crash kept from the ledger is asked for again",
        "tickets stay in escrow although the show was given",
        (
            Edit(
                RELEASE,
                "if self._was_released or are_earned(self._host_presence.present(at), self._rules):",
                "if False:",
            ),
        ),
        f"{RULE_TESTS}::test_a_release_that_a_crash_interrupted_is_asked_for_again",
        "assert",
        "the tickets stay in escrow",
    ),
    Bug(
        "ticket-late-sale",
        "a ticket that is sold while its buyer is being blocked is given back",
        "a blocked user has paid for what they may not see",
        (Edit(MIGRATION, "NEW.return_key := NEW.posting_key;", "NEW.return_key := NULL;"),),
        f"{EXPLOITS}::test_a_ticket_that_is_sold_while_its_buyer_is_blocked_is_refunded",
        "AssertionError",
        "no refund is made",
    ),
    Bug(
        "ticket-uncovered",
        "operators are told of a ticket that its creator cannot cover",
        "a user who was blocked has lost their money, and nobody knows",
        (Edit(TICKETS, "if refunded.uncovered:", "if False:"),),
        f"{EXPLOITS}::test_a_fan_who_is_removed_after_the_money_was_tipped_on_makes_no_token[True]",
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
        f"{EXPLOITS}::test_a_stream_that_is_never_started_ends_after_a_week_and_refunds_its_tickets",
        "assert",
        "the younger stream has ended, too",
    ),
    Bug(
        "release-epoch",
        "the tickets of a room are released for its owner alone",
        "a server that has lost a stream takes its tickets out of escrow",
        (
            Edit(
                PARTS_MIGRATION,
                "IF owner_epoch IS NOT NULL AND NOT EXISTS (SELECT FROM rooms r WHERE r.id = stream"
                " AND r.epoch = owner_epoch) THEN",
                "IF false THEN",
            ),
        ),
        "tests/storage/test_parts.py::test_an_owner_of_before_releases_no_tickets",
        "assert 1 is None",
        "the tickets are released",
    ),
    Bug(
        "release-epoch-named",
        "a room names its epoch as it releases tickets",
        "the same",
        (
            Edit(
                ROOM_FLOOR, "self._tickets.release(self._room_id, self._epoch)", "self._tickets.release(self._room_id)"
            ),
        ),
        f"{EXPLOITS}::test_a_server_that_has_lost_a_stream_releases_none_of_its_tickets",
        "assert 0 == 100",
        "the tickets are released",
    ),
    Bug(
        "due-epoch",
        "blocks of a room are written down as due for its owner alone",
        "a server that has lost a stream gives blocks back that its new owner still counts",
        (
            Edit(
                CALLS_MIGRATION,
                "    IF NOT FOUND THEN RETURN false; END IF;\n    PERFORM note_refunds_due(paid);",
                "    PERFORM note_refunds_due(paid);",
            ),
        ),
        f"{DUE_TESTS}::test_an_owner_of_before_writes_nothing_down",
        "assert not True",
        "the block is due",
    ),
    Bug(
        "due-first",
        "a viewer's block to be given back is written down before it is refunded",
        "a server that stops in between keeps the viewer's tokens, and so does an owner who has spent them",
        (
            Edit(
                ROOM_FLOOR,
                "            if not await retry_storage("
                "lambda: note_refunds_due(self._postgres, self._room_id, self._epoch, blocks)):\n"
                "                return False\n",
                "",
            ),
        ),
        "tests/server/rooms/test_viewers.py::test_a_refund_that_an_owner_cannot_cover_is_owed_until_they_earn_as_much",
        "assert 0 == 30",
        "nothing is owed",
    ),
    Bug(
        "due-covered",
        "a block is tried to be given back only while its payee can cover it",
        "an owner who has spent the tokens of many viewers has the server try in vain, more and more seldom",
        (
            Edit(
                "storage/ledger/refunds_due.py", '" <= (SELECT balance FROM wallets WHERE id = d.payee_id)"', '" >= 0"'
            ),
        ),
        f"{DUE_TESTS}::test_what_its_payee_has_spent_waits_until_they_have_as_much_again",
        "nothing is tried that cannot be paid",
        "it is tried",
    ),
    Bug(
        "due-cashable",
        "what is to be given back is not cashable",
        "an owner who has spent the tokens cashes the next ones out before a viewer is given theirs",
        (Edit(CALLS_MIGRATION, "earned - held - due - coalesce", "earned - held - coalesce"),),
        f"{DUE_TESTS}::test_what_is_to_be_given_back_is_not_cashed_out",
        "assert Cashable(",
        "20 tokens are cashable, of which 15 are due",
    ),
    Bug(
        "due-fenced",
        "a room whose refunds are refused knows that it has a later owner",
        "it goes on, and says that a block was given back",
        (
            Edit(
                "server/rooms/committer.py", "inputs.GivenBack() if is_ours else inputs.Fenced()", "inputs.GivenBack()"
            ),
        ),
        "tests/server/rooms/test_committer.py::test_a_room_whose_refunds_and_releases_are_refused_has_a_later_owner",
        "assert",
        "GivenBack is delivered, not Fenced",
    ),
    Bug(
        "ticket-blocked",
        "a block makes the return of tickets due",
        "a blocked user's money stays in escrow until the stream's end",
        (
            Edit(
                MIGRATION,
                "INSERT INTO creator_blocks (creator_id, user_id) VALUES (creator, blocked) ON CONFLICT DO NOTHING;\n",
                "INSERT INTO creator_blocks (creator_id, user_id) VALUES (creator, blocked) ON CONFLICT DO NOTHING;"
                " RETURN;\n",
            ),
        ),
        "tests/storage/test_ticket_returns.py::test_what_is_to_be_given_back_is_what_the_model_says[0]",
        "assert set()",
        "no ticket is to be given back",
    ),
)
