"""Lists, newest first, a page at a time: by offset, or by a cursor that new rows don't shift."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from domain.instant import as_datetime, from_datetime
from storage.postgres import Postgres, Row

T = TypeVar("T")

COUNT_LIMIT = 10_000  # counting further would cost more than the page itself


class BadCursor(ValueError):
    """A cursor that we did not give out."""


class Cursor(NamedTuple):
    """The last row of the page before; opaque to clients."""

    at: datetime
    id: UUID

    def encode(self) -> str:
        return base64.urlsafe_b64encode(from_datetime(self.at).to_bytes(8, "big") + self.id.bytes).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Raises BadCursor."""
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return cls(as_datetime(int.from_bytes(raw[:8], "big")), UUID(bytes=raw[8:]))
        except (binascii.Error, ValueError, OverflowError) as error:
            raise BadCursor from error


class Page(NamedTuple):
    """Which page: `limit` rows from `offset`, or from after `before`."""

    limit: int = 20
    offset: int = 0
    before: str | None = None


class Paged(NamedTuple, Generic[T]):
    """One page, how many rows there are (to COUNT_LIMIT), and the cursor of the next page if there is one."""

    items: list[T]
    total: int
    total_capped: bool
    next_before: str | None


class Listing(NamedTuple):
    """A list that can be paged: what to read of each row, from where, and what orders it.

    Rows are found in `table` alone, then read one page at a time from `source`, which looks up whatever belongs to
    each by its key: the planner would rather scan and hash a table of which a page needs a hundred rows.
    """

    columns: str
    source: str
    table: str
    at: str
    id: str

    async def page(
        self, postgres: Postgres, page: Page, places: Sequence[str], args: list[Any], of: Callable[[Row], T]
    ) -> Paged[T]:
        """One page of the rows that meet one of `places`, conditions that exclude each other and have an index each.

        Their placeholders count through `args`. Raises BadCursor.
        """
        everywhere = places, args
        if page.before is not None:
            args = [*args, *Cursor.decode(page.before)]
            beyond = f" AND ({self.at}, {self.id}) < (${len(args) - 1}, ${len(args)})"
            places = [place + beyond for place in places]
        keys = await self._keys(postgres, page, places, args)
        if page.before is None and 0 < len(keys) <= page.limit:
            total = page.offset + len(keys)  # the list ends here, so that there is nothing to count
        else:
            total = await self._count(postgres, *everywhere)
        shown = keys[: page.limit]
        rows = await postgres.fetch(
            f"SELECT {self.columns} FROM {self.source} WHERE {self.id} = ANY($1::uuid[])"
            f" ORDER BY {self.at} DESC, {self.id} DESC",
            [key.id for key in shown],
        )
        following = shown[-1].encode() if len(keys) > page.limit else None
        return Paged([of(row) for row in rows], min(total, COUNT_LIMIT), total > COUNT_LIMIT, following)

    async def _count(self, postgres: Postgres, places: Sequence[str], args: list[Any]) -> int:
        limit = COUNT_LIMIT + 1
        rows = await postgres.fetch(
            f"SELECT count(*) FROM (SELECT FROM ({self._walks(places, limit)}) w LIMIT {limit}) c", *args
        )
        return int(rows[0][0])

    async def _keys(self, postgres: Postgres, page: Page, places: Sequence[str], args: list[Any]) -> list[Cursor]:
        """Those of a page and of the row after it."""
        rows = await postgres.fetch(
            f"SELECT at, id FROM ({self._walks(places, page.offset + page.limit + 1)}) w"
            f" ORDER BY at DESC, id DESC LIMIT {page.limit + 1} OFFSET {page.offset}",
            *args,
        )
        return [Cursor(*row) for row in rows]

    def _walks(self, places: Sequence[str], reach: int) -> str:
        return " UNION ALL ".join(
            f"(SELECT {self.at} AS at, {self.id} AS id FROM {self.table} WHERE {place}"
            f" ORDER BY {self.at} DESC, {self.id} DESC LIMIT {reach})"
            for place in places
        )
