"""Wallet statements compared with a plain list of entries: every filter, every page, every bound of a period."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple
from uuid import UUID

import pytest

from domain.billing.posting import Kind, Posting
from domain.ids import RoomId, UserId
from storage.ledger import statements
from storage.ledger.statements import Entry, EntryFilter, statement
from storage.paging import BadCursor, Page, Paged
from storage.postgres import Postgres
from storage.rooms.block_entries import list_block_entries
from tests.storage.ledger_pair import LedgerPair, block, credit, open_ledger_pair, tip

KINDS = (None, Kind.BLOCK, Kind.TIP, Kind.CREDIT, Kind.REFUND)
SIDES = (None, "debit", "credit")
MOMENT = timedelta(microseconds=1)
EVERYTHING = 1000  # more than there is


class Line(NamedTuple):
    """An entry as read from the journal."""

    n: int
    kind: Kind
    side: str
    tokens: int
    room_id: UUID | None
    at: datetime


class Story(NamedTuple):
    """One wallet with many postings, and rooms in which it pays, is paid by one or two, or takes no part."""

    postgres: Postgres
    user: UserId
    other: UserId
    lines: list[Line]
    rooms: list[RoomId]

    @property
    def periods(self) -> list[tuple[datetime | None, datetime | None]]:
        """Periods: unbounded, empty, and with bounds at, just before and just after bookings."""
        times = sorted({line.at for line in self.lines})
        borders = [times[0], times[0] + MOMENT, times[len(times) // 2], times[-1], times[-1] + MOMENT]
        periods = [(None, None), (borders[2], borders[2]), (borders[3], borders[0]), (borders[2], borders[2] + MOMENT)]
        return periods + [(border, None) for border in borders] + [(None, border) for border in borders]


@pytest.fixture
async def story(dsn: str) -> AsyncIterator[Story]:
    async with open_ledger_pair(dsn) as ledgers:
        user, other, third = [await ledgers.add_user(100_000) for _ in range(3)]
        rooms = [await ledgers.add_room(*payers) for payers in ([user], [other], [other, third], [third])]
        payees = [other, user, user, other]
        series = [(0, user), (1, other), (2, other), (2, third), (3, third)]
        next_block = dict.fromkeys(series, 1)
        chance = random.Random(7)

        def posting() -> Posting:
            what = chance.choice(("tip", "tip back", "credit", "block", "block", "block"))
            if what == "credit":
                return credit(user, chance.randint(1, 9))
            if what != "block":
                return tip(*((user, other) if what == "tip" else (other, user)), chance.randint(1, 9))
            room, payer = chance.choice(series)
            block_no = next_block[room, payer]
            next_block[room, payer] += 1
            return block(rooms[room], payer, payees[room], block_no, tokens=block_no % 3)

        for size in [chance.randint(1, 9) for _ in range(60)]:  # postings of one batch have the same date
            assert all(receipt.paid for receipt in await ledgers.actor.post([posting() for _ in range(size)]))
        yield Story(ledgers.postgres, user, other, await _lines(ledgers, user), rooms)


async def _lines(ledgers: LedgerPair, user: UserId) -> list[Line]:
    """Newest first."""
    rows = await ledgers.postgres.fetch(
        "SELECT debit_n AS n, kind, 'debit' AS side, -tokens AS tokens, room_id, created_at FROM journal"
        " WHERE debit_wallet = $1 UNION ALL SELECT credit_n, kind, 'credit', tokens, room_id, created_at FROM journal"
        " WHERE credit_wallet = $1 ORDER BY n DESC",
        user,
    )
    return [Line(row[0], Kind(row[1]), *tuple(row)[2:]) for row in rows]


def _wanted(line: Line, wanted: EntryFilter) -> bool:
    return (
        wanted.kind in (None, line.kind)
        and wanted.side in (None, line.side)
        and wanted.room_id in (None, line.room_id)
        and (wanted.since is None or line.at >= wanted.since)
        and (wanted.until is None or line.at < wanted.until)
    )


async def _check(story: Story, wanted: EntryFilter) -> None:
    """Compare the whole statement in one page, in pages by cursor, and from offsets."""
    read = statement if wanted.room_id is None else list_block_entries
    lines = [line for line in story.lines if _wanted(line, wanted)]
    numbers = [line.n for line in lines]

    async def ask(page: Page) -> Paged[Entry]:
        found = await read(story.postgres, story.user, wanted, page)
        assert (found.total, found.total_capped) == (len(lines), False), (wanted, page)
        return found

    whole = await ask(Page(EVERYTHING))
    shown = [(entry.n, Kind[entry.kind.upper()], entry.side, entry.tokens, entry.room_id) for entry in whole.items]
    assert shown == [line[:5] for line in lines], wanted
    assert whole.next_before is None
    for offset in (1, len(lines) // 2, len(lines), len(lines) + 1):
        found = await ask(Page(5, offset))
        assert [entry.n for entry in found.items] == numbers[offset : offset + 5], (wanted, offset)
        assert (found.next_before is None) == (offset + 5 >= len(lines)), (wanted, offset)
    assert await _walk(ask, len(lines) // 3 + 1) == numbers, wanted


async def _walk(ask: Callable[[Page], Awaitable[Paged[Entry]]], limit: int) -> list[int]:
    """Read page after page until there is no next cursor."""
    numbers: list[int] = []
    before: str | None = None
    while True:
        found = await ask(Page(limit, before=before))
        numbers += [entry.n for entry in found.items]
        if found.next_before is None:
            return numbers
        assert before is None or int(found.next_before) < int(before), "the pages go round in circles"
        before = found.next_before


async def test_every_filter_shows_what_it_says_and_its_pages_have_no_hole_and_no_double(story: Story) -> None:
    assert len(story.lines) > 200
    for kind, side, (since, until) in product(KINDS, SIDES, story.periods):
        await _check(story, EntryFilter(kind, since, until, side=side))


async def test_a_rooms_blocks_are_found_without_its_wallet_being_walked(story: Story) -> None:
    for room_id, side, (since, until) in product(story.rooms, SIDES, story.periods):
        await _check(story, EntryFilter(Kind.BLOCK, since, until, room_id, side))


async def test_total_is_counted_to_a_limit_and_says_so(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = sum(line.kind is Kind.BLOCK for line in story.lines)
    paid = sum(line.room_id == story.rooms[0] for line in story.lines)
    earned = sum(line.room_id == story.rooms[2] for line in story.lines)
    for wanted, count in (
        (EntryFilter(), len(story.lines)),
        (EntryFilter(Kind.BLOCK), blocks),
        (EntryFilter(Kind.BLOCK, room_id=story.rooms[0]), paid),
        (EntryFilter(Kind.BLOCK, room_id=story.rooms[2]), earned),
    ):
        read = statement if wanted.room_id is None else list_block_entries
        for limit, total in ((count - 1, (count - 1, True)), (count, (count, False)), (count + 1, (count, False))):
            monkeypatch.setattr(statements, "COUNT_LIMIT", limit)
            assert (await read(story.postgres, story.user, wanted, Page(1)))[1:3] == total


async def test_a_strangers_wallet_has_no_entries_and_no_periods(story: Story) -> None:
    nobody = UserId(UUID(int=7))
    at = story.lines[0].at
    for wanted in (EntryFilter(), EntryFilter(since=at, until=at), EntryFilter(Kind.TIP, until=at)):
        assert await statement(story.postgres, nobody, wanted, Page()) == ([], 0, False, None)
    for room_id in (*story.rooms, RoomId(UUID(int=8))):
        wanted = EntryFilter(Kind.BLOCK, until=at, room_id=room_id)
        assert await list_block_entries(story.postgres, nobody, wanted, Page()) == ([], 0, False, None)


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "2147483648", "9" * 11, "", "٥"])
async def test_a_cursor_that_we_did_not_give_out_is_refused(story: Story, cursor: str) -> None:
    page = Page(before=cursor)
    for wanted in (EntryFilter(), EntryFilter(Kind.TIP)):
        with pytest.raises(BadCursor):
            await statement(story.postgres, story.user, wanted, page)
    for room_id in (*story.rooms, RoomId(UUID(int=8))):
        with pytest.raises(BadCursor):
            await list_block_entries(story.postgres, story.user, EntryFilter(Kind.BLOCK, room_id=room_id), page)
