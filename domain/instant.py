"""Time as the rules use it: whole microseconds since the Unix epoch, from a clock of the server that never steps."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Instant: TypeAlias = int  # microseconds since 1970-01-01T00:00:00Z; whole numbers, so that equal times are equal
Duration: TypeAlias = int  # microseconds

_DAY = 24 * 3600 * 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def duration(seconds: float) -> Duration:
    """Convert a setting in seconds to microseconds."""
    return round(seconds * 1_000_000)


def seconds(span: Duration) -> float:
    """Convert microseconds to seconds as clients see them: rounded down to the millisecond, never below zero."""
    return max(0, span // 1000) / 1000


def next_day(at: Instant) -> Instant:
    """Return the end of the UTC day that contains this moment."""
    return (at // _DAY + 1) * _DAY


def rfc3339(at: Instant) -> str:
    """Format as RFC 3339 in UTC with milliseconds (contract.md, Values): `2026-11-22T12:00:00.000Z`."""
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def rfc3339_of(moment: datetime) -> str:
    """Format a datetime of the database as `rfc3339` does; it must carry a time zone."""
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def rfc3339_or_none(at: Instant | None) -> str | None:
    """Format as `rfc3339` does; None stays None."""
    return None if at is None else rfc3339(at)


def as_datetime(at: Instant) -> datetime:
    """Convert to the UTC datetime that the database stores."""
    return _EPOCH + timedelta(microseconds=at)


def as_datetime_or_none(at: Instant | None) -> datetime | None:
    """Convert as `as_datetime` does; None stays None."""
    return None if at is None else as_datetime(at)


def from_datetime(moment: datetime) -> Instant:
    """Convert a datetime of the database; it must carry a time zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_datetime_or_none(moment: datetime | None) -> Instant | None:
    """Convert as `from_datetime` does; None stays None."""
    return None if moment is None else from_datetime(moment)
