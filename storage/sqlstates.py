"""Classifies SQLSTATEs: retry the statement, or abandon it; and whether the connection must be replaced.

The codes are listed in appendix A of PostgreSQL's manual; the first two characters are the class.
"""

# Classes in which the statement or its arguments are at fault, so that each retry fails in the same way. All others
# count as temporary: if that is wrong, it costs a delay, and never a payment, a room or the process.
_PERMANENT_CLASSES = {
    "0A": "feature not supported: this database cannot do what the statement asks",
    "21": "cardinality violation",
    "22": "data exception",
    "23": "integrity constraint violation",
    "42": "syntax error, or access rule violation",
    "44": "WITH CHECK OPTION violation",
    "54": "program limit exceeded: too long or too deep for this database",
    "HM": "raised by our own functions and triggers",
    "P0": "raised by PL/pgSQL that is not ours",
}

# Codes of those classes that are temporary all the same.
_TEMPORARY = {
    "HM008": "the clocks of the server and the database disagree, until one of them is corrected",
}

# Errors that make the session unusable, although the connection may still be open. Behind a pooler or a DNS name, the
# next connection may lead to another server, or to another backend of the same server.
_LOST_SESSION_CLASSES = {
    "08": "connection exception",
    "26": "a prepared statement is missing: a pooler has changed the session",
    "58": "system error, for instance a file that cannot be read",
    "XX": "internal error: the memory of the backend may be damaged",
}
_LOST_SESSIONS = {
    "25006": "read only: the primary became a standby, or was set to accept no writes",
    "25P03": "idle in transaction for too long: the backend has ended",
    "25P04": "in a transaction for too long: the backend has ended",
    "57P01": "the server is being shut down",
    "57P02": "the server crashed",
    "57P03": "the server cannot take connections now",
    "57P04": "the database was dropped",
    "57P05": "idle for too long: the backend has ended",
}


def is_passing(sqlstate: str) -> bool:
    """Return whether a retry of the same statement may succeed; True for an unknown code."""
    return sqlstate[:2] not in _PERMANENT_CLASSES or sqlstate in _TEMPORARY


def loses_session(sqlstate: str) -> bool:
    """Return whether the connection must be replaced before the next statement."""
    return sqlstate in _LOST_SESSIONS or sqlstate[:2] in _LOST_SESSION_CLASSES


def marks_standby(sqlstate: str) -> bool:
    """Return whether the server accepts no writes, so that all open connections to it must be replaced."""
    return sqlstate == "25006"


def marks_sharing(sqlstate: str) -> bool:
    """Return whether a prepared statement is missing or already exists: another client used the backend in between.

    A pooler in statement mode reports itself instead, and closes the connection.
    """
    return sqlstate in ("26000", "42P05")
