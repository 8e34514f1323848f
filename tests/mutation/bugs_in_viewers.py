"""Bugs in what keeps viewers billed, owners informed, and one member's traffic out of another's queue."""

from tests.mutation.bugs import Bug, Edit

VIEWING_SESSION, STREAM, VIEWERS, SIGNALS = (
    "domain/stream/viewing_session.py",
    "domain/stream/stream.py",
    "domain/stream/viewer_events.py",
    "domain/room/signalling.py",
)
CHAT, HOST_PRESENCE, ALLOWANCE = "domain/room/chat.py", "domain/stream/host_presence.py", "domain/token_bucket.py"
TESTS, CHAT_TESTS = "tests/domain/test_stream_viewers.py", "tests/domain/test_stream_chat.py"
SERVER_TESTS = "tests/server/rooms/test_viewers.py"

IN_VIEWERS = (
    Bug(
        "viewer-grace",
        "the meter of a payer who loses the connection runs for the grace period",
        "breaking the connection stops the meter at once",
        (Edit(VIEWING_SESSION, "not (self._watching or self._runs_on)", "not self._watching"),),
        f"{TESTS}::test_a_viewer_who_hides_between_resumes_is_billed_for_the_grace_each_time",
        "AssertionError",
        "nothing is billed between two resumes",
    ),
    Bug(
        "viewer-absent-due",
        "a block that falls due while its payer is away is not charged",
        "a disconnected payer pays for a block that they may not see",
        (
            Edit(
                STREAM,
                "if viewing.is_over_grace(at) or (not viewing.is_watched and not viewing.receipts_overdue(at)):",
                "if viewing.is_over_grace(at):",
            ),
        ),
        f"{TESTS}::test_a_block_that_falls_due_in_the_grace_is_not_charged_before_its_payer_is_back",
        "AssertionError",
        "two blocks are charged where one was due",
    ),
    Bug(
        "viewer-clean-leave",
        "leaving ends the grace period of a lost connection",
        "a payer whose session has ended pays for the rest of the grace period",
        (Edit(VIEWING_SESSION, "if not self._silent:", "if self._watching:"),),
        f"{TESTS}::test_a_dropped_payer_whose_session_ends_pays_no_more",
        "assert",
        "time of the paid block is used after the session's end",
    ),
    Bug(
        "viewer-owner-heard",
        "the owner's absence stops meters as of the owner's last sign of presence",
        "an owner is paid for the time until the silence is noticed",
        (
            Edit(
                "domain/stream/membership.py",
                "self._viewing_sessions.note_owner_away(self._host_presence.last_received_at, at)",
                "self._viewing_sessions.note_owner_away(at, at)",
            ),
        ),
        f"{TESTS}::test_an_owner_who_fell_silent_is_paid_for_nothing_after_their_last_byte",
        "AssertionError",
        "the next block falls due ten seconds too early",
    ),
    Bug(
        "viewer-two-devices",
        "… on any of their connections",
        "the connection that is lost last decides, although another one answered later",
        (
            Edit(
                HOST_PRESENCE,
                "self.last_received_at = max(self.last_received_at, last_received_at)",
                "self.last_received_at = last_received_at",
            ),
        ),
        f"{TESTS}::test_the_last_byte_of_an_owner_is_the_last_of_any_connection",
        "assert",
        "time in which the owner was present is returned",
    ),
    Bug(
        "viewer-paused",
        "the owner receives an event when a viewer's meter stops",
        "media are sent to a viewer who does not pay",
        (Edit(STREAM, "viewing.is_paused and not is_free, at)", "False, at)"),),
        f"{TESTS}::test_the_owner_receives_each_viewer_in_a_room_of_any_size",
        "assert",
        "no pause is sent",
    ),
    Bug(
        "viewer-again",
        "a new session of the owner receives the list of viewers",
        "after a lost connection the owner does not know the viewers",
        (Edit(STREAM, "self._state.viewers.catch_up(member_id, at)", "pass"),),
        f"{SERVER_TESTS}::test_the_owners_sessions_are_sent_all_viewers_again_after_a_resume",
        "AssertionError",
        "no viewer is sent after the resume",
    ),
    Bug(
        "viewer-flood",
        "the number of viewer events per second is bounded",
        "a loop of joins and leaves fills the owner's send queue",
        (
            Edit(
                VIEWERS,
                "while self._changed and not self._bucket.wait(1, at):",
                "while self._changed:",
            ),
        ),
        f"{TESTS}::test_a_flood_of_comings_and_goings_costs_the_owner_so_many_events_a_second_and_no_more",
        "AssertionError",
        "each join and leave is sent",
    ),
    Bug(
        "signal-present",
        "signals to or from a viewer whose meter is stopped are refused",
        "media are negotiated with a viewer who does not pay",
        (
            Edit(
                SIGNALS,
                "any(map(self._members.is_silent, both)) or any(map(self._clock_stands, both))",
                "any(map(self._members.is_silent, both))",
            ),
        ),
        f"{TESTS}::test_signals_to_or_from_a_viewer_whose_clock_stands_are_refused",
        "AssertionError",
        "the signal passes",
    ),
    Bug(
        "signal-sender",
        "a signal counts against its sender's limit, over all connections",
        "four connections of one viewer overflow the creator's send queue",
        (
            Edit(
                SIGNALS,
                "in (sent.of(sender_id, at), received.of(receiver_id, at)):",
                "in (received.of(receiver_id, at),):",
            ),
        ),
        f"{TESTS}::test_a_viewers_signals_never_fill_the_owners_queue",
        "assert",
        "more passes than one viewer may send",
    ),
    Bug(
        "signal-receiver",
        "… and against its receiver's limit",
        "many viewers together overflow the creator's send queue",
        (Edit(SIGNALS, "in (sent.of(sender_id, at), received.of(receiver_id, at)):", "in (sent.of(sender_id, at),):"),),
        f"{TESTS}::test_events_of_many_viewers_keep_to_the_rate_for_the_owner",
        "assert",
        "more bytes pass than an owner may receive",
    ),
    Bug(
        "chat-own",
        "one user's chat cannot use up the room's limit",
        "one flooding member prevents all others from writing",
        (Edit(CHAT, "max(own.wait(1, at), self._chat.wait(1, at))", "self._chat.wait(1, at)"),),
        f"{CHAT_TESTS}::test_one_users_flood_leaves_the_others_room_to_write",
        "AssertionError",
        "the first member writes as much as the room allows",
    ),
    Bug(
        "join-budget",
        "joins per user are limited, over all devices",
        "each join and leave of a loop is published in the room",
        (Edit("server/access/user_budgets.py", '            return "join"', "            return None"),),
        f"{SERVER_TESTS}::test_a_loop_of_joins_and_leaves_is_bounded_for_all_rooms_and_devices_of_a_user",
        "AssertionError",
        "no join is refused",
    ),
    Bug(
        "end-gives-back",
        "a block that has just begun is refunded when the owner ends the stream",
        "an owner ends right after the charge and keeps a full block",
        (Edit(STREAM, "self._give_back(self.viewing_sessions.payers(), at, by_owner=reason in OWNER_ENDS)", "pass"),),
        f"{SERVER_TESTS}::test_a_block_just_begun_is_refunded_if_the_owner_ends_it_and_both_are_notified",
        "AssertionError",
        "no refund is sent",
    ),
    Bug(
        "removal-gives-back",
        "… or removes the viewer",
        "an owner removes a viewer right after the charge and keeps a full block",
        (
            Edit(
                STREAM,
                '        self._give_back([user_id], at)\n        self._membership.evict(user_id, "removed", at)',
                '        self._membership.evict(user_id, "removed", at)',
            ),
        ),
        f"{SERVER_TESTS}::test_a_block_just_begun_is_refunded_if_the_owner_ends_it_and_both_are_notified",
        "AssertionError",
        "no refund is sent",
    ),
)
