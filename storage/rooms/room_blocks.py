"""The blocks of one room as they stand in one wallet, a page at a time.

A payer's blocks in a room are numbered without a hole and their keys can be derived, so any page of them is a list of
keys, however long the wallet is. Only who is paid by several payers in one room has no such list.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.billing.posting import Kind
from domain.ids import RoomId, UserId, block_key
from storage.ledger.statements import Entry, EntryFilter, Span, find_span, half, paged, search
from storage.paging import Page, Paged
from storage.postgres import PgUUID, Postgres


class Series(NamedTuple):
    """The blocks of one payer in one room, as they stand in the wallet of the payer or of who is paid."""

    room_id: RoomId
    payer: UserId
    last_block: int
    side: str

    def key(self, block_no: int) -> PgUUID:
        return PgUUID(block_key(self.room_id, self.payer, block_no))


async def room_blocks(postgres: Postgres, user_id: UserId, wanted: EntryFilter, page: Page) -> Paged[Entry]:
    """A page of the blocks that a user paid or earned in `wanted.room_id`, newest first. Raises BadCursor."""
    assert wanted.room_id is not None and wanted.kind is Kind.BLOCK, "only a room's blocks can be told from their room"
    span = await find_span(postgres, user_id, wanted.since, wanted.until)
    rest = span.before(page.before)
    found = await _find_series(postgres, user_id, RoomId(wanted.room_id), wanted.sides)
    extent = await _find_extent(postgres, user_id, found)
    if extent is None:
        return paged([], 0, has_more=False)
    if len(found) > 1:
        return await search(postgres, user_id, wanted, span.within(extent), page)
    bounds = (span.low, span.high, rest.high)
    first, last, end = await _blocks_up_to(postgres, user_id, found[0], extent, bounds)
    high = max(first, end - page.offset)
    low = max(first, high - page.limit)
    keys = [found[0].key(block_no) for block_no in range(low + 1, high + 1)]
    rows = await postgres.fetch(f"{half(found[0].side)} WHERE key = ANY($1::uuid[]) ORDER BY n DESC", keys)
    return paged(rows, last - first, has_more=low > first)


async def _find_series(postgres: Postgres, user_id: UserId, room_id: RoomId, sides: Sequence[str]) -> list[Series]:
    """The user's own series in the room if they paid, or, if they were paid, everybody's; nobody is both."""
    meters = await postgres.fetch(
        "SELECT payer_id, last_block FROM meters WHERE room_id = $1 AND last_block > 0 ORDER BY payer_id <> $2",
        *(room_id, user_id),
    )
    if not meters:
        return []
    side = "debit" if meters[0]["payer_id"] == user_id else "credit"
    shown = meters[:1] if side == "debit" else meters
    series = [Series(room_id, UserId(row["payer_id"]), row["last_block"], side) for row in shown]
    return series if side in sides else []


async def _find_extent(postgres: Postgres, user_id: UserId, found: Sequence[Series]) -> Span | None:
    """From their first entry in this wallet to their last; None if they are in another: a room has one payee."""
    if not found:
        return None
    side = found[0].side
    keys = [series.key(block_no) for series in found for block_no in (1, series.last_block)]
    # By key alone: with the wallet in the condition, the planner might read all of the wallet's index as well.
    rows = await postgres.fetch(f"SELECT {side}_wallet, {side}_n FROM journal WHERE key = ANY($1::uuid[])", keys)
    numbers = [n for wallet, n in rows if wallet == user_id]
    return Span(min(numbers) - 1, max(numbers)) if numbers else None


async def _blocks_up_to(
    postgres: Postgres, user_id: UserId, series: Series, extent: Span, bounds: Sequence[int]
) -> list[int]:
    """How many blocks of a series are among the wallet's first so many entries, for each of these bounds.

    Nobody pays or is paid in many rooms at once, so the block before a bound is never far from it.
    """
    side = series.side
    known = {n: series.last_block if n >= extent.high else 0 for n in bounds}
    inside = [n for n in known if extent.low < n < extent.high]
    if inside:
        rows = await postgres.fetch(
            f"SELECT n, (SELECT block_no FROM journal WHERE {side}_wallet = $1 AND kind = 1 AND {side}_n ="
            f" (SELECT entry_numbers($1, '{side}', 1::smallint, $2, n, $3, 1))) AS block_no FROM unnest($4::int[]) n",
            *(user_id, extent.low, series.room_id, inside),
        )
        known |= {row["n"]: row["block_no"] for row in rows}
    return [known[n] for n in bounds]
