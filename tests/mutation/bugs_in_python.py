"""The guards of the ledger in Python: the storage actor, its drain and its connections, with the tests of each."""

from tests.mutation.bugs import Bug, Edit

ACTOR, POSTGRES, APP = "storage/ledger/actor.py", "storage/postgres.py", "server/app.py"
SESSION = "storage/connections/connection_string.py"
REFUSE_ALL = "return [DecidedBatch(postings, None, 0.0)]"
ACTOR_TESTS = "tests/storage/test_actor.py"
UNDER_WAY = "tests/storage/test_under_way.py"
KILL_TESTS = "tests/server/faults/test_kill.py"
five_kills = f"{KILL_TESTS}::test_five_kills_of_server_and_database_lose_and_duplicate_nothing_that_was_acknowledged"

IN_PYTHON = (
    Bug(
        "resend",
        "a batch whose outcome is unknown is sent again",
        "the caller receives a refusal for a posting that may have been committed",
        (Edit(ACTOR, "await self._wait_for_database(tries, error)", REFUSE_ALL),),
        "tests/storage/test_lost_replies.py",
        "it is paid, now or by an earlier try",
        "a posting whose reply is lost is INVALID",
    ),
    Bug(
        "recheck",
        "… and its keys are looked up on that attempt",
        "what an earlier attempt has committed fails every later attempt",
        (Edit(ACTOR, " = True  # look up the keys", " = False  # look up the keys"),),
        "tests/storage/test_lost_replies.py",
        "TooSlowError",
        "the batch is never committed",
    ),
    Bug(
        "poison",
        "a batch that fails is split in halves until the bad posting is alone",
        "one bad posting fails up to 511 others",
        (Edit(ACTOR, "return await self._isolate(postings, refused)", REFUSE_ALL),),
        f"{ACTOR_TESTS}::test_an_unknown_wallet_is_refused_alone_and_its_neighbours_commit",
        "Outcome.INVALID",
        "the postings beside it are INVALID too",
    ),
    Bug(
        "passing",
        "a transient database error is retried",
        "a lock timeout fails postings for good",
        (Edit("storage/sqlstates.py", "return sqlstate[:2] not in _PERMANENT_CLASSES", 'return sqlstate[:2] == "08"'),),
        f"{UNDER_WAY}::test_a_write_lock_held_for_too_long_delays_postings_and_loses_none",
        "Outcome.INVALID",
        "the posting is INVALID",
    ),
    Bug(
        "mailbox",
        "the actor's mailbox is bounded",
        "during an outage the mailbox fills the memory",
        (Edit(ACTOR, "open_memory_channel[Command](MAX_WAITING)", 'open_memory_channel[Command](float("inf"))'),),
        "tests/storage/test_outage.py",
        "== MAX_WAITING",
        "more commands wait than the limit allows",
    ),
    Bug(
        "order",
        "receipts are delivered in order, even if those of an earlier batch take long",
        "a room receives the receipt of its second block before that of its first",
        (
            Edit(ACTOR, "if self.waiting or self._owed > len(commands):", "if self.waiting:"),
            Edit(ACTOR, "SEND_STEPS = 4 ", "SEND_STEPS = 4_000 "),
        ),
        f"{UNDER_WAY}::test_the_receipts_of_one_caller_come_in_the_order_of_its_postings_whatever_their_batches",
        "block_no",
        "receipts are out of order",
    ),
    Bug(
        "shield",
        "cancellation waits for a commit that was sent",
        "a server that is cancelled interrupts its own commit",
        (
            Edit(
                POSTGRES,
                "timeout, may_be_cancelled=False",
                "timeout",
            ),
        ),
        f"{UNDER_WAY}::test_a_commit_under_way_is_finished_though_the_actor_is_cancelled",
        "Outcome.COMMITTED",
        "there is no receipt, and nothing is committed",
    ),
    Bug(
        "own-task",
        "postings are booked by the actor's own task, not by their callers'",
        "a caller that is cancelled withdraws a posting that was being sent",
        (
            Edit(
                ACTOR,
                "await self._commands.send(command)",
                "deliver([found for part in await self._carry_out([command]) for found in part.receipts])",
            ),
        ),
        f"{UNDER_WAY}::test_callers_who_stop_waiting_stop_no_posting_under_way_and_none_in_the_queue",
        "Outcome.COMMITTED",
        "a posting whose caller was cancelled is not committed",
    ),
    Bug(
        "drain",
        "a server that stops waits for its rooms and its storage actor",
        "the server ends before the pending blocks are committed",
        (
            Edit(APP, "await context.registry.drain()", "await trio.lowlevel.checkpoint()"),
            Edit(APP, "await context.actor.finished.wait()", "await trio.lowlevel.checkpoint()"),
        ),
        "tests/server/cli/test_drain.py::test_while_it_drains_nothing_new_starts_and_the_blocks_in_flight_are_charged",
        "Error",
        "the server ends without waiting, and leaves requests without an answer",
    ),
    Bug(
        "answer",
        "… and for the storage actor also if no room waits for it",
        "an HTTP client never learns the outcome of its request",
        (Edit(APP, "await context.actor.finished.wait()", "await trio.lowlevel.checkpoint()"),),
        "tests/server/cli/test_stop.py::test_a_credit_under_way_is_booked_and_answered_before_the_server_ends",
        "RemoteProtocolError",
        "the connection ends without an answer",
    ),
    Bug(
        "ring-fence",
        "call creation with an idempotency key locks the write lock before its parties' rows",
        "call creation and a stream's start deadlock",
        (
            Edit(
                "storage/rooms/call_creation.py",
                'await connection.execute("SELECT 1 FROM fence WHERE one FOR NO KEY UPDATE")',
                "pass",
            ),
        ),
        "tests/server/rest/test_same_moment.py::test_a_call_that_waits_for_the_write_lock_locks_neither_party",
        "could not obtain lock",
        "both rows are locked while the call creation waits",
    ),
    Bug(
        "client-key",
        "the posting key is derived from the client's idempotency key",
        "a repeated request for a credit credits again",
        (Edit("server/rest/request.py", "self.user_key or client_key", "client_key"),),
        five_kills,
        "was acknowledged otherwise",
        "the same key is answered with a different credit",
    ),
    Bug(
        "key-content",
        "a used key is answered only for a request with the same content",
        "another request under a used key gets the result of the first one",
        (Edit("storage/idempotency.py", ' or row["content"].bytes != content', ""),),
        "tests/storage/test_idempotency.py::test_a_used_key_with_other_content_is_in_use",
        "AssertionError",
        "the other request gets the first use",
    ),
    Bug(
        "drain-repeats",
        "a draining server answers a repeat with its first result",
        "a client that retries at that moment does not learn that the payment was made",
        (Edit("server/rest/dispatch.py", "await is_used(self._context.postgres, request.user_key)", "False"),),
        "tests/server/rest/test_draining.py::test_a_repeated_tip_is_answered_and_a_new_one_refused",
        "assert (503",
        "the repeat is answered 503",
    ),
    Bug(
        "durable",
        "a commit is on the disk before it is acknowledged",
        "a database crash loses postings that clients have received as paid",
        (Edit(SESSION, '"jit": "off",', '"jit": "off", "synchronous_commit": "off",'),),
        five_kills,
        "",
        "an acknowledged block or credit is not in the journal",
    ),
)
