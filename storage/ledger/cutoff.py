"""The accountants' cut-off: a time before which all postings are committed."""

from datetime import datetime

from storage import wall_clock
from storage.postgres import Postgres


async def cut_off(postgres: Postgres) -> datetime:
    """Return a time, about now, before which all postings are committed, so that sums and exports of them are final.

    Takes the write lock for a moment. Raises StorageUnavailable, also while the clocks of server and database disagree.
    """
    # Advance the date of the latest booking to now: later postings get this date or a later one.
    row = await postgres.fetchrow(
        "UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one AND check_clock($1)"
        " RETURNING booked_at",
        wall_clock.now(),
    )
    assert row is not None, "the write lock is one row"
    moment: datetime = row["booked_at"]
    return moment
