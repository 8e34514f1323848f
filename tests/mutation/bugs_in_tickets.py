"""Guards of the money of tickets, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

HOST_PRESENCE, RELEASE, TICKETS = (
    "domain/stream/host_presence.py",
    "domain/stream/ticket_release.py",
    "server/money/ticket_settlement.py",
)
MIGRATION = "storage/migrations/0008_tickets.sql"
RULE_TESTS = "tests/domain/test_ticket_release.py"
EXPLOITS = "tests/server/rooms/test_ticket_exploits.py"

CALLS_MIGRATION, PARTS_MIGRATION = "storage/migrations/0009_calls.sql", "storage/migrations/0007_parts.sql"
ROOM_STORAGE = "server/rooms/room_storage.py"
DUE_TESTS = "tests/storage/test_refunds_due.py"

IN_TICKETS = (
    Bug(
        "ticket-escrow",
        "a ticket is paid into escrow",
        "a creator spends the money, ends the stream, and the refund has no tokens to take",
        (Edit("server/rest/routes/tickets.py", "credit=ESCROW,", "credit=stored.facts.owner_id,"),),
        f"{EXPLOITS}::test_an_unstarted_stream_whose_ticket_money_was_to_be_tipped_on_refunds_it_and_makes_no_token",
        "it did not come",
        "no refund is made, since the creator has no tokens left",
    ),
    Bug(
        "ticket-presence",
        "only time with a confirmed presence of the creator counts",
        "a silent creator earns the tickets",
        (Edit(HOST_PRESENCE, "self._clock.stop_as_of(self.last_received_at, at)", "self._clock.stop(at)"),),
        f"{RULE_TESTS}::test_time_in_which_the_creator_was_silent_does_not_count",
        "assert",
        "the tickets are released ten seconds too early",
    ),
    Bug(
        "ticket-presence-kept",
        "after a restart presence continues from the stored value",
        "the presence of a creator starts at zero after a restart",
        (Edit("domain/stream/state.py", "HostPresence(at, record.present)", "HostPresence(at)"),),
        f"{RULE_TESTS}::test_presence_goes_on_from_what_is_stored_and_downtime_earns_nothing",
        "assert",
        "the tickets stay in escrow",
    ),
    Bug(
        "ticket-release-again",
        "a release that a crash prevented is requested again",
        "tickets stay in escrow although the show took place",
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
        "a ticket that is sold while its buyer is blocked is refunded",
        "a blocked user has paid for a stream that they may not see",
        (Edit(MIGRATION, "NEW.return_key := NEW.posting_key;", "NEW.return_key := NULL;"),),
        f"{EXPLOITS}::test_a_ticket_that_is_sold_while_its_buyer_is_blocked_is_refunded",
        "AssertionError",
        "no refund is made",
    ),
    Bug(
        "ticket-uncovered",
        "operators get a report of a ticket that its creator cannot refund",
        "a blocked user has lost the tokens, and nobody notices",
        (Edit(TICKETS, "if refunded.uncovered:", "if False:"),),
        f"{EXPLOITS}::test_a_fan_who_is_removed_after_the_money_was_tipped_on_makes_no_token[True]",
        "assert",
        "there is no report",
    ),
    Bug(
        "ticket-expiry",
        "only streams older than the limit expire",
        "a stream expires before its time",
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
        "only the owner of a room releases its tickets",
        "a server that has lost a stream releases its tickets",
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
        "a release of tickets carries the room's epoch",
        "the same",
        (
            Edit(
                ROOM_STORAGE,
                "self._tickets.release(self._room_id, self._epoch)",
                "self._tickets.release(self._room_id)",
            ),
        ),
        f"{EXPLOITS}::test_a_server_that_has_lost_a_stream_releases_none_of_its_tickets",
        "assert 0 == 100",
        "the tickets are released",
    ),
    Bug(
        "due-epoch",
        "only the owner of a room schedules refunds of its blocks",
        "a server that has lost a stream refunds blocks that its new owner counts",
        (
            Edit(
                CALLS_MIGRATION,
                "    IF NOT FOUND THEN RETURN false; END IF;\n    PERFORM note_refunds_due(paid);",
                "    PERFORM note_refunds_due(paid);",
            ),
        ),
        f"{DUE_TESTS}::test_an_owner_of_before_writes_nothing_down",
        "assert not True",
        "the refund is scheduled",
    ),
    Bug(
        "due-first",
        "the refund of a viewer's block is scheduled before it is made",
        "a server that stops in between keeps the viewer's tokens, and so does an owner who has spent them",
        (
            Edit(
                ROOM_STORAGE,
                "            if not await retry_storage("
                "lambda: note_refunds_due(self._postgres, self._room_id, self._epoch, blocks)):\n"
                "                return False\n",
                "",
            ),
        ),
        "tests/server/rooms/test_viewers.py::test_a_refund_that_an_owner_cannot_cover_is_owed_until_they_earn_as_much",
        "assert 0 == 30",
        "no refund is scheduled",
    ),
    Bug(
        "due-covered",
        "a scheduled refund is attempted only while the payee can cover it",
        "the refunds of an owner without tokens are attempted in vain, with growing pauses",
        (
            Edit(
                "storage/ledger/refunds_due.py", '" <= (SELECT balance FROM wallets WHERE id = d.payee_id)"', '" >= 0"'
            ),
        ),
        f"{DUE_TESTS}::test_a_refund_waits_until_its_payee_has_enough_tokens_again",
        "nothing is tried that cannot be paid",
        "the refund is attempted",
    ),
    Bug(
        "due-cashable",
        "tokens of a scheduled refund are not cashable",
        "an owner who has spent the tokens cashes out later ones before the viewer is refunded",
        (Edit(CALLS_MIGRATION, "earned - held - due - coalesce", "earned - held - coalesce"),),
        f"{DUE_TESTS}::test_tokens_due_to_be_refunded_are_not_cashable",
        "assert Cashable(",
        "20 tokens are cashable, of which 15 are owed",
    ),
    Bug(
        "due-fenced",
        "a refused refund shows a room that it has a later owner",
        "the room continues, and reports the block as refunded",
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
        "blocking a user schedules the refund of their tickets",
        "a blocked user's tokens stay in escrow until the stream ends",
        (
            Edit(
                MIGRATION,
                "INSERT INTO creator_blocks (creator_id, user_id) VALUES (creator, blocked) ON CONFLICT DO NOTHING;\n",
                "INSERT INTO creator_blocks (creator_id, user_id) VALUES (creator, blocked) ON CONFLICT DO NOTHING;"
                " RETURN;\n",
            ),
        ),
        "tests/storage/test_ticket_returns.py::test_ticket_refunds_equal_those_of_the_model[0]",
        "assert set()",
        "no refund is scheduled",
    ),
)
