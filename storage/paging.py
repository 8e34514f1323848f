"""Lists, newest first, a page at a time: by offset, or by a cursor that new rows don't shift."""

import base64
import binascii
from collections.abc import Callable
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
    """A list that can be paged: what to read of each row, from where, and what orders it."""

    columns: str
    source: str
    at: str
    id: str

    async def page(
        self, postgres: Postgres, page: Page, where: list[str], args: list[Any], of: Callable[[Row], T]
    ) -> Paged[T]:
        """One page of the rows that meet all of `where`, whose placeholders count through `args`. Raises BadCursor."""
        condition = " AND ".join(where) or "true"
        total: int = (
            await postgres.fetch(
                f"SELECT count(*) FROM (SELECT 1 FROM {self.source} WHERE {condition} LIMIT {COUNT_LIMIT + 1}) c", *args
            )
        )[0][0]
        if page.before is not None:
            args = [*args, *Cursor.decode(page.before)]
            condition += f" AND ({self.at}, {self.id}) < (${len(args) - 1}, ${len(args)})"
        rows = await postgres.fetch(
            f"SELECT {self.columns}, {self.at} AS page_at, {self.id} AS page_id FROM {self.source} WHERE {condition}"
            f" ORDER BY {self.at} DESC, {self.id} DESC LIMIT {page.limit + 1} OFFSET {page.offset}",
            *args,
        )
        shown = rows[: page.limit]
        following = Cursor(shown[-1]["page_at"], shown[-1]["page_id"]).encode() if len(rows) > page.limit else None
        return Paged([of(row) for row in shown], min(total, COUNT_LIMIT), total > COUNT_LIMIT, following)
