"""The wallet entries of the blocks of one room, one page at a time.

The blocks of one payer in one room are numbered without gaps and their keys can be derived. A page of them is
therefore a list of keys, which costs the same in a long wallet as in a short one. Only a payee whom several payers pay
in one room has no such list: that case is a search in the wallet's index.
"""

from collections.abc import Sequence
from typing import NamedTuple

from domain.billing.posting import Kind
from domain.ids import RoomId, UserId, block_key
from storage.ledger.statements import Entry, EntryFilter, NumberRange, entries_of_side, entry_page, find_range, search
from storage.paging import Page, Paged
from storage.postgres import PgUUID, Postgres


class BlockSeries(NamedTuple):
    """The blocks of one payer in one room, numbered from 1 to `last_block`.

    `side` says whose wallet is read: "debit" for the payer's, "credit" for the payee's.
    """

    room_id: RoomId
    payer: UserId
    last_block: int
    side: str

    def key(self, block_no: int) -> PgUUID:
        """Return the posting key of one block of the series, as the database stores it."""
        return PgUUID(block_key(self.room_id, self.payer, block_no))


async def list_block_entries(postgres: Postgres, user_id: UserId, wanted: EntryFilter, page: Page) -> Paged[Entry]:
    """Return a page of the blocks that the user paid or was paid in the room `wanted.room_id`, newest first.

    `wanted.kind` must be BLOCK. Raises BadCursor, StorageUnavailable.
    """
    assert wanted.room_id is not None and wanted.kind is Kind.BLOCK, "only blocks have keys that follow from their room"
    span = await find_range(postgres, user_id, wanted.since, wanted.until)
    rest = span.before(page.before)
    found = await _find_series(postgres, user_id, RoomId(wanted.room_id), wanted.sides)
    extent = await _find_extent(postgres, user_id, found)
    if extent is None:
        return entry_page([], 0, has_more=False)
    if len(found) > 1:
        return await search(postgres, user_id, wanted, span.within(extent), page)
    bounds = (span.low, span.high, rest.high)
    first, last, end = await _blocks_up_to(postgres, user_id, found[0], extent, bounds)
    high = max(first, end - page.offset)
    low = max(first, high - page.limit)
    keys = [found[0].key(block_no) for block_no in range(low + 1, high + 1)]
    # Read the entries of the page by their keys.
    rows = await postgres.fetch(f"{entries_of_side(found[0].side)} WHERE key = ANY($1::uuid[]) ORDER BY n DESC", keys)
    return entry_page(rows, last - first, has_more=low > first)


async def _find_series(postgres: Postgres, user_id: UserId, room_id: RoomId, sides: Sequence[str]) -> list[BlockSeries]:
    """Return the user's own series if the user paid in the room, or else all series of the room.

    Nobody is payer and payee in the same room. The list is empty if `sides` excludes the side that was found.
    """
    # Read all meters of the room that have charged a block, the user's own one first.
    meters = await postgres.fetch(
        "SELECT payer_id, last_block FROM meters WHERE room_id = $1 AND last_block > 0 ORDER BY payer_id <> $2",
        *(room_id, user_id),
    )
    if not meters:
        return []
    side = "debit" if meters[0]["payer_id"] == user_id else "credit"
    shown = meters[:1] if side == "debit" else meters
    series = [BlockSeries(room_id, UserId(row["payer_id"]), row["last_block"], side) for row in shown]
    return series if side in sides else []


async def _find_extent(postgres: Postgres, user_id: UserId, found: Sequence[BlockSeries]) -> NumberRange | None:
    """Return the range from the first to the last entry of these series in the user's wallet.

    None if the blocks are in no wallet of the user: a room has one payee, who may be somebody else.
    """
    if not found:
        return None
    side = found[0].side
    keys = [series.key(block_no) for series in found for block_no in (1, series.last_block)]
    # Read wallet and number of the first and last blocks, by key alone: with the wallet in the condition, the planner
    # might read the whole index of that wallet as well.
    rows = await postgres.fetch(f"SELECT {side}_wallet, {side}_n FROM journal WHERE key = ANY($1::uuid[])", keys)
    numbers = [n for wallet, n in rows if wallet == user_id]
    return NumberRange(min(numbers) - 1, max(numbers)) if numbers else None


async def _blocks_up_to(
    postgres: Postgres, user_id: UserId, series: BlockSeries, extent: NumberRange, bounds: Sequence[int]
) -> list[int]:
    """For each bound n, return how many blocks of the series are among the first n entries of the wallet.

    A user pays or is paid in few rooms at once, so the last block before a bound is always close to it.
    """
    side = series.side
    known = {n: series.last_block if n >= extent.high else 0 for n in bounds}
    inside = [n for n in known if extent.low < n < extent.high]
    if inside:
        # For each bound, find the last entry of this room up to it, and read its block number.
        rows = await postgres.fetch(
            f"SELECT n, (SELECT block_no FROM journal WHERE {side}_wallet = $1 AND kind = 1 AND {side}_n ="
            f" (SELECT entry_numbers($1, '{side}', 1::smallint, $2, n, $3, 1))) AS block_no FROM unnest($4::int[]) n",
            *(user_id, extent.low, series.room_id, inside),
        )
        known |= {row["n"]: row["block_no"] for row in rows}
    return [known[n] for n in bounds]
