"""The guards of sessions and their connections, and the tests that find them missing."""

from tests.bugs import Bug, Edit

CONVERSATION, SESSIONS = "server/conversation.py", "server/sessions.py"
REPLACED_TESTS = "tests/server/test_replaced_connections.py"

IN_SESSIONS = (
    Bug(
        "replaced-end",
        "a connection that was replaced does not end the session",
        "the newer connection stays open, is never pinged and receives nothing",
        (
            Edit(
                CONVERSATION,
                "        if not self._is_current:\n            return\n        if code in STANDARD_ENDS",
                "        if code in STANDARD_ENDS",
            ),
        ),
        f"{REPLACED_TESTS}::test_the_old_connections_goodbye_does_not_end_the_session",
        "session.line is not None",
        "the session has no connection any more",
    ),
    Bug(
        "replaced-queue",
        "commands that are queued in a replaced connection are dropped",
        "an old token:refresh or room:leave counts in the newer connection",
        (Edit(CONVERSATION, "        if not self._is_current:  # commands", "        if False:  # commands"),),
        f"{REPLACED_TESTS}::test_a_refresh_that_waits_in_the_old_connection_changes_nothing",
        "assert session.identity is identity",
        "the session has the token of the old connection",
    ),
    Bug(
        "replaced-late",
        "a connection that was closed while its user was looked up resumes nothing",
        "a client that came back is replaced by its own earlier attempt, and told not to return",
        (Edit(CONVERSATION, "if known is not None and self.outbox.over:", "if False:"),),
        f"{REPLACED_TESTS}::test_a_client_that_gave_up_waiting_does_not_replace_its_own_later_connection",
        "the server hung up before",
        "the newer connection is closed",
    ),
    Bug(
        "replaced-join",
        "a session that left before the room admitted it is not reached",
        "a newer connection receives events of a room that it never joined",
        (Edit("server/fanout.py", " and session.sits_in(self):", ":"),),
        "tests/server/test_fanout.py::test_a_session_that_left_before_it_was_admitted_hears_nothing",
        "assert [1] == []",
        "it receives the next event",
    ),
)
