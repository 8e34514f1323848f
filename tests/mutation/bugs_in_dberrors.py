"""The guards against what the database says and against asyncio, and the tests that find them missing."""

from tests.mutation.bugs import Bug, Edit

SQLSTATES, POSTGRES = "storage/sqlstates.py", "storage/postgres.py"
ANSWERS = "server/rest/responses.py"
REFUSED_TESTS = "tests/server/faults/test_refused_statements.py"
SQLSTATE_TESTS = "tests/storage/test_sqlstates.py"

IN_DBERRORS = (
    Bug(
        "unknown-passes",
        "an error of a class that nobody has listed is passing",
        "a disk that is full refuses tips and ends calls",
        (Edit(SQLSTATES, "sqlstate[:2] not in _PERMANENT_CLASSES", "sqlstate[:2] in _LOST_SESSION_CLASSES"),),
        f"{SQLSTATE_TESTS}::test_a_batch_that_meets_a_passing_error_is_booked_later_and_as_a_whole[53400]",
        "TooSlowError",
        "the posting is INVALID",
    ),
    Bug(
        "lost-session",
        "a connection whose session is of no use is replaced",
        "after a failover the actor stays on the server that takes no writes any more",
        (Edit(POSTGRES, "if loses_session(str(error.sqlstate)):", "if False:"),),
        f"{SQLSTATE_TESTS}::test_a_lone_connection_is_kept_only_while_its_session_is_sound",
        "AssertionError: assert False == (",
        "the connection is kept",
    ),
    Bug(
        "old-pool",
        "after a failover the pool's other connections are replaced, too",
        "each of them costs one more request its answer",
        (Edit(POSTGRES, "await _from_trio(self._pool.expire_connections)", "pass"),),
        f"{SQLSTATE_TESTS}::test_after_a_failover_no_older_connection_of_the_pool_is_used_again",
        "AssertionError",
        "an older connection is used again",
    ),
    Bug(
        "asyncio-handler",
        "what asyncio reports as unhandled is logged and counted",
        "trio-asyncio raises it around everything, and the process ends",
        (Edit(POSTGRES, "loop.set_exception_handler(unhandled)", "pass"),),
        "tests/storage/test_unhandled.py",
        "nobody retrieves this",
        "the error is raised out of the loop",
    ),
    Bug(
        "empty-answer",
        "an answer without a body is not iterated over in asyncio",
        "a few preflights end the process",
        (
            Edit(ANSWERS, "from quart_trio.wrappers import TrioResponse", "from quart import Response as TrioResponse"),
            Edit(ANSWERS, "super().__init__(body, status,", "super().__init__(body or None, status,"),
        ),
        "tests/server/rest/test_answers.py",
        "no running event loop",
        "asyncio is asked for its loop",
    ),
    Bug(
        "transaction-pooler",
        "a pooler in transaction mode is noticed at the start",
        "it starts, and loses its settings and prepared statements under load",
        (Edit("storage/migrate.py", "if await postgres.shares_sessions():", "if False:"),),
        "tests/storage/test_poolers.py::test_any_other_mode_is_noticed",
        "DID NOT RAISE",
        "the migration begins, or fails by another error",
    ),
    Bug(
        "session-settings",
        "settings are made once connected, and not in the startup packet",
        "a pooler refuses every connection",
        (
            Edit(
                POSTGRES,
                '"command_timeout": CLIENT_TIMEOUT_SECONDS}',
                '"command_timeout": CLIENT_TIMEOUT_SECONDS, "server_settings": _session_settings()}',
            ),
        ),
        "tests/storage/test_poolers.py",
        "unsupported startup parameter",
        "the pooler does not know the parameter",
    ),
    Bug(
        "refused-connection",
        "a connection that is refused says nothing of what was to be sent over it",
        "every tip is refused while the database lets nobody in",
        (
            Edit(
                POSTGRES,
                "raise StorageUnavailable(_first_line(error), str(error.sqlstate)) from error\n    try:",
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
        "its connection ends",
        (
            Edit(
                "server/gateway/protocol.py",
                "except StatementRefused as refused:  # a bug of ours",
                "except ZeroDivisionError as refused:  # a bug of ours",
            ),
        ),
        f"{REFUSED_TESTS}::test_a_join_that_is_refused_is_answered_and_leaves_no_membership_and_an_open_connection",
        "it did not come",
        "no answer comes",
    ),
    Bug(
        "tidy-alone",
        "what fails in the ten minutes' work keeps nothing else from being done",
        "one table that cannot be written keeps rejected payouts from being given back",
        (Edit("server/maintenance.py", 'log.warning("maintenance.postponed", part=name)', "raise"),),
        f"{REFUSED_TESTS}::test_a_failure_in_the_ten_minute_maintenance_keeps_no_other_part_from_being_done",
        "StorageUnavailable",
        "the round ends",
    ),
)
