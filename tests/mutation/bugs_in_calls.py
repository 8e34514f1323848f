"""The guards of calls against absent payees, hardly used blocks, idle rings and keys used twice."""

from tests.mutation.bugs import Bug, Edit

PAYEE = "tests/domain/test_call_payee.py"
EXPLOITS = "tests/server/rest/test_call_exploits.py"
COOLDOWN = "tests/domain/test_ring_cooldown.py"
END = "tests/domain/test_call_end.py"
RINGING = "tests/server/rest/test_ringing.py"

IN_CALLS = (
    Bug(
        "payee-heard",
        "a payee's silence stops the meter as of their last sign of presence",
        "a payee is paid for ten seconds of each absence",
        (Edit("domain/call/membership.py", "payee_was_away(party.last_received_at, at)", "payee_was_away(at, at)"),),
        f"{PAYEE}::test_time_since_the_last_byte_of_a_silent_creator_is_not_billed",
        "assert",
        "block 2 is charged ten seconds early",
    ),
    Bug(
        "payee-crash",
        "an active time that was set back is accepted as newer",
        "after a crash the fan is billed for the payee's absence",
        (Edit("domain/billing/meter.py", "block_start = 0 if committed <= set_back.block_no else", "block_start ="),),
        f"{PAYEE}::test_time_that_was_taken_back_is_not_billed_after_a_crash",
        "assert",
        "block 3 is charged early",
    ),
    Bug(
        "payee-machine",
        "time that was set back once is not set back again",
        "two silences set the same time back twice",
        (
            Edit(
                "domain/billing/block.py",
                "self._runs = tuple((begun, min(over, since)) for begun, over in self._runs if begun < since)",
                "self._runs = self._runs[:]",
            ),
        ),
        "tests/domain/test_block.py::test_a_clock_that_is_set_back_has_counted_nothing_since_then",
        "taken twice",
        "the meter is behind",
    ),
    Bug(
        "payee-end",
        "a payee who ends the call refunds a barely used block",
        "a payee ends each call right after the charge and keeps the block",
        (Edit("domain/call/call.py", "if by is self.parties.creator else 0", "if by is None else 0"),),
        f"{PAYEE}::test_a_creator_who_ends_gives_back_a_block_of_which_less_than_ten_seconds_were_used",
        "assert",
        "the fan paid for 5 ms",
    ),
    Bug(
        "payee-lost",
        "a payee who does not return has ended the call",
        "closing the browser instead of ending the call keeps the block",
        (Edit("domain/call/call.py", "partial(self._end, reason, by=party))", "partial(self._end, reason))"),),
        f"{PAYEE}::test_a_party_that_does_not_come_back_has_ended_the_call",
        "assert",
        "the block is kept",
    ),
    Bug(
        "refund-due",
        "the refund of a block is scheduled with the end of its call",
        "a server that stops between the end and the refund keeps the fan's tokens",
        (Edit("storage/migrations/0009_calls.sql", "        PERFORM note_refunds_due(given_back);\n", ""),),
        f"{EXPLOITS}::test_a_block_that_a_server_had_no_time_to_refund_is_refunded_by_the_next",
        "assert",
        "the refund is not made",
    ),
    Bug(
        "pause-sum",
        "manual pauses of one party add up",
        "repeated pauses just under the limit hold the other party in the call",
        (Edit("domain/call/parties.py", "self.paused_before += max(", "self.paused_before = 0 * max("),),
        f"{PAYEE}::test_pauses_of_one_party_add_up_to_the_limit",
        "assert",
        "the third pause continues",
    ),
    Bug(
        "ring-doubles",
        "the cooldown after unanswered rings doubles",
        "a fan rings and cancels every ten seconds for ever",
        (Edit("domain/call/ring_cooldown.py", "FIRST_WAIT << min(len(empty) - 2, 40)", "FIRST_WAIT"),),
        f"{COOLDOWN}::test_the_wait_after_calls_that_came_to_nothing_doubles_up_to_ten_cooldowns",
        "assert",
        "the third cooldown is as long as the second",
    ),
    Bug(
        "start-holds",
        "a creator who is starting a stream cannot be called",
        "fans who ring repeatedly prevent a creator from starting a stream",
        (
            Edit(
                "storage/migrations/0009_calls.sql",
                "AND c.starts_stream_until > clock_timestamp()) THEN",
                "AND false) THEN",
            ),
            Edit(
                "storage/rooms/call_creation.py",
                "c.starts_stream_until > clock_timestamp()",
                "false",
            ),
        ),
        f"{EXPLOITS}::test_fans_who_ring_without_a_pause_keep_no_creator_from_going_live",
        "ALREADY_IN_CALL",
        "the start is refused",
    ),
    Bug(
        "key-tip",
        "a posting checks whether its key is used for something other than a posting",
        "the key of a call transfers tokens when it is used for a tip",
        (
            Edit(
                "storage/migrations/0013_batch_steps.sql",
                "careful := EXISTS (SELECT FROM idempotency_keys o WHERE o.key = ANY (key));",
                "careful := false;",
            ),
        ),
        f"{EXPLOITS}::test_the_key_of_a_call_moves_no_tokens[tips/send]",
        "assert",
        "the call rings and the tip is paid",
    ),
    Bug(
        "rate-expected",
        "a call at a rate other than the expected one is refused",
        "a fan pays a rate that was raised a moment ago",
        (
            Edit(
                "storage/rooms/call_creation.py",
                "if new.expected_rate not in (None, facts.rate_tokens_per_min):",
                "if False:",
            ),
        ),
        f"{EXPLOITS}::test_with_another_rate_than_expected_nothing_rings",
        "assert",
        "it rings",
    ),
    Bug(
        "end-outside",
        "the end of a call is sent to sessions that never joined its room",
        "a device that is joining a call continues to show one that has ended",
        (
            Edit(
                "domain/call/events.py",
                "else self._send_outside(ended.event, members)",
                "else []",
            ),
        ),
        f"{END}::test_sessions_outside_of_the_room_receive_the_end_and_members_only_once",
        "assert",
        "no session outside the room receives it",
    ),
    Bug(
        "end-inside",
        "… and not twice to members of its room",
        "a device in the room receives the end twice",
        (Edit("domain/call/events.py", "Send(user_id, outside, but=inside)", "Send(user_id, outside)"),),
        f"{END}::test_sessions_outside_of_the_room_receive_the_end_and_members_only_once",
        "assert",
        "the members are not excluded",
    ),
    Bug(
        "end-again",
        "the end of a call is sent again after a resume if it may have been lost",
        "a device that was offline for a moment continues to ring",
        (Edit("server/sessions/resend.py", "    if received_at is not None:", "    if False:"),),
        f"{RINGING}::test_a_session_that_had_no_connection_receives_the_end_of_a_call_once_it_resumes[False]",
        "AssertionError: it did not come",
        "the device receives nothing",
    ),
    Bug(
        "end-again-once",
        "… and not if it was delivered",
        "each resume sends ends of old calls",
        (Edit("server/sessions/session.py", "or self._call_end[0] < moment", "or False"),),
        f"{RINGING}::test_an_end_that_a_session_surely_received_is_not_sent_again",
        "assert",
        "the end is sent twice",
    ),
    Bug(
        "checkpoint-drift",
        "maintenance rounds start on schedule, however long the previous one took",
        "active time is stored every five seconds plus the time of five rounds",
        (
            Edit(
                "server/maintenance.py",
                "due_at = max(due_at + seconds, trio.current_time() + LEAST_PAUSE * seconds)",
                "due_at = trio.current_time() + seconds",
            ),
        ),
        "tests/server/test_maintenance.py::test_rounds_that_take_a_while_do_not_delay_those_after_them",
        "assert",
        "each round is later than the one before",
    ),
)
