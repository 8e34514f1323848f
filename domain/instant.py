"""What time is to the rules: whole microseconds since the Unix epoch, on a clock that never steps."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

Instant: TypeAlias = int  # microseconds since 1970-01-01T00:00:00Z; whole numbers, so that equal times are equal
Duration: TypeAlias = int  # microseconds

_DAY = 24 * 3600 * 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def duration(seconds: float) -> Duration:
    """A setting in seconds as the rules count it."""
    return round(seconds * 1_000_000)


def seconds(span: Duration) -> float:
    """A span as clients see it: seconds, to the millisecond, never below zero."""
    return max(0, span // 1000) / 1000


def next_day(at: Instant) -> Instant:
    """When the UTC day of this moment is over."""
    return (at // _DAY + 1) * _DAY


def rfc3339(at: Instant) -> str:
    """RFC 3339, UTC, milliseconds (CONTRACT, head): `2026-11-22T12:00:00.000Z`."""
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def as_datetime(at: Instant) -> datetime:
    """The same moment as the database stores it."""
    return _EPOCH + timedelta(microseconds=at)


def from_datetime(moment: datetime) -> Instant:
    """The same moment as the rules count it; `moment` carries its time zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
