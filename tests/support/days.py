"""Days in UTC, for tests of figures by the day."""

from datetime import UTC, datetime, timedelta

import trio

TEST_SECONDS_MAX = 60  # of a test whose figures belong to one day


def day(ago: int) -> str:
    """Return the date of today, or of so many days ago."""
    return f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}"


async def wait_past_midnight() -> None:
    """Wait until the next day if this one ends before a test would."""
    soon = datetime.now(UTC) + timedelta(seconds=TEST_SECONDS_MAX)
    if soon.date() != datetime.now(UTC).date():
        await trio.sleep(TEST_SECONDS_MAX)
