"""The guards of streams, and of what is said and given in rooms, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

STREAM, VIEWING_SESSION, VIEWING_SESSIONS, CHAT = (
    "domain/stream/stream.py",
    "domain/stream/viewing_session.py",
    "domain/stream/viewing_sessions.py",
    "domain/room/chat.py",
)
ACCESS_TESTS, VIEWING_TESTS = "tests/domain/test_stream_access.py", "tests/domain/test_viewing_session.py"
FUNDS_TESTS, LIFE_TESTS = "tests/domain/test_stream_funds.py", "tests/domain/test_stream_lifecycle.py"
CHAT_TESTS, RESTART_TESTS = "tests/domain/test_stream_chat.py", "tests/server/rooms/test_stream_restart.py"
MACHINE = "tests/domain/test_stream_machine.py::test_the_contract_holds_for_any_sequence_of_events"

IN_STREAMS = (
    Bug(
        "stay-stage",
        "a viewer's meter runs only while the creator is present",
        "viewers pay while there is nothing to watch",
        (Edit(VIEWING_SESSION, "if self._owner_is_here and not self.is_paused:", "if not self.is_paused:"),),
        f"{VIEWING_TESTS}::test_nobody_pays_before_the_creator_is_present",
        "AssertionError",
        "a block is charged before the creator joined",
    ),
    Bug(
        "stay-machine",
        "… and only while the viewer is a member",
        "a viewer who left continues to pay",
        (Edit(VIEWING_SESSIONS, "self._note_stop(viewing, viewing.leave(member_id, at))", "pass"),),
        f"{VIEWING_TESTS}::test_the_clock_stands_at_once_and_the_rest_of_the_block_is_kept",
        "AssertionError",
        "a block is charged after the viewer left",
    ),
    Bug(
        "stay-overdue",
        "an overdue commit is noticed while a meter stands, too",
        "the meter runs backwards once it resumes",
        (
            Edit(
                VIEWING_SESSION,
                "if since is None or self.waits_for_storage",
                "if since is None or not self.meter.clock.running",
            ),
        ),
        f"{FUNDS_TESTS}::test_a_clock_that_stood_as_a_receipt_became_overdue_does_not_run_before_it",
        "AssertionError",
        "block 3 is charged too late",
    ),
    Bug(
        "stay-behind",
        "postings behind a refused block are withdrawn without a fault",
        "one viewer without tokens crashes the room for everybody",
        (Edit(STREAM, "and not (self.termination.over or viewing.revoked)", "and not self.termination.over"),),
        f"{FUNDS_TESTS}::test_the_first_refused_block_of_several_evicts_and_later_ones_are_never_charged",
        "LedgerDisagrees",
        "the receipt of the block behind it counts as a fault",
    ),
    Bug(
        "stay-release",
        "the room's own knowledge of an evicted viewer takes precedence over older database rows",
        "a viewer whose join was prepared before the last receipt watches a block for nothing, and "
        "its earnings are counted twice",
        (Edit(VIEWING_SESSIONS, "if viewing is None:", "if viewing is None or not viewing.is_watched:"),),
        f"{FUNDS_TESTS}::test_a_join_that_read_the_database_before_the_last_receipt_charges_nothing_twice",
        "assert (2, 60) == (3, 90)",
        "block 2 is posted again, and block 3 is not",
    ),
    Bug(
        "stay-sessions",
        "a payer watches over two connections at most",
        "four people share one account",
        (Edit("domain/stream/membership.py", "if viewing is None else self._rules.connections_per_payer", ""),),
        f"{ACCESS_TESTS}::test_one_payer_watches_from_two_connections_at_most_and_others_from_four",
        "AssertionError",
        "the third connection is admitted",
    ),
    Bug(
        "stay-warning",
        "the low-funds warning counts committed blocks, and not pending ones",
        "a viewer with tokens for one block is warned before that block is committed",
        (Edit(STREAM, "if viewing.is_watched and not viewing.meter.waiting and", "if viewing.is_watched and"),),
        f"{FUNDS_TESTS}::test_the_warning_waits_for_the_receipt",
        "AssertionError",
        "a warning comes before the receipt",
    ),
    Bug(
        "stay-stored",
        "a block that commits after its viewer left is stored with its active time",
        "after a restart the viewer watches that block once more for nothing",
        (Edit(STREAM, "if receipt.paid and not viewing.meter.clock.running:", "if False:"),),
        f"{LIFE_TESTS}::test_the_time_of_a_block_that_was_booked_after_its_viewer_left_is_stored_with_it",
        "assert 9960.0 ==",
        "all of block 2 is left",
    ),
    Bug(
        "stream-over",
        "no meter starts after its stream has ended",
        "a viewer whose presence is confirmed during the drain loses paid time",
        (
            Edit(
                "domain/stream/membership.py",
                "if member is not None and not self._state.termination.over:",
                "if member is not None:",
            ),
        ),
        f"{LIFE_TESTS}::test_a_viewer_who_responds_while_the_stream_drains_loses_no_paid_time",
        "50000000 == 40000000",
        "the stored time is later than the drain",
    ),
    Bug(
        "stream-disown",
        "pending tips are answered when another server takes the stream",
        "their clients wait for ever",
        (Edit(STREAM, "[*self.termination.drain(), *self.chat_and_tips.abandon()]", "self.termination.drain()"),),
        f"{LIFE_TESTS}::test_every_tip_under_way_is_answered_when_the_stream_is_lost",
        "AssertionError",
        "two of three tips have no answer",
    ),
    Bug(
        "stream-ticket",
        "a refund evicts a viewer only if it is of the ticket that the viewer holds",
        "a delayed refund of an earlier ticket evicts a viewer who has bought another one",
        (
            Edit(
                "domain/stream/access_policy.py",
                "if self.tickets.get(user_id) != ticket_id:",
                "if user_id not in self.tickets:",
            ),
        ),
        f"{ACCESS_TESTS}::test_a_refund_of_an_earlier_ticket_does_not_evict_the_holder_of_another",
        "AssertionError",
        "the viewer is evicted",
    ),
    Bug(
        "stream-count",
        "a member count is published one second after the last one, or when membership changed if that is later",
        "the count carries an old timestamp, and the next count follows at once",
        (Edit("domain/room/presence.py", "max(self._changed_at, self._counted_at + COUNT_EVERY)", "self._counted_at"),),
        "tests/domain/test_stream_presence.py",
        "AssertionError",
        "counts are published with wrong timestamps, and too often",
    ),
    Bug(
        "tip-once",
        "a room publishes a tip once, however often its key is sent",
        "a retry publishes the tip again",
        (Edit(CHAT, "[answer] if receipt.outcome is Outcome.ALREADY else ", ""),),
        f"{CHAT_TESTS}::test_the_same_key_gives_once_and_is_answered_the_same_even_while_the_first_is_under_way",
        "(3, 30) == (1, 30)",
        "three tips are published",
    ),
    Bug(
        "overlay-once",
        "an overlay receives a tip once, even if the commit precedes the room's receipt",
        "an overlay shows a tip twice",
        (Edit("domain/room/overlays.py", " if tip.tip_id not in coming", ""),),
        f"{CHAT_TESTS}::test_a_booked_tip_that_is_not_published_yet_is_received_once",
        "[7, 7] == [7]",
        "the tip is in the history and is published again",
    ),
    Bug(
        "crash-tips",
        "pending tips are answered when the rules of a room raise",
        "their clients wait for ever",
        (Edit("server/rooms/supervisor.py", "room.abandon_tips()", "pass"),),
        f"{RESTART_TESTS}::test_every_command_is_answered_though_the_room_crashes_and_is_abandoned",
        "it did not come",
        "a tip has no answer",
    ),
    Bug(
        "crash-wait",
        "… and so are commands that still wait when a room is abandoned",
        "their clients wait for ever",
        (Edit("server/rooms/supervisor.py", "room.refuse_waiting()", "pass"),),
        f"{RESTART_TESTS}::test_every_command_is_answered_though_the_room_crashes_and_is_abandoned",
        "it did not come",
        "a tip has no answer",
    ),
    Bug(
        "crash-overlays",
        "overlays join a restarted room under its new epoch",
        "overlays receive no more events, or events whose sequence numbers do not follow",
        (Edit("server/rooms/lifecycle.py", "partial(self.rejoin_overlay, room)),", "lambda _: None),"),),
        "tests/server/rooms/test_room_crash.py::test_an_overlay_of_a_crashed_call_is_sent_the_new_epoch_and_further_events",
        "it did not come",
        "no overlay joins the new room",
    ),
)
