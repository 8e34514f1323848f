"""The time zones that may be named: those of the IANA database that both this machine and PostgreSQL know."""

import zoneinfo
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import trio

from storage.postgres import Postgres
from storage.time_zones import zone_names

UTC_NAME = "UTC"


class TimeZones:
    """Reads the names once, when the first request names a zone: both lists are made from hundreds of files."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._names: frozenset[str] | None = None
        self._reading = trio.Lock()

    async def find(self, name: str) -> ZoneInfo | None:
        """The zone of exactly this name. None for a name that one of the two does not know.

        Also None for abbreviations such as `EST` and for POSIX rules such as `CET-1CEST`: `EST` has no summer time, and
        the signs of POSIX rules are the other way round. Raises StorageUnavailable.
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
    """The first moment of a local day: the earlier midnight of two, or the end of the gap where there is none."""
    return datetime.combine(day, time(), zone)
