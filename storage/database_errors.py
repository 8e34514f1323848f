"""The two exceptions that every database access may raise: StorageUnavailable (retry) and StatementRefused (do not).

`storage/sqlstates.py` decides which error of PostgreSQL becomes which exception.
"""

_UNIQUE_VIOLATION = "23505"


class StorageUnavailable(Exception):
    """The database is unreachable or has failed temporarily; the outcome of the statement is unknown.

    The caller waits and retries with the same idempotency keys. `sqlstate` is None if the database sent no error.
    """

    def __init__(self, reason: str, sqlstate: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate


class AddressError(StorageUnavailable):
    """The connection string is unusable; the text is the reason, and contains neither the string nor its password."""


class StatementRefused(Exception):
    """The database refused the statement and would refuse it again; nothing was changed. The caller must not retry.

    `constraint` is the name of the violated constraint, if the database named one.
    """

    def __init__(self, reason: str, sqlstate: str, constraint: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate
        self.constraint = constraint

    @property
    def duplicate(self) -> bool:
        """Whether a row with the same unique key already exists."""
        return self.sqlstate == _UNIQUE_VIOLATION


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class where it has none."""
    return str(error).split("\n")[0] or type(error).__name__
