"""What an SQLSTATE means to us: wait and try again, or give up on this one statement; and whether the session is lost.

The codes are those of PostgreSQL's appendix A; the first two characters are the class.
"""

__all__ = ["is_passing", "loses_session", "marks_standby"]

# The statement, or what it was given, is at fault: it fails in the same way however often it is sent. Everything that
# is not listed here is passing: a wrong guess then costs a delay, and never a payment, a room or the process.
_OURS = {
    "0A": "feature not supported: this database cannot do what the statement asks",
    "21": "cardinality violation",
    "22": "data exception",
    "23": "integrity constraint violation",
    "42": "syntax error, or access rule violation",
    "44": "WITH CHECK OPTION violation",
    "54": "program limit exceeded: too long or too deep for this database",
    "HM": "raised by our own functions and triggers",
    "P0": "raised by somebody's PL/pgSQL",
}

# Of those, what may succeed at another moment all the same.
_PASSING = {
    "HM008": "the clocks of the server and the database disagree, until one of them is set right",
}

# After these the session is of no use, although the connection may still be open. Behind a pooler or a DNS name the
# next connection may lead to another server, or to another backend of the same one.
_LOST_SESSION_CLASSES = {
    "08": "connection exception",
    "26": "a prepared statement is gone: the session is not the one that we prepared it in",
    "58": "system error, as of a file that cannot be read",
    "XX": "internal error: what the backend holds in memory may be damaged",
}
_LOST_SESSIONS = {
    "25006": "read only: the primary became a standby, or was told to take no more writes",
    "25P03": "idle in transaction for too long: the backend has ended",
    "25P04": "in a transaction for too long: the backend has ended",
    "57P01": "the server is being shut down",
    "57P02": "the server crashed",
    "57P03": "the server cannot take connections now",
    "57P04": "the database was dropped",
    "57P05": "idle for too long: the backend has ended",
}


def is_passing(sqlstate: str) -> bool:
    """Whether the same statement may succeed at another moment; also for a code that nobody knows."""
    return sqlstate[:2] not in _OURS or sqlstate in _PASSING


def loses_session(sqlstate: str) -> bool:
    """Whether the connection has to be replaced before anything else is sent."""
    return sqlstate in _LOST_SESSIONS or sqlstate[:2] in _LOST_SESSION_CLASSES


def marks_standby(sqlstate: str) -> bool:
    """Whether every connection that is as old as this one leads to a server that takes no writes."""
    return sqlstate == "25006"
