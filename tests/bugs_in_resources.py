"""The guards of what clients may hold and cost: connections, bytes before authentication, and rows of one user."""

from tests.bugs import Bug, Edit

LIMITS, LIMITS_TESTS = "server/connection_limits.py", "tests/server/test_connection_limits.py"
LISTENER = "server/listener.py"
CONNECTIONS, HTTP1 = "server/rest/connections.py", "server/rest/http1.py"
HOSTILE_TESTS = "tests/server/rest/test_hostile_connections.py"
WEBSOCKET, CONVERSATION = "server/websocket.py", "server/conversation.py"
TURNS, TURNS_TESTS = "server/rest/turns.py", "tests/server/rest/test_turns.py"
BOUNDS_TESTS = "tests/server/rest/test_user_bounds.py"
UNAUTHENTICATED_TESTS = "tests/server/test_unauthenticated.py"

IN_RESOURCES = (
    Bug(
        "address-share",
        "an address holds its share of the connections and no more",
        "one address takes every connection",
        (Edit(LIMITS, "if self._by_address[address] >= self.most_of_address:", "if self._open < 0:"),),
        f"{LIMITS_TESTS}::test_an_address_has_its_share_and_others_have_theirs",
        "assert [True, True",
        "a sixth connection is admitted",
    ),
    Bug(
        "address-known",
        "a connection whose user is known leaves its address's share",
        "a household with many devices locks itself out",
        (Edit(WEBSOCKET, "    admission.authenticated()\n", ""),),
        f"{LIMITS_TESTS}::test_open_sessions_do_not_use_up_the_share_of_their_address",
        "Error",
        "a second session of the address is refused",
    ),
    Bug(
        "address-idle",
        "a new connection takes the place of its address's longest idle one",
        "idle keep-alive connections lock their own address out",
        (Edit(CONNECTIONS, "        if not idle:", "        if True:"),),
        f"{LIMITS_TESTS}::test_a_new_http_connection_takes_the_place_of_the_longest_idle_one",
        "Error",
        "a third client is refused",
    ),
    Bug(
        "http-head",
        "the headers of a request have a deadline",
        "a silent socket is held for as long as it likes",
        (Edit(CONNECTIONS, "trio.current_time() + settings.head_seconds\n", "math.inf\n"),),
        f"{HOSTILE_TESTS}::test_a_head_that_does_not_come_is_not_waited_for",
        "TooSlowError",
        "it is never closed",
    ),
    Bug(
        "http-unread",
        "an answer that is not read has a deadline",
        "a socket that never reads is held for as long as it likes",
        (Edit(CONNECTIONS, "with trio.fail_after(self._settings.send_seconds):", "with trio.fail_after(math.inf):"),),
        f"{HOSTILE_TESTS}::test_an_answer_that_is_never_read_ends_its_connection",
        "TooSlowError",
        "it is never closed",
    ),
    Bug(
        "http-turns",
        "of one address a few requests are worked on at once",
        "a hundred connections of one address make everybody's waits a hundred times longer",
        (Edit(TURNS, "            while len(self._begun) >= AT_ONCE:", "            while False:"),),
        f"{TURNS_TESTS}::test_requests_beyond_the_first_few_of_an_address_wait_in_order",
        "assert [",
        "all of them begin",
    ),
    Bug(
        "http-turn-passed",
        "a request that waits itself passes its turn on",
        "four bodies that do not come keep out everybody behind the same address",
        (Edit(TURNS, "trio.move_on_at(began_at + PASSED_ON_SECONDS)", "trio.move_on_at(float('inf'))"),),
        f"{TURNS_TESTS}::test_a_request_that_waits_itself_passes_its_turn_on",
        "assert [",
        "the second waits for ever",
    ),
    Bug(
        "http-2",
        "an upgrade to HTTP/2 is refused",
        "the tunnel passes a proxy's rules by",
        (Edit(HTTP1, 'if b"h2c" in protocols or b"http/2" in protocols:', 'if b"h2c" == b"no":'),),
        f"{HOSTILE_TESTS}::test_another_protocol_is_refused_and_the_connection_closed[h2c among others]",
        "TooSlowError",
        "it is answered, and the connection kept",
    ),
    Bug(
        "http-chunks",
        "a body in many tiny parts is refused",
        "64 KiB in chunks of a byte cost seconds of the event loop",
        (Edit(HTTP1, "        if too_small or self._received", "        if self._received"),),
        f"{HOSTILE_TESTS}::test_a_body_in_tiny_chunks_is_refused",
        "assert b",
        "the first is read to its end",
    ),
    Bug(
        "open-size",
        "a first message has a few KiB",
        "each unauthenticated websocket holds 64 KiB",
        (
            Edit(
                WEBSOCKET,
                "return min(settings.max_frame_bytes, OPEN_BYTES",
                "return max(settings.max_frame_bytes, OPEN_BYTES",
            ),
        ),
        f"{UNAUTHENTICATED_TESTS}::test_a_first_message_of_more_than_a_few_kib_is_refused_as_too_large",
        "assert b",
        "it is read whole",
    ),
    Bug(
        "open-one",
        "nothing is read behind the first message until the user is known",
        "each unauthenticated websocket holds 64 messages",
        (Edit(WEBSOCKET, "                await self._admitted.wait()\n", "                pass\n"),),
        f"{UNAUTHENTICATED_TESTS}::test_nothing_is_read_behind_a_first_message_while_the_user_is_looked_up",
        "assert",
        "megabytes are read",
    ),
    Bug(
        "money-socket",
        "tips over the websocket count under the money limit",
        "four sockets send 130 tips a second",
        (Edit(CONVERSATION, "        if not self._limited:\n", "        if self._limited:\n"),),
        f"{UNAUTHENTICATED_TESTS}::test_the_money_limit_is_one_for_rest_and_all_websockets",
        "assert",
        "all of them are paid",
    ),
    Bug(
        "streams-scheduled",
        "a creator announces only so many streams that wait",
        "one creator fills the lists of streams",
        (Edit("storage/streams.py", ">= most_scheduled:", ">= most_a_day:"),),
        f"{BOUNDS_TESTS}::test_streams_that_wait_are_bounded_also_at_the_same_moment",
        "assert [201, 201",
        "all of them are announced",
    ),
    Bug(
        "streams-lock",
        "streams of one creator are announced one after the other",
        "at the same moment each is the last that is allowed",
        (Edit("storage/streams.py", "        await lock_user(connection, new.creator)\n", ""),),
        f"{BOUNDS_TESTS}::test_streams_that_wait_are_bounded_also_at_the_same_moment",
        "assert [201, 201",
        "more than three are announced",
    ),
    Bug(
        "reports-equal",
        "an equal report within a day is answered with the first",
        "one user buries the reports of others under copies of one",
        (Edit("storage/reports.py", "        if row is not None:\n            return _report(row)\n", ""),),
        f"{BOUNDS_TESTS}::test_equal_reports_of_a_day_are_one",
        "assert 5 == 1",
        "each is a row",
    ),
    Bug(
        "day-bound",
        "a user makes only so many reports and streams a day",
        "one user fills the disk",
        (Edit("storage/quotas.py", "if made < most:", "if made <= most:"),),
        f"{BOUNDS_TESTS}::test_reports_of_a_day_are_bounded",
        "assert [201, 201, 201]",
        "one more is taken",
    ),
    Bug(
        "purchases-pending",
        "a user has only so many purchases that wait to be paid",
        "one user makes checkouts at the provider without end",
        (Edit("storage/purchases.py", ">= most_pending:", "> 10**9:"),),
        f"{BOUNDS_TESTS}::test_purchases_that_wait_to_be_paid_are_bounded",
        "201",
        "a third is made",
    ),
    Bug(
        "overlays-kept",
        "of revoked overlay tokens the latest are kept",
        "making and revoking fills the disk",
        (
            Edit(
                "storage/overlay_tokens.py",
                "revoked_at DESC, id DESC OFFSET $2",
                "revoked_at DESC, id DESC OFFSET $2 + 100",
            ),
        ),
        f"{BOUNDS_TESTS}::test_of_revoked_overlay_tokens_the_latest_are_kept",
        "assert [",
        "all are kept",
    ),
)
