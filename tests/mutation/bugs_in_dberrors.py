"""The guards against what the database says and against asyncio, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

SQLSTATES, POSTGRES = "storage/sqlstates.py", "storage/postgres.py"
LOGIN, POOL, CONNECTION, LOOP, FUTURE, WATCHDOG = (
    f"storage/connections/{name}.py"
    for name in ("login", "pool", "trio_connection", "asyncio_loop", "trio_future", "watchdog")
)
ANSWERS = "server/rest/http/quart_app.py"
REFUSED_TESTS = "tests/server/faults/test_refused_statements.py"
SQLSTATE_TESTS = "tests/storage/test_sqlstates.py"

IN_DBERRORS = (
    Bug(
        "unknown-passes",
        "a database error of an unknown class counts as transient",
        "a full disk refuses tips and ends calls",
        (Edit(SQLSTATES, "sqlstate[:2] not in _PERMANENT_CLASSES", "sqlstate[:2] in _LOST_SESSION_CLASSES"),),
        f"{SQLSTATE_TESTS}::test_a_batch_that_meets_a_passing_error_is_booked_later_and_as_a_whole[53400]",
        "TooSlowError",
        "the posting is INVALID",
    ),
    Bug(
        "lost-session",
        "a connection in an unusable session is replaced",
        "after a failover the actor stays connected to a server that is read-only now",
        (Edit(CONNECTION, "if loses_session(str(error.sqlstate)):", "if False:"),),
        f"{SQLSTATE_TESTS}::test_a_lone_connection_is_kept_only_while_its_session_is_sound",
        "AssertionError: assert False == (",
        "the connection is kept",
    ),
    Bug(
        "old-pool",
        "after a failover the pool replaces its other connections, too",
        "each old connection fails one more request",
        (Edit(POSTGRES, "self._pool.expire()", "pass"),),
        f"{SQLSTATE_TESTS}::test_after_a_failover_no_older_connection_of_the_pool_is_used_again",
        "AssertionError",
        "an older connection is used again",
    ),
    Bug(
        "pool-order",
        "the pool serves tasks in the order of their requests",
        "under load some requests wait until they are refused",
        (Edit(POOL, "self._waiting.popitem(last=False)", "self._waiting.popitem()"),),
        "tests/storage/test_turns.py",
        "two may be answered before",
        "the longest wait is overtaken again and again",
    ),
    Bug(
        "pool-bound",
        "a limited number of tasks wait for a connection",
        "while the database is slow, waiting requests fill the memory",
        (Edit(POOL, "len(self._waiting) < WAITING_MAX and", "True and"),),
        "tests/storage/test_pool.py::test_more_tasks_than_can_wait_are_refused_at_once",
        "DID NOT RAISE",
        "the request is answered later",
    ),
    Bug(
        "dead-idle",
        "a connection that the server has closed is given to nobody",
        "after a restart of the database, each idle connection fails one request",
        (Edit(POOL, "            if connection.usable:\n", "            if True:\n"),),
        "tests/storage/test_pool.py::test_an_idle_connection_that_the_server_has_closed_is_replaced",
        "StorageUnavailable",
        "the next request fails",
    ),
    Bug(
        "cancelled-begin",
        "a transaction that is cancelled as it begins is rolled back",
        "the next request's rows are not committed",
        (
            Edit(
                POSTGRES,
                '    try:\n        await connection.execute("BEGIN")\n',
                '    await connection.execute("BEGIN")\n    try:\n',
            ),
            Edit(POOL, "elif connection.in_transaction:", "elif False:"),
        ),
        "tests/storage/test_trio_connection.py::test_requests_cancelled_at_any_moment_leave_no_connection_dirty",
        "transaction",
        "a later request finds a transaction open",
    ),
    Bug(
        "cancelled-work",
        "a cancelled request cancels its statement",
        "each cancelled request costs its connection five seconds, and then the connection",
        (Edit(FUTURE, "        self._waiting = None\n        self.cancel()\n", "        self._waiting = None\n"),),
        "tests/storage/test_trio_connection.py::test_a_cancelled_statement_leaves_its_connection_usable",
        "AssertionError",
        "the connection is another one",
    ),
    Bug(
        "overdue-work",
        "a connection whose answer is overdue is closed",
        "a database that stops answering holds its connections for ever",
        (Edit(WATCHDOG, "connection.end_overdue()", "pass"),),
        "tests/storage/test_trio_connection.py::test_an_answer_that_is_overdue_closes_the_connection",
        "AssertionError",
        "the request waits for the server's own limit, and the connection stays",
    ),
    Bug(
        "asyncio-handler",
        "errors that asyncio reports as unhandled are logged and counted",
        "trio-asyncio raises the error around the whole loop, and the process ends",
        (Edit(LOOP, "loop.set_exception_handler(self.unhandled)", "pass"),),
        "tests/storage/test_unhandled.py",
        "nobody retrieves this",
        "the error is raised out of the loop",
    ),
    Bug(
        "empty-answer",
        "a response without a body is not iterated over in asyncio",
        "a few preflight requests end the process",
        (
            Edit(
                ANSWERS,
                "class BufferedResponse(TrioResponse):",
                'class BufferedResponse(__import__("quart").Response):',
            ),
            Edit(
                ANSWERS,
                "super().__init__(body, status, content_type=",
                "super().__init__(body or None, status, content_type=",
            ),
        ),
        "tests/server/rest/test_answers.py",
        "no running event loop",
        "asyncio is asked for its running loop",
    ),
    Bug(
        "transaction-pooler",
        "a pooler in transaction mode is detected at the start",
        "the server starts, and loses its settings and prepared statements under load",
        (Edit("storage/migrate.py", "if await postgres.shares_sessions():", "if False:"),),
        "tests/storage/test_poolers.py::test_any_other_mode_is_noticed",
        "DID NOT RAISE",
        "the migration begins, or fails with a different error",
    ),
    Bug(
        "session-settings",
        "settings are set after connecting, and not in the startup packet",
        "a pooler refuses every connection",
        (
            Edit(
                LOGIN,
                "**_SETTINGS)",
                "**_SETTINGS, server_settings=session_settings())",
            ),
        ),
        "tests/storage/test_poolers.py",
        "unsupported startup parameter",
        "the pooler does not know the parameter",
    ),
    Bug(
        "terminated-connection",
        "a connection that is terminated within a statement counts as unavailable",
        "a server that drains logs an error and a traceback",
        (Edit(CONNECTION, "isinstance(error, AttributeError) and self._connection.is_closed()", "False"),),
        "tests/storage/test_trio_connection.py::test_a_connection_that_is_terminated_within_a_statement_is_unavailable",
        "AttributeError",
        "the statement raises AttributeError",
    ),
    Bug(
        "refused-connection",
        "a refused connection does not decide the outcome of what was to be sent over it",
        "every tip is refused while the database refuses connections",
        (
            Edit(
                LOGIN,
                "raise StorageUnavailable(first_line(error), str(error.sqlstate)) from error\n    try:",
                "raise\n    try:",
            ),
        ),
        f"{SQLSTATE_TESTS}::test_a_database_that_lets_nobody_in_is_waited_for",
        "Outcome.INVALID",
        "the posting is INVALID",
    ),
    Bug(
        "refused-command",
        "a command whose statement is refused is answered",
        "the command's connection ends",
        (
            Edit(
                "server/gateway/protocol.py",
                "except StatementRefused as refused:  # a bug in the server",
                "except ZeroDivisionError as refused:  # a bug in the server",
            ),
        ),
        f"{REFUSED_TESTS}::test_a_join_that_is_refused_is_answered_and_leaves_no_membership_and_an_open_connection",
        "it did not come",
        "the command has no answer",
    ),
    Bug(
        "tidy-alone",
        "a failing part of the maintenance does not stop the other parts",
        "one table that cannot be written prevents that rejected payouts are returned",
        (Edit("server/maintenance.py", 'log.warning("maintenance.postponed", part=name)', "raise"),),
        f"{REFUSED_TESTS}::test_a_failure_in_the_ten_minute_maintenance_keeps_no_other_part_from_being_done",
        "StorageUnavailable",
        "the maintenance round ends",
    ),
)
