"""The guards against billing for time in which the server did nothing, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

CALL_MEMBERSHIP, STREAM_MEMBERSHIP, INBOX, STALL = (
    "domain/call/membership.py",
    "domain/stream/membership.py",
    "server/rooms/inbox/inbox.py",
    "server/observability/stall_detector.py",
)
RULES, IN_INBOX, PROCESS = (
    "tests/domain/test_stall.py",
    "tests/server/rooms/test_inbox.py",
    "tests/server/rooms/test_stall.py",
)
THROWN_OUT = f"{PROCESS}::test_no_session_is_closed_because_the_server_was_stopped"

IN_STALL = (
    Bug(
        "stall",
        "input that arrived during a stall is handled before any deadline",
        "a process that was suspended bills calls that users ended meanwhile",
        (Edit(STALL, "if self._runs and self.began is None:", "if False:"),),
        f"{PROCESS}::test_ending_or_leaving_while_the_server_is_stopped_costs_nothing_for_the_stall[8.0]",
        'assert blocks <= ended["blocks"]',
        "blocks of the stall are charged to users who had left",
    ),
    Bug(
        "stall-stamp",
        "… and is stamped with the start of the stall",
        "blocks that fell due in the stall are charged before the hang-up that arrived in it",
        (Edit(INBOX, "max(self._clock.at(began), self._made_at)", "now"),),
        f"{IN_INBOX}::test_an_input_that_arrived_in_a_stall_is_handled_before_the_block_that_fell_due_in_it",
        "AssertionError",
        "the hang-up is stamped with the end of the stall",
    ),
    Bug(
        "stall-start",
        "a command that starts a meter is stamped with the end of the stall",
        "a fan who resumes in a stall is billed for all of it",
        (Edit(INBOX, "if self._stall_order.is_late(given.given):", "if False:"),),
        f"{IN_INBOX}::test_a_clock_that_starts_in_a_stall_counts_from_its_end_with_its_dependents",
        "AssertionError",
        "the resume is stamped with the beginning of the stall",
    ),
    Bug(
        "stall-suspended",
        "a suspension of the machine counts as a stall",
        "after a suspension blocks fall due before any input is read",
        (Edit(STALL, "if slept > STALL_SECONDS:", "if False:"),),
        f"{IN_INBOX}::test_a_suspended_machine_has_stalled_though_the_monotonic_clock_stood_still",
        "AssertionError",
        "no stall is open",
    ),
    Bug(
        "stall-call",
        "a call is not billed for a stall",
        "both parties are billed, or paid, for time without a connection",
        (Edit(CALL_MEMBERSHIP, "if stalled.all_silent:", "if False:"),),
        f"{RULES}::test_in_a_long_stall_nobody_pays_and_the_paid_rest_is_kept",
        "AssertionError",
        "20 blocks too many are charged",
    ),
    Bug(
        "stall-stream",
        "… and neither is a viewer of a metered stream",
        "viewers pay for time without a connection",
        (Edit(STREAM_MEMBERSHIP, "if stalled.all_silent and not self._state.termination.over:", "if False:"),),
        f"{RULES}::test_viewers_of_a_metered_stream_pay_nothing_for_a_long_stall",
        "assert [23, 23] == [3, 3]",
        "20 blocks too many are charged",
    ),
    Bug(
        "stall-excuse",
        "no deadline of a call passes during a stall",
        "parties who are still connected are removed after a stall",
        (Edit(CALL_MEMBERSHIP, "waiting.excuse(stalled.until - at)", "waiting.excuse(0)"),),
        f"{RULES}::test_a_call_rings_longer_by_a_stall_in_which_the_server_could_not_receive_its_accept",
        "AssertionError",
        "the call ends as missed",
    ),
    Bug(
        "stall-session",
        "a session that waits for a resume does not expire during a stall",
        "a user who lost the connection before the stall is removed from every room",
        (Edit("server/sessions/directory.py", "session.lost_at = min(now, session.lost_at + seconds)", "pass"),),
        THROWN_OUT,
        "assert lost.ready",
        "the session is not resumed",
    ),
    Bug(
        "stall-token",
        "a token that expired during a stall may still be refreshed",
        "a user who could not be warned is disconnected",
        (
            Edit(
                "server/gateway/protocol.py", "seconds_left <= 0 and not self._expired_in_stall()", "seconds_left <= 0"
            ),
        ),
        THROWN_OUT,
        "expiring",
        "the session has ended",
    ),
    Bug(
        "stall-ping",
        "silence during a stall is no ping timeout",
        "every connection is closed with 4002 after a stall",
        (
            Edit(
                "server/gateway/pings.py",
                "now - max(self._send_queue.received_at, self._stalls.over_at) >=",
                "now - self._send_queue.received_at >=",
            ),
        ),
        THROWN_OUT,
        "ConnectionClosed",
        "the connection is closed",
    ),
    Bug(
        "fault-untold",
        "a fault is contained even if memory for its log line is missing",
        "the process ends because one connection could not allocate memory",
        (Edit("server/observability/faults.py", "with suppress(MemoryError):", "with suppress():"),),
        "tests/server/observability/test_faults_without_memory.py",
        "MemoryError",
        "the logger's error propagates",
    ),
    Bug(
        "memory-limit",
        "new connections are refused before the memory is exhausted",
        "many clients use the memory that the current calls need, and Python ends on a failed allocation",
        (Edit("server/gateway/listener.py", "if self._memory.is_near:", "if False:"),),
        "tests/server/observability/test_memory_limit.py::test_newcomers_are_refused_until_there_is_memory_again",
        "AssertionError",
        "a connection is accepted although no memory is left",
    ),
)
