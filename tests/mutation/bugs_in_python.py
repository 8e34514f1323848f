"""The guards of the books that stand in the program, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

ACTOR, POSTGRES, APP = "storage/ledger/actor.py", "storage/postgres.py", "server/app.py"
REFUSE_ALL = "return [DecidedBatch(postings, None, 0.0)]"
ACTOR_TESTS = "tests/storage/test_actor.py"
UNDER_WAY = "tests/storage/test_under_way.py"
KILL_TESTS = "tests/server/faults/test_kill.py"
FIVE_BLOWS = f"{KILL_TESTS}::test_five_blows_to_server_and_database_lose_and_double_nothing_that_was_acknowledged"

IN_PYTHON = (
    Bug(
        "resend",
        "a batch whose outcome is unknown is sent again",
        "whoever asked is told no, booked or not",
        (Edit(ACTOR, "await self._wait_for_database(tries, error)", REFUSE_ALL),),
        "tests/storage/test_lost_replies.py",
        "it is paid, now or by an earlier try",
        "a posting that is cut is INVALID",
    ),
    Bug(
        "recheck",
        "… and its keys are looked up then",
        "what an earlier try has booked is in the way of every later one",
        (Edit(ACTOR, " = True  # look up the keys", " = False  # look up the keys"),),
        "tests/storage/test_lost_replies.py",
        "TooSlowError",
        "the batch is never booked",
    ),
    Bug(
        "poison",
        "a batch that cannot be carried out is halved until the bad posting stands alone",
        "one bad posting takes up to 511 others with it",
        (Edit(ACTOR, "return await self._isolate(postings, refused)", REFUSE_ALL),),
        f"{ACTOR_TESTS}::test_an_unknown_wallet_is_refused_alone_and_its_neighbours_commit",
        "Outcome.INVALID",
        "its neighbours are INVALID too",
    ),
    Bug(
        "passing",
        "what another moment would allow is tried again",
        "a lock that is held for too long costs postings",
        (Edit("storage/sqlstates.py", "return sqlstate[:2] not in _PERMANENT_CLASSES", 'return sqlstate[:2] == "08"'),),
        f"{UNDER_WAY}::test_who_holds_the_fence_for_too_long_delays_postings_and_costs_none",
        "Outcome.INVALID",
        "the posting is INVALID",
    ),
    Bug(
        "mailbox",
        "the actor's mailbox is bounded",
        "an outage fills the memory",
        (Edit(ACTOR, "open_memory_channel[_Command](MAX_WAITING)", 'open_memory_channel[_Command](float("inf"))'),),
        "tests/storage/test_outage.py",
        "== MAX_WAITING",
        "more commands wait than may",
    ),
    Bug(
        "order",
        "receipts are handed out in turn, however long those of the batch before take",
        "a room hears of its second block before its first",
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
        "a commit that was sent is waited for",
        "a server that is torn down cuts off its own commit",
        (
            Edit(
                POSTGRES,
                "with trio.CancelScope(shield=True):\n                return",
                "with trio.CancelScope():\n                return",
            ),
        ),
        f"{UNDER_WAY}::test_a_commit_under_way_is_finished_though_the_actor_is_cancelled",
        "Outcome.COMMITTED",
        "there is no receipt, and nothing is booked",
    ),
    Bug(
        "own-task",
        "postings are booked by the actor's own task, not by their callers'",
        "who stops waiting takes back what was on its way",
        (
            Edit(
                ACTOR,
                "await self._commands.send(command)",
                "deliver([found for part in await self._carry_out([command]) for found in part.receipts])",
            ),
        ),
        f"{UNDER_WAY}::test_callers_who_stop_waiting_stop_no_posting_under_way_and_none_in_line",
        "Outcome.COMMITTED",
        "a posting whose caller was cancelled is not booked",
    ),
    Bug(
        "drain",
        "a server that is stopped waits for its rooms and its books",
        "it is gone before the blocks under way are booked",
        (
            Edit(APP, "await context.registry.drain()", "await trio.lowlevel.checkpoint()"),
            Edit(APP, "await context.actor.finished.wait()", "await trio.lowlevel.checkpoint()"),
        ),
        "tests/server/cli/test_drain.py::test_while_it_drains_nothing_new_starts_and_the_blocks_in_flight_are_charged",
        "Error",
        "the server does not wait, and answers nobody",
    ),
    Bug(
        "answer",
        "… and for its books also where no room waits for them",
        "who asked over HTTP never hears what became of it",
        (Edit(APP, "await context.actor.finished.wait()", "await trio.lowlevel.checkpoint()"),),
        "tests/server/cli/test_stop.py::test_a_credit_under_way_is_booked_and_answered_before_the_server_ends",
        "RemoteProtocolError",
        "the connection ends without an answer",
    ),
    Bug(
        "ring-fence",
        "a call that rings under a client's key takes the write lock before it locks its parties",
        "it and a creator who goes live lock each other out",
        (
            Edit(
                "storage/rooms/call_creation.py",
                'await connection.execute("SELECT 1 FROM fence WHERE one FOR NO KEY UPDATE")',
                "pass",
            ),
        ),
        "tests/server/rest/test_same_moment.py::test_a_call_that_waits_for_the_write_lock_locks_neither_party",
        "could not obtain lock",
        "both are locked while the call waits",
    ),
    Bug(
        "client-key",
        "what moves tokens is named by the client's own key",
        "a credit that is asked for again is given again",
        (Edit("server/rest/request.py", "self.key or str(new_uuid())", "str(new_uuid())"),),
        FIVE_BLOWS,
        "was acknowledged otherwise",
        "the same key is answered with another credit",
    ),
    Bug(
        "durable",
        "a commit is on the disk before it is acknowledged",
        "a database that dies forgets what people were told",
        (Edit(POSTGRES, '"jit": "off",', '"jit": "off", "synchronous_commit": "off",'),),
        FIVE_BLOWS,
        "",
        "an acknowledged block or credit is not in the journal",
    ),
)
