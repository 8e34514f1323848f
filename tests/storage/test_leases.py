"""A room is claimed only from a server without a valid lease, by one server, and the former owner can detect it."""

from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from domain.call.record import CallRecord
from domain.ids import CallId, RoomId, UserId
from server.ids import new_channel, new_uuid
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import LoneConnection, Postgres
from storage.rooms.calls import save_call
from storage.rooms.leases import CLAIM_CHUNK, Absence, Checkpoint, Leases, OnServer, Tenure
from tests.storage.ledger_pair import LedgerPair, open_ledger_pair

LEASE_SECONDS = 60
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LAPSE = "UPDATE servers SET lease_expires_at = now() - interval '1 second'"


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def _server(ledgers: LedgerPair, hand: Hand) -> Leases:
    return Leases(ledgers.postgres, new_uuid(), LEASE_SECONDS, hand)


async def _room_of(ledgers: LedgerPair, leases: Leases) -> RoomId:
    room = await ledgers.add_room()
    await ledgers.postgres.execute("UPDATE rooms SET server_id = $1 WHERE id = $2", leases.server_id, room)
    return room


async def _claimed(leases: Leases) -> list[RoomId]:
    return [claim.room_id for claim in await leases.claim_orphans()]


async def _epochs(ledgers: LedgerPair) -> set[int]:
    return {row["epoch"] for row in await ledgers.postgres.fetch("SELECT DISTINCT epoch FROM rooms")}


