"""This machine's clock, which the database holds against its own before it books anything (CONTRACT §5).

What is booked is dated by the database. One wrong clock, the database's or a server's, must not date the ledger into
the future: limits, days and refunds would be wrong until real time has caught up. Two clocks that agree are taken to be
right. The database compares them as a statement arrives, so that waiting for the write lock counts as no difference.
"""

from datetime import UTC, datetime

DISAGREES = "HM008"  # the SQLSTATE that says so: passing, since a clock can be set right
MAX_SECONDS = 5  # apart; stands in migrations/0007_parts.sql and 0010_rights.sql


def now() -> datetime:
    """The present moment, read anew: unlike a room's clock it follows when the machine's is set."""
    return datetime.now(UTC)


def clocked(statement: str, place: int) -> str:
    """The statement, which must end with its FROM, so that it is refused if the clocks disagree.

    Its argument at `place` is this machine's moment as it is sent.
    """
    return f"{statement.rstrip()}, check_clock(${place})\n"
