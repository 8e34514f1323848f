"""The server's wall clock, which the database compares with its own before it books a posting (contract.md, Clocks).

The database dates every posting. One wrong clock, the database's or a server's, must not date the ledger into the
future: limits, days and refunds would be wrong until real time has caught up. Two clocks that agree are assumed to be
right. The database compares them when a statement arrives, so that the wait for the write lock counts as no difference.
"""

from datetime import UTC, datetime

DISAGREES = "HM008"  # SQLSTATE of a refusal because the clocks differ; it is temporary, since a clock can be corrected


def now() -> datetime:
    """Return the current time in UTC; unlike a room's monotonic clock, it changes when the system clock is set."""
    return datetime.now(UTC)


def with_clock_check(statement: str, parameter_no: int) -> str:
    """Return the statement with a clock check: the database raises HM008 if the clocks differ by too much.

    The statement must end with its FROM clause. The caller passes `now()` as parameter `parameter_no`.
    """
    return f"{statement.rstrip()}, check_clock(${parameter_no})\n"