async def test_a_new_server_watches_for_a_whole_lease_before_it_claims_rooms_of_others(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        hand = Hand()
        gone, mine = _server(ledgers, hand), _server(ledgers, hand)
        await gone.renew()
        room = await _room_of(ledgers, gone)
        await ledgers.postgres.execute(LAPSE)
        for _ in range(3):
            await mine.renew()
            assert await _claimed(mine) == []
            assert await mine.claim(room) is None
            hand.at += LEASE_SECONDS / 3
        await mine.renew()
        assert await _claimed(mine) == [room]


async def test_servers_that_return_after_an_outage_keep_their_rooms_whoever_returns_first(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        hand = Hand()
        servers = [_server(ledgers, hand) for _ in range(3)]
        for server in servers:
            await server.renew()
        hand.at += LEASE_SECONDS
        for server in servers:
            await server.renew()
            await _room_of(ledgers, server)
        hand.at += 3 * LEASE_SECONDS  # for which the database is unavailable
        await ledgers.postgres.execute(LAPSE)
        first, *_ = servers
        assert await _claimed(first) == [], "it has not even renewed its own lease"
        await first.renew()
        assert await _claimed(first) == []
        hand.at += LEASE_SECONDS / 2
        for server in servers:
            await server.renew()
            assert await _claimed(server) == []
        hand.at += LEASE_SECONDS
        for server in servers:
            await server.renew()
            assert await _claimed(server) == []
        assert await _epochs(ledgers) == {1}


async def test_a_renewal_that_fails_begins_the_watch_anew(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        hand = Hand()
        mine = _server(ledgers, hand)
        await mine.renew()
        hand.at += LEASE_SECONDS - 1
        mine.hang_up()
        with monkeypatch.context() as away:
            away.setattr(Postgres, "connect", _no_answer)
            with pytest.raises(StorageUnavailable):
                await mine.renew()
        await mine.renew()
        hand.at += LEASE_SECONDS - 1
        await mine.renew()
        assert not mine.watched
        hand.at += 1
        assert mine.watched


async def _no_answer(self: Postgres, timeout: float) -> LoneConnection:
    raise StorageUnavailable("no answer")


async def test_rooms_of_a_server_that_stopped_in_good_order_are_taken_at_once(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        hand = Hand()
        gone, mine = _server(ledgers, hand), _server(ledgers, hand)
        await gone.renew()
        await mine.renew()
        room = await _room_of(ledgers, gone)
        assert await _claimed(mine) == []
        await gone.release()
        assert await _claimed(mine) == [room]
        assert await _claimed(mine) == [], "once"


async def test_orphans_are_claimed_in_parts_so_that_others_get_their_share(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        mine, other = _server(ledgers, Hand()), _server(ledgers, Hand())
        await mine.renew()
        await other.renew()
        await ledgers.postgres.execute(
            "INSERT INTO rooms (id, kind, channel)"
            " SELECT gen_random_uuid(), 'stream', repeat('x', 20) || i FROM generate_series(1, $1) i",
            CLAIM_CHUNK + 30,
        )
        assert len(await _claimed(mine)) == CLAIM_CHUNK
        assert len(await _claimed(other)) == 30
        assert await _epochs(ledgers) == {2}


async def test_a_lease_that_is_renewed_during_a_claim_learns_of_the_claim(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        late = _server(ledgers, Hand())
        await late.renew()
        room = await _room_of(ledgers, late)
        await ledgers.postgres.execute(LAPSE)
        claimant = await ledgers.postgres.connect()
        await claimant.fetchrow("BEGIN")
        claim = await claimant.fetchrow("SELECT * FROM claim_orphans($1, true, false, 10)", new_uuid())
        assert claim is not None
        fenced: list[RoomId] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_renew_and_compare, late, room, fenced)
            await _see_a_wait(ledgers)
            assert fenced == []
            await claimant.fetchrow("COMMIT")
        assert fenced == [room]
        claimant.terminate()


async def _renew_and_compare(leases: Leases, room: RoomId, fenced: list[RoomId]) -> None:
    await leases.renew()
    fenced += await leases.fenced([Tenure(room, 1)])


async def _see_a_wait(ledgers: LedgerPair) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with trio.fail_after(10):
        while not await ledgers.postgres.fetch(waiting):
            await trio.lowlevel.checkpoint()


async def test_a_server_that_is_renewing_right_now_loses_nothing(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        other, mine = _server(ledgers, Hand()), _server(ledgers, Hand())
        await other.renew()
        await _room_of(ledgers, other)
        await ledgers.postgres.execute(LAPSE)
        renewing = await ledgers.postgres.connect()
        await renewing.fetchrow("BEGIN")
        await renewing.fetchrow("SELECT 1 FROM servers WHERE id = $1 FOR UPDATE", other.server_id)
        claims = await ledgers.postgres.fetch("SELECT * FROM claim_orphans($1, true, false, 10)", mine.server_id)
        assert claims == []
        renewing.terminate()


async def test_a_lease_is_renewed_while_somebody_holds_the_write_lock(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        mine = _server(ledgers, Hand())
        holder = await ledgers.postgres.connect()
        await holder.fetchrow("BEGIN")
        await holder.fetchrow("SELECT 1 FROM fence FOR UPDATE")
        with trio.fail_after(5):
            await mine.renew()
            assert await _claimed(mine) == [], "nothing is claimed, so nobody needs the lock for it"
        holder.terminate()


async def test_a_later_epoch_is_found_and_no_other(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        mine, other = _server(ledgers, Hand()), _server(ledgers, Hand())
        await mine.renew()
        await other.renew()
        kept, lost = await _room_of(ledgers, mine), await _room_of(ledgers, mine)
        await ledgers.postgres.execute("UPDATE rooms SET server_id = NULL WHERE id = $1", lost)
        assert await mine.fenced([]) == []
        assert await mine.fenced([Tenure(kept, 1), Tenure(lost, 1)]) == []
        assert await other.claim(lost) is not None
        assert await mine.fenced([Tenure(kept, 1), Tenure(lost, 1)]) == [lost]
        assert await mine.whereabouts(lost) == OnServer(other.server_id)
        assert await mine.whereabouts(kept) is Absence.TO_BE_ADOPTED
        assert await mine.whereabouts(new_uuid()) is Absence.NOT_LIVE
        await other.release()
        assert await mine.whereabouts(lost) is Absence.TO_BE_ADOPTED
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now()")
        assert await mine.whereabouts(lost) is Absence.NOT_LIVE


async def test_an_old_servers_row_is_deleted_and_no_room_changes(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        old, mine = _server(ledgers, Hand()), _server(ledgers, Hand())
        await old.renew()
        ended = await _room_of(ledgers, old)
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", ended)
        live = await _room_of(ledgers, old)
        await ledgers.postgres.execute("UPDATE servers SET lease_expires_at = now() - interval '2 days'")
        await mine.forget_old()
        assert len(await ledgers.postgres.fetch("SELECT 1 FROM servers")) == 1, "its live room is still to be adopted"
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", live)
        await mine.forget_old()
        assert await ledgers.postgres.fetch("SELECT 1 FROM servers") == []
        rows = await ledgers.postgres.fetch("SELECT DISTINCT server_id, xmax::text FROM rooms WHERE id = $1", ended)
        assert [tuple(row) for row in rows] == [(old.server_id, "0")]


async def test_no_table_refers_to_rows_that_are_deleted(dsn: str) -> None:
    """A foreign key without an index makes each deletion read all of the referring table."""
    async with open_ledger_pair(dsn) as ledgers:
        rows = await ledgers.postgres.fetch(
            "SELECT conname FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid IN ('servers'::regclass, 'idempotency_keys'::regclass, 'spend_limits'::regclass)"
        )
        assert [row["conname"] for row in rows] == []


async def test_a_rooms_clock_never_runs_back(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(), await ledgers.add_user()
        call = await _add_call(ledgers, fan, creator)
        leases = _server(ledgers, Hand())

        async def active() -> Any:
            return (await ledgers.postgres.fetch("SELECT active_us FROM meters WHERE room_id = $1", call))[0][0]

        await leases.checkpoint([Checkpoint(call, 1, fan, 7_000_000)])
        assert await save_call(ledgers.postgres, call, 1, CallRecord(status="active", active=5_000_000))
        assert await active() == 7_000_000, "a record that was long under way"
        await leases.checkpoint([Checkpoint(call, 1, fan, 6_000_000)])
        assert await active() == 7_000_000
        assert await save_call(ledgers.postgres, call, 1, CallRecord(status="active", active=8_000_000))
        assert await active() == 8_000_000


async def test_nobody_is_live_and_in_a_call(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator, other = [await ledgers.add_user() for _ in range(3)]
        streams = {user: await _add_stream(ledgers, user) for user in (fan, creator)}
        call = await _add_call(ledgers, fan, creator)
        for user in (fan, creator):
            assert await _refusal(_open(ledgers, streams[user])) == "live_or_in_a_call"
        await ledgers.postgres.execute(
            "UPDATE calls SET status = 'ended', ended_at = now(), end_reason = 'hangup' WHERE id = $1", call
        )
        assert await _refusal(_open(ledgers, streams[creator])) is None
        assert await _refusal(_add_call(ledgers, fan, creator)) == "live_or_in_a_call"
        assert await _refusal(_add_call(ledgers, creator, other)) == "live_or_in_a_call"
        assert await _refusal(_add_call(ledgers, fan, other)) is None


@pytest.mark.parametrize("role", ["fan", "creator"])
async def test_of_a_call_and_a_stream_at_the_same_moment_the_second_is_refused(dsn: str, role: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        user, other = await ledgers.add_user(), await ledgers.add_user()
        stream = await _add_stream(ledgers, user)
        parties = (user, other) if role == "fan" else (other, user)
        ringing = await ledgers.postgres.connect()
        await ringing.fetchrow("BEGIN")
        await _insert_call(ringing.fetchrow, *parties)
        outcomes: list[str | None] = []

        async def go_live() -> None:
            outcomes.append(await _refusal(_open(ledgers, stream)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_live)
            await _see_a_wait(ledgers)
            await ringing.fetchrow("COMMIT")
        assert outcomes == ["live_or_in_a_call"]
        ringing.terminate()


async def _refusal(work: Any) -> str | None:
    """Return the constraint that refuses it."""
    try:
        await work
    except StatementRefused as refused:
        return refused.constraint
    return None


async def _open(ledgers: LedgerPair, stream: RoomId) -> None:
    await ledgers.postgres.fetch("SELECT open_stream($1, $2, $3)", stream, new_uuid(), NOW)


async def _add_stream(ledgers: LedgerPair, owner: UserId) -> RoomId:
    stream = RoomId(new_uuid())
    await ledgers.postgres.execute(
        "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false)", stream, new_channel()
    )
    await ledgers.postgres.execute(
        "INSERT INTO streams (id, creator_id, title, type, block_seconds, block_rounding, created_at)"
        " VALUES ($1, $2, 'Talk', 'public', 30, 'up', $3)",
        *(stream, owner, NOW),
    )
    return stream


async def _add_call(ledgers: LedgerPair, fan: UserId, creator: UserId) -> CallId:
    call = await _insert_call(ledgers.postgres.fetchrow, fan, creator)
    await ledgers.postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", call, fan)
    return call


async def _insert_call(send: Any, fan: UserId, creator: UserId) -> CallId:
    call = CallId(new_uuid())
    await send("INSERT INTO rooms (id, kind, channel) VALUES ($1, 'call', $2)", call, new_channel())
    await send(
        "INSERT INTO calls (id, fan_id, creator_id, status, rate_tokens_per_min, block_seconds, block_rounding,"
        " created_at, rings_until) VALUES ($1, $2, $3, 'active', 60, 30, 'up', $4, $4)",
        *(call, fan, creator, NOW),
    )
    return call
