"""What the database can do to a caller: be away, or refuse. `storage/sqlstates.py` says which error is which."""

_UNIQUE_VIOLATION = "23505"


class StorageUnavailable(Exception):
    """The database is out of reach, or says "not now": what was asked may or may not have happened.

    Wait, and ask again under the same keys. `sqlstate` is what the database said, None where it said nothing.
    """

    def __init__(self, reason: str, sqlstate: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate


class AddressError(StorageUnavailable):
    """The connection string cannot be used, for the reason that is its text; neither it nor its password is in it."""


class StatementRefused(Exception):
    """The database will never do what was asked; nothing was done. Give up on this one statement."""

    def __init__(self, reason: str, sqlstate: str, constraint: str | None = None) -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate
        self.constraint = constraint

    @property
    def duplicate(self) -> bool:
        """Something with this key is there already."""
        return self.sqlstate == _UNIQUE_VIOLATION
