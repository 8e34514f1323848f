"""The guards of sessions and their connections, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

PROTOCOL, SESSIONS = "server/gateway/protocol.py", "server/sessions/directory.py"
BALANCE_TESTS = "tests/server/sessions/test_balance_order.py"
BAN_TESTS = "tests/server/sessions/test_bans_in_time.py"
BLOCK_TESTS = "tests/server/sessions/test_blocked_users.py"
HANDSHAKE_TESTS = "tests/server/gateway/test_handshakes.py"
PLACES_TESTS = "tests/server/sessions/test_session_places.py"
PING_TESTS = "tests/server/gateway/test_heartbeats.py"
REPLACED_TESTS = "tests/server/gateway/test_replaced_connections.py"

IN_SESSIONS = (
    Bug(
        "replaced-end",
        "the end of a replaced connection does not end the session",
        "the newer connection stays open, is never pinged and receives nothing",
        (
            Edit(
                PROTOCOL,
                "        if not self._is_current:\n            return\n        if ends_session(code)",
                "        if ends_session(code)",
            ),
        ),
        f"{REPLACED_TESTS}::test_the_close_of_the_old_connection_does_not_end_the_session",
        'await raw.ask("ping")',
        "the newer connection has no answer",
    ),
    Bug(
        "replaced-queue",
        "commands that are queued in a replaced connection are dropped",
        "an old token:refresh or room:leave takes effect in the newer connection",
        (Edit(PROTOCOL, "        if not self._is_current:  # commands", "        if False:  # commands"),),
        f"{REPLACED_TESTS}::test_a_token_refresh_queued_in_the_old_connection_changes_nothing",
        "assert session.identity is identity",
        "the session has the token of the old connection",
    ),
    Bug(
        "replaced-late",
        "a connection that closed during the user look-up resumes no session",
        "a returning client is replaced by its own earlier attempt, and is closed with a code that "
        "forbids to reconnect",
        (Edit(PROTOCOL, "if known is not None and self.send_queue.over:", "if False:"),),
        f"{REPLACED_TESTS}::test_a_client_that_stopped_waiting_does_not_replace_its_own_later_connection",
        "the server hung up before",
        "the newer connection is closed",
    ),
    Bug(
        "replaced-join",
        "a session that left before the room admitted it receives no events",
        "a newer connection receives events of a room that it never joined",
        (Edit("server/broadcast/fanout.py", " and session.is_member_of(self):", ":"),),
        "tests/server/rooms/test_fanout.py::test_a_session_that_left_before_it_was_admitted_receives_nothing",
        "assert [1] == []",
        "it receives the next event",
    ),
    Bug(
        "ban-lookup",
        "bans are checked again after the user look-up",
        "a user who is banned during the look-up has an open session",
        (
            Edit(
                "server/sessions/authenticator.py",
                "        self._check_ban(user_id)  # a ban that was read",
                "        # a ban that was read",
            ),
            Edit(PROTOCOL, "            recheck(self._context, identity)\n", ""),
        ),
        f"{BAN_TESTS}::test_a_ban_that_lands_while_the_user_is_looked_up_opens_no_session",
        "TooSlowError",
        "the connection stays open",
    ),
    Bug(
        "ban-stale",
        "an older list of bans does not replace a newer one",
        "the latest banned users are admitted again",
        (Edit("server/sessions/bans.py", "if changes <= self._changes:", "if False:"),),
        f"{BAN_TESTS}::test_an_older_list_of_bans_never_replaces_a_newer_one",
        "AssertionError",
        "the second user counts as not banned",
    ),
    Bug(
        "ban-overlays",
        "a ban also closes the user's overlays",
        "the overlays of a banned creator continue to receive events",
        (
            Edit(
                "server/sessions/bans.py",
                "in self._sessions.answering_for(user_id):",
                "in self._sessions.of(user_id):",
            ),
        ),
        f"{BAN_TESTS}::test_the_overlays_of_a_banned_creator_are_closed_and_no_new_one_opens",
        "still open",
        "the overlay stays connected",
    ),
    Bug(
        "ban-rooms",
        "every ban check ends the rooms of banned users, not only the first",
        "a call or stream that was starting when its party was banned continues",
        (
            Edit(
                "server/sessions/bans.py",
                "        self._end_rooms()\n        await self._disc",
                "        await self._disc",
            ),
        ),
        f"{BAN_TESTS}::test_a_room_that_opens_after_its_owner_was_banned_is_ended",
        "TooSlowError",
        "the stream does not end",
    ),
    Bug(
        "overlay-revoked",
        "connected overlays are compared with the list of valid tokens",
        "an overlay whose token was revoked on another server, or during its look-up, continues to receive events",
        (Edit("server/sessions/bans.py", "if session.user_id not in live:", "if False:"),),
        f"{BAN_TESTS}::test_a_token_that_another_server_revokes_disconnects_its_overlay_within_a_second",
        "still open",
        "the overlay stays connected",
    ),
    Bug(
        "block-call",
        "a call ends when one party blocks the other",
        "a fan whom the creator blocked stays in the call",
        (
            Edit(
                "domain/call/call.py",
                "            case inputs.UserBlocked(user_id, blocked=True):\n"
                "                self._separate(user_id, at)\n",
                "",
            ),
        ),
        "tests/domain/test_call_end.py::test_a_party_that_blocks_the_other_ends_the_call",
        "AssertionError",
        "the call does not end",
    ),
    Bug(
        "block-tell",
        "a block ends the blocking user's call",
        "a block ends memberships of streams only, and the call continues",
        (Edit("server/changes/user_changes.py", "            yield call\n", "            pass\n"),),
        f"{BLOCK_TESTS}::test_blocking_the_fan_while_it_rings_declines_the_call",
        "it did not come",
        "`call:declined` is not sent",
    ),
    Bug(
        "block-late",
        "a call checks for blocks again when its room starts",
        "a call continues to ring although its caller was blocked during its setup",
        (
            Edit(
                "server/rooms/kinds/call.py",
                "return await retry_storage(lambda: blocked_between(self._postgres, *stored.facts.parties))",
                "return ()",
            ),
        ),
        f"{BLOCK_TESTS}::test_a_block_that_lands_while_the_call_is_made_ends_it",
        "it did not come",
        "`call:declined` is not sent",
    ),
    Bug(
        "block-opening",
        "a stream checks for blocks again when its room starts",
        "a user who was blocked during the start may join",
        (
            Edit(
                "server/rooms/kinds/stream.py",
                "return set(now.blocked) - set(past.blocked)",
                "return ()",
            ),
        ),
        f"{BLOCK_TESTS}::test_a_block_that_lands_while_the_stream_opens_counts",
        "TooSlowError",
        "the stream's room does not know the block",
    ),
    Bug(
        "ping-seldom",
        "only sessions with metered presence are pinged often",
        "every viewer of a public stream is pinged every five seconds",
        (
            Edit(
                "server/rooms/room.py",
                "return user_id == self.owner_id or self.stream.access_policy.pays(user_id, is_operator)",
                "return True",
            ),
        ),
        f"{PING_TESTS}::test_parties_of_a_metered_stream_are_pinged_often_and_public_viewers_are_not",
        "AssertionError",
        "the viewer of the public stream is pinged twelve times a minute",
    ),
    Bug(
        "ping-follows",
        "the ping interval of a session is set anew when it joins a room",
        "the absence of a call's party is noticed after twenty seconds only",
        (
            Edit(
                PROTOCOL,
                "command, reply)\n                self._note_presence()\n",
                "command, reply)\n",
            ),
            Edit(
                PROTOCOL,
                "        if self._pings.send_if_due(now):\n            self._pings.presence_matters = ",
                "        if self._pings.send_if_due(now):\n            _ = ",
            ),
        ),
        f"{PING_TESTS}::test_both_parties_of_a_call_are_pinged_often_from_the_moment_they_join",
        "AssertionError",
        "both are pinged three times a minute",
    ),
    Bug(
        "balance-order",
        "a session never receives a balance older than the last one",
        "an outdated balance replaces the current one on the screen",
        (Edit("server/sessions/session.py", "if n < self.wallet.n:", "if False:"),),
        f"{BALANCE_TESTS}::test_an_overtaken_read_of_the_wallet_does_not_send_the_older_balance",
        "[15, 10]",
        "the older balance comes last",
    ),
    Bug(
        "balance-anew",
        "a resumed session receives its balance in any case",
        "a balance that was sent into a dead connection is never sent again",
        (Edit(PROTOCOL, "session.missed_events = known is not None", "pass"),),
        f"{BALANCE_TESTS}::test_a_balance_that_was_sent_into_a_dead_connection_is_sent_again_after_the_resume",
        "it did not come",
        "no balance is sent after the resume",
    ),
    Bug(
        "handshake-hostile",
        "a handshake that cannot be decoded is answered 400",
        "a one-byte host name writes a traceback into the log",
        (
            Edit(
                "server/gateway/handshake.py",
                "except (RemoteProtocolError, UnicodeError):",
                "except RemoteProtocolError:",
            ),
        ),
        f"{HANDSHAKE_TESTS}::test_a_hostile_handshake_is_answered_400_and_logged_nowhere",
        "AssertionError",
        "the connection counts as a fault, and has no answer",
    ),
    Bug(
        "handshake-head",
        "headers without an end are refused at a limit",
        "a request without an end uses memory until the deadline",
        (Edit("server/gateway/handshake.py", "while len(head) <= HEAD_BYTES_MAX and not", "while not"),),
        f"{HANDSHAKE_TESTS}::test_headers_that_do_not_end_are_refused",
        "assert",
        "there is no answer",
    ),
    Bug(
        "session-yields",
        "a new session replaces sessions that do not answer pings",
        "a device whose connections broke often enough is closed with a code that forbids to reconnect",
        (Edit(SESSIONS, "if session.unanswered]", "if session.line is None]"),),
        f"{PLACES_TESTS}::test_half_open_sessions_yield_the_one_silent_for_longest_first",
        "it did not come",
        "the new session is refused",
    ),
    Bug(
        "session-probe",
        "before a session is refused, the user's other sessions are pinged",
        "the server cannot tell a session in use from a dead one",
        (Edit(SESSIONS, "            connection.ping(trio.current_time())", "            pass"),),
        f"{PLACES_TESTS}::test_half_open_sessions_yield_the_one_silent_for_longest_first",
        "it did not come",
        "the new session is refused",
    ),
    Bug(
        "membership-removed",
        "an eviction returns the session's room slot",
        "a viewer who was evicted often enough cannot join any room",
        (Edit("server/rooms/task.py", "self._sessions.removed(member_id, self._audiences[audience])", "pass"),),
        f"{PLACES_TESTS}::test_a_room_that_evicted_its_viewer_does_not_count_for_their_session",
        "AssertionError",
        "the next join is refused",
    ),
    Bug(
        "member-yields",
        "a new connection of a viewer replaces their silent one in a stream",
        "a viewer whose connections broke cannot join the stream that they pay for",
        (
            Edit(
                "domain/stream/membership.py",
                "if (silent := self._members.yielding(given.member_id, given.user_id, per_user)) is not None:",
                "if (silent := given.member_id) in ():",
            ),
        ),
        "tests/domain/test_stream_access.py"
        "::test_a_viewers_silent_connection_gives_its_place_to_a_new_one_the_longest_silent_first",
        "assert",
        "the new connection is refused",
    ),
    Bug(
        "party-yields",
        "a new connection of a party replaces their silent one in a call",
        "a party whose connections broke cannot join the call",
        (Edit("domain/call/membership.py", "            self._replace_silent(member_id, party, at)\n", ""),),
        "tests/domain/test_call_end.py::test_a_partys_silent_connection_gives_its_place_to_a_new_one",
        "assert",
        "the new connection is refused",
    ),
)
