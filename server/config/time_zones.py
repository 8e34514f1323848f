"""The accepted time zones: those of the IANA database that both this machine and PostgreSQL have.

Billing statistics compute the bounds of a period in Python and group by days in SQL, so both must know the zone.
"""

import zoneinfo
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import trio

from storage.postgres import Postgres
from storage.time_zones import zone_names

UTC_NAME = "UTC"


class TimeZones:
    """Finds time zones by name; reads the names once, at the first request, from hundreds of files in a thread.

    Later changes of the time zone database need a restart.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._names: frozenset[str] | None = None
        self._reading = trio.Lock()

    async def find(self, name: str) -> ZoneInfo | None:
        """Return the zone with exactly this name, or None if this machine or PostgreSQL does not have it.

        Also returns None for abbreviations such as `EST`, which has no summer time, and for POSIX rules such as
        `CET-1CEST`, whose signs are inverted. UTC is always found. Raises StorageUnavailable, and reads the names again
        at the next call.
        """
        return ZoneInfo(name) if name == UTC_NAME or name in await self._known() else None

    async def _known(self) -> frozenset[str]:
        async with self._reading:
            if self._names is None:
                here = await trio.to_thread.run_sync(zoneinfo.available_timezones)
                places = {name for name in here if "/" in name}
                self._names = frozenset(places & await zone_names(self._postgres))
            return self._names


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Return the start of a local day: the earlier of two midnights, or the end of a gap that contains midnight.

    Some zones change to summer time at midnight, so that the day begins at 01:00.
    """
    return datetime.combine(day, time(), zone)
