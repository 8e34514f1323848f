"""Periods in days of a time zone: `from` and `to` are dates or instants.

A local day has 23 or 25 hours where the clocks change, so its bounds are computed in the zone and used as instants.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from server.config.time_zones import UTC_NAME, TimeZones, start_of_day
from server.rest.strict_json import FieldError, InvalidRequest

DayOrMoment = Annotated[
    str,
    msgspec.Meta(
        max_length=40,
        description="RFC 3339: an instant, or a date, which is the first moment of that day in `tz`",
        extra_json_schema={"anyOf": [{"format": "date"}, {"format": "date-time"}]},
    ),
]
ZoneName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        description="An IANA time zone, such as `Europe/Berlin`, or `UTC`",
        examples=["Europe/Berlin"],
    ),
]


class DayPeriod(msgspec.Struct, frozen=True, rename="camel"):
    """A half-open period, given by dates in the time zone `tz` or by instants."""

    since: DayOrMoment | None = msgspec.field(default=None, name="from")
    until: DayOrMoment | None = msgspec.field(default=None, name="to")
    tz: ZoneName = UTC_NAME


class DateRange(NamedTuple):
    """A half-open period as instants in UTC, and its time zone; None is unbounded."""

    since: datetime | None
    until: datetime | None
    zone: ZoneInfo


async def range_of(period: DayPeriod, zones: TimeZones) -> DateRange:
    """Convert a period's texts to instants, with dates read as midnight in its time zone.

    Raises InvalidRequest for an unknown zone or for a text that is neither a date nor an instant; StorageUnavailable.
    """
    zone = await zone_of(period.tz, zones)
    since, until = (
        None if text is None else _moment(name, text, zone)
        for name, text in (("from", period.since), ("to", period.until))
    )
    return DateRange(since, until, zone)


async def zone_of(name: str, zones: TimeZones) -> ZoneInfo:
    """Return the time zone of the parameter `tz`. Raises InvalidRequest for an unknown one; StorageUnavailable."""
    zone = await zones.find(name)
    if zone is None:
        raise InvalidRequest(
            FieldError("tz", f"must be UTC or an IANA zone such as Europe/Berlin, and {name!r} is none")
        )
    return zone


def _moment(name: str, text: str, zone: ZoneInfo) -> datetime:
    """Convert a date or an instant to UTC. Raises InvalidRequest, which names the parameter."""
    try:
        # Convert here, so that PostgreSQL never gets an instant that UTC cannot express.
        return _as_moment(text, zone).astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(FieldError(name, "is outside the calendar")) from None
    except msgspec.ValidationError:
        raise InvalidRequest(FieldError(name, "must be a date such as 2026-03-29, or an RFC 3339 instant")) from None


def _as_moment(text: str, zone: ZoneInfo) -> datetime:
    if len(text) == len("2026-03-29"):
        return start_of_day(msgspec.convert(text, date), zone)
    moment: datetime = msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])
    return moment


def whole_days(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Widen a period to whole UTC days; an end that cannot be widened within the calendar stays as it is."""
    return None if since is None else _midnight(since), None if until is None else _midnight(until, after=True)


def _midnight(moment: datetime, *, after: bool = False) -> datetime:
    """The midnight in UTC at or before a moment, or at or after it."""
    try:
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day + timedelta(days=1) if after and day < moment else day
    except OverflowError:
        return moment
