"""Constraints of streams, which hold for every client of the database, and opening, storing and ending their rooms."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain.ids import RoomId, UserId
from server.ids import new_channel, new_uuid
from storage.database_errors import StatementRefused
from storage.rooms.leases import Leases
from tests.storage.ledger_pair import LedgerPair, block, open_ledger_pair

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PRIVATE = {
    "title": "Talk", "type": "private", "ticket_price_tokens": 50, "rate_tokens_per_min": 60, "block_seconds": 30,
    "block_rounding": "up", "created_at": NOW,
}  # fmt: skip
ENDED = {"status": "ended", "started_at": NOW, "ended_at": NOW, "end_reason": "ended"}
SAVE = "SELECT save_stream($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)"


class StreamRows:
    """A creator, a server with a valid lease, and the streams of that creator."""

    def __init__(self, ledgers: LedgerPair, creator: UserId, leases: Leases) -> None:
        self.ledgers, self.creator, self.leases = ledgers, creator, leases

    async def schedule(self, **changes: Any) -> RoomId:
        """Add a stream whose room has no owner yet."""
        stream = RoomId(new_uuid())
        await self.ledgers.postgres.execute(
            "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false)", stream, new_channel()
        )
        row = {"id": stream, "creator_id": self.creator} | PRIVATE | changes
        places = ", ".join(f"${i}" for i in range(1, len(row) + 1))
        await self.ledgers.postgres.execute(f"INSERT INTO streams ({', '.join(row)}) VALUES ({places})", *row.values())
        return stream

    async def ask(self, sql: str, *args: Any) -> Any:
        """Return the single value of a statement."""
        return (await self.ledgers.postgres.fetch(sql, *args))[0][0]

    async def open(self, stream: RoomId) -> Any:
        return await self.ask("SELECT open_stream($1, $2, $3)", stream, self.leases.server_id, NOW)

    async def save(
        self, stream: RoomId, epoch: int, *, ended: bool = False, active: dict[UUID, int] | None = None
    ) -> Any:
        how = ("ended", NOW, "ended") if ended else ("live", None, None)
        clocks = active or {}
        return await self.ask(SAVE, stream, epoch, *how, [], [self.creator], list(clocks), list(clocks.values()))

    async def state(self, stream: RoomId) -> tuple[Any, ...]:
        """The stream's status, its room's epoch, and whether the room has ended."""
        rows = await self.ledgers.postgres.fetch(
            "SELECT s.status, r.epoch, r.ended_at IS NOT NULL FROM streams s JOIN rooms r ON r.id = s.id"
            " WHERE s.id = $1",
            stream,
        )
        return tuple(rows[0])


@asynccontextmanager
async def stream_rows(dsn: str) -> AsyncIterator[StreamRows]:
    async with open_ledger_pair(dsn) as ledgers:
        leases = Leases(ledgers.postgres, new_uuid(), 60)
        await leases.renew()
        yield StreamRows(ledgers, await ledgers.add_user(), leases)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"ticket_price_tokens": None}, None),
        ({"type": "public", "ticket_price_tokens": None, "rate_tokens_per_min": None}, None),
        ({"type": "public"}, "only_private_streams_cost"),
        ({"type": "public", "rate_tokens_per_min": None}, "only_private_streams_cost"),
        ({"ticket_price_tokens": None, "rate_tokens_per_min": None}, "only_private_streams_cost"),
        ({"ticket_price_tokens": 0}, "streams_ticket_price_tokens_check"),
        ({"ticket_price_tokens": 1_000_000_001}, "streams_ticket_price_tokens_check"),
        ({"rate_tokens_per_min": 0}, "streams_rate_tokens_per_min_check"),
        ({"title": ""}, "streams_title_check"),
        ({"title": "x" * 201}, "streams_title_check"),
        ({"title": "x" * 200}, None),
        ({"status": "live"}, "live_streams_have_begun"),
        ({"started_at": NOW}, "live_streams_have_begun"),
        ({"status": "ended"}, "ended_streams_say_why"),
        (ENDED | {"end_reason": None}, "ended_streams_say_why"),
        (ENDED | {"status": "live"}, "ended_streams_say_why"),
        (ENDED | {"end_reason": "hangup"}, "streams_end_reason_check"),
        (ENDED, None),
        ({"creator_id": UUID(int=1)}, "streams_creator_id_fkey"),
    ],
)
async def test_a_stream_that_is_not_sound_is_not_there(dsn: str, changes: dict[str, Any], name: str | None) -> None:
    async with stream_rows(dsn) as rows:
        assert await _refusal(rows, changes) == name


async def _refusal(rows: StreamRows, changes: dict[str, Any]) -> str | None:
    """Return the constraint that refuses such a stream."""
    try:
        await rows.schedule(**changes)
    except StatementRefused as refused:
        return refused.constraint
    return None


async def test_a_creator_is_live_once(dsn: str) -> None:
    async with stream_rows(dsn) as rows:
        first, second = await rows.schedule(), await rows.schedule()
        assert await rows.open(first) == 2
        with pytest.raises(StatementRefused) as refused:
            await rows.open(second)
        assert refused.value.constraint == "one_live_stream_a_creator"
        assert await rows.state(second) == ("scheduled", 1, False)
        assert await rows.save(first, 2, ended=True)
        assert await rows.open(second) == 2


async def test_only_a_scheduled_stream_is_opened(dsn: str) -> None:
    async with stream_rows(dsn) as rows:
        stream = await rows.schedule()
        assert [await rows.open(stream), await rows.open(stream)] == [2, None]
        assert await rows.state(stream) == ("live", 2, False)
        assert await rows.save(stream, 2, ended=True)
        assert await rows.open(stream) is None
        assert await rows.open(RoomId(new_uuid())) is None


async def test_a_room_that_is_not_opened_is_nobodys(dsn: str) -> None:
    async with stream_rows(dsn) as rows:
        stream = await rows.schedule()
        await rows.ask("UPDATE rooms SET created_at = now() - interval '1 hour' RETURNING 1")
        assert await rows.leases.claim(stream) is None
        assert await rows.leases.claim_orphans(alone=True) == []
        assert await rows.open(stream) == 2
        assert await rows.leases.claim_lost([]) == [], "its server may just be about to know it"
        claim = await rows.leases.claim(stream)
        assert claim is not None
        assert claim.epoch == 3


async def test_a_stream_that_never_went_live_ends_with_its_room(dsn: str) -> None:
    async with stream_rows(dsn) as rows:
        stream, live = await rows.schedule(), await rows.schedule()
        await rows.open(live)
        cancel = "SELECT end_scheduled_stream($1, $2)"
        assert [await rows.ask(cancel, each, NOW) for each in (stream, stream, live)] == [True, False, False]
        assert await rows.state(stream) == ("ended", 1, True)
        assert await rows.state(live) == ("live", 2, False)
        assert await rows.ask("SELECT end_reason FROM streams WHERE id = $1", stream) == "cancelled"


async def test_a_streams_state_is_stored_by_its_owner_alone_and_not_after_its_end(dsn: str) -> None:
    async with stream_rows(dsn) as rows:
        stream, fan = await rows.schedule(), await rows.ledgers.add_user()
        epoch = await rows.open(stream)
        await rows.ask("SELECT last_block FROM open_stay($1, $2)", stream, fan)
        active = "SELECT active_us FROM meters"
        assert not await rows.save(stream, epoch - 1, active={fan: 9})
        assert await rows.ask(active) == 0
        assert await rows.save(stream, epoch, active={fan: 7})
        assert await rows.ask(active) == 7
        assert await rows.ask("SELECT removed FROM streams") == [rows.creator]
        assert await rows.save(stream, epoch, ended=True, active={fan: 8})
        assert await rows.state(stream) == ("ended", epoch, True)
        assert not await rows.save(stream, epoch, active={fan: 9})
        assert await rows.ask(active) == 8


async def test_a_viewing_session_starts_at_zero_and_continues_later(dsn: str) -> None:
    async with stream_rows(dsn) as rows:
        stream, fan = await rows.schedule(), await rows.ledgers.add_user(100)
        epoch, session = await rows.open(stream), "SELECT * FROM open_stay($1, $2)"
        assert tuple((await rows.ledgers.postgres.fetch(session, stream, fan))[0]) == (0, 0, 0, 100, 1, 0, 0)
        await rows.ledgers.actor.post([block(stream, fan, rows.creator, 1, tokens=30, epoch=epoch)])
        await rows.save(stream, epoch, active={fan: 5})
        assert tuple((await rows.ledgers.postgres.fetch(session, stream, fan))[0]) == (1, 30, 5, 70, 2, 0, 0)
        for room, payer in ((RoomId(new_uuid()), fan), (stream, UserId(new_uuid()))):
            with pytest.raises(StatementRefused, match="a meter needs its room and its payer"):
                await rows.ledgers.postgres.fetch(session, room, payer)
