"""The time for which a server may act for its rooms, and the checks that it makes before it does so again."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import cast

import pytest
import trio
import trio.testing

from domain.ids import RoomId, UserId
from domain.stream.stream import Stream
from server.context import Context
from server.ids import new_uuid
from server.rooms.leases.lease import Lease
from server.rooms.ownership import Ownership
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.rooms.leases import Leases, Tenure, seconds_since_boot
from tests.support.clients import go_live
from tests.support.servers import add_creator, add_fan, online, running_server, with_section

LEASE_SECONDS = 3.0
TRUSTED_SECONDS = LEASE_SECONDS - 0.5
in_thread = trio.to_thread.run_sync


class Rows:
    """The database, as far as a lease needs it; its clock is set by hand."""

    lease_seconds = LEASE_SECONDS
    attempt_seconds = 1.0

    def __init__(self) -> None:
        self.at = 1000.0
        self.error: Exception | None = None
        self.lost: list[RoomId] = []
        self.asked: list[str] = []

    def now(self) -> float:
        return self.at

    async def renew(self) -> float:
        self._ask("renew")
        return self.at

    async def fenced(self, tenures: Sequence[Tenure]) -> list[RoomId]:
        self._ask("compare")
        return [tenure.room_id for tenure in tenures if tenure.room_id in self.lost]

    async def release(self) -> None:
        self._ask("release")

    def hang_up(self) -> None: ...

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error


class Room:
    """A live room, as far as a lease needs it."""

    is_restarting = False

    def __init__(self, lease: Lease, epoch: int) -> None:
        self.id = RoomId(new_uuid())
        self.ownership = Ownership(lease)
        self.ownership.begin(epoch)

    def disown(self) -> None:
        self.ownership.lost = True


class Rooms:
    """The registry, as far as a lease needs it."""

    def __init__(self) -> None:
        self.rooms: list[Room] = []

    def __iter__(self) -> Iterator[Room]:
        return iter(self.rooms)

    def find(self, room_id: RoomId) -> Room | None:
        return next((room for room in self.rooms if room.id == room_id), None)


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


@pytest.fixture
def lease(rows: Rows, rooms: Rooms) -> Lease:
    return Lease(cast(Leases, rows), cast(Registry, rooms), rows.now)


async def test_a_lease_is_trusted_until_a_margin_before_its_end(rows: Rows, lease: Lease) -> None:
    assert not lease.trusted
    await lease.renew()
    rows.at += TRUSTED_SECONDS - 0.01
    assert lease.trusted
    rows.at += 0.01
    assert not lease.trusted


async def test_epochs_are_compared_only_where_a_lease_may_have_run_out(rows: Rows, lease: Lease) -> None:
    for _ in range(3):
        await lease.renew()
        rows.at += 1
    assert rows.asked == ["renew", "compare", "renew", "renew"]
    rows.at += LEASE_SECONDS
    await lease.renew()
    assert rows.asked[-2:] == ["renew", "compare"]


async def test_a_room_that_was_lost_while_the_server_was_stopped_is_fenced_before_the_lease_is_trusted(
    rows: Rows, rooms: Rooms, lease: Lease
) -> None:
    await lease.renew()
    lost, kept = Room(lease, 2), Room(lease, 7)
    rooms.rooms = [lost, kept]
    rows.lost = [lost.id]
    rows.at += 2 * LEASE_SECONDS
    assert not (lost.ownership.held or kept.ownership.held)
    known: dict[RoomId, bool] = {}
    async with trio.open_nursery() as nursery:
        for room in (lost, kept):
            nursery.start_soon(_confirm, room, known)
        await trio.testing.wait_all_tasks_blocked()
        assert known == {}, "both wait"
        await lease.renew()
    assert known == {lost.id: False, kept.id: True}


async def _confirm(room: Room, known: dict[RoomId, bool]) -> None:
    known[room.id] = await room.ownership.confirm()


async def test_a_comparison_that_fails_leaves_the_lease_in_doubt(rows: Rows, rooms: Rooms, lease: Lease) -> None:
    await lease.renew()
    rows.at += 2 * LEASE_SECONDS

    async def away(tenures: Sequence[Tenure]) -> list[RoomId]:
        raise StorageUnavailable("away")

    rows.fenced = away  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        await lease.renew()
    assert not lease.trusted


async def test_a_room_that_starts_again_has_taken_the_later_epoch_itself(
    rows: Rows, rooms: Rooms, lease: Lease
) -> None:
    starting, restarted = Room(lease, 2), Room(lease, 2)
    starting.is_restarting = True
    rooms.rooms = [starting, restarted]
    rows.lost = [starting.id, restarted.id]

    async def compare(tenures: Sequence[Tenure]) -> list[RoomId]:
        restarted.ownership.begin(3)  # while the query was under way
        return list(rows.lost)

    rows.fenced = compare  # type: ignore[method-assign]
    await lease.fence_lost()
    assert not (starting.ownership.lost or restarted.ownership.lost)


async def test_rooms_go_on_while_the_database_is_away_for_longer_than_a_lease(
    rows: Rows, lease: Lease, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.run)
        await trio.testing.wait_all_tasks_blocked()
        rows.error = StorageUnavailable("away")
        for _ in range(20):
            await _pass(rows, LEASE_SECONDS / 5)
            assert lease.trusted
        rows.error = None
        rows.asked.clear()
        await _pass(rows, LEASE_SECONDS / 5)
        assert rows.asked == ["renew", "compare"], "meanwhile others may have reached it"
        nursery.cancel_scope.cancel()


async def test_a_server_that_was_stopped_does_not_trust_its_lease_because_the_database_is_away(
    rows: Rows, lease: Lease, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.run)
        await trio.testing.wait_all_tasks_blocked()
        rows.at += 2 * LEASE_SECONDS  # the server was stopped: no renewal was tried meanwhile
        rows.error = StorageUnavailable("away")
        for _ in range(3):
            await _pass(rows, LEASE_SECONDS / 5)
            assert not lease.trusted
        nursery.cancel_scope.cancel()


async def test_a_renewal_that_the_database_refuses_extends_no_lease(
    rows: Rows, lease: Lease, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.run)
        await trio.testing.wait_all_tasks_blocked()
        rows.error = StatementRefused("permission denied", "42501")
        for _ in range(5):
            await _pass(rows, LEASE_SECONDS / 5)
        assert not lease.trusted, "others may claim"
        nursery.cancel_scope.cancel()


async def _pass(rows: Rows, seconds: float) -> None:
    """Advance both clocks."""
    rows.at += seconds
    await trio.sleep(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_a_lease_that_is_released_is_renewed_no_more(
    rows: Rows, lease: Lease, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.run)
        await _pass(rows, LEASE_SECONDS)
        await lease.release()
        await _pass(rows, LEASE_SECONDS)
        nursery.cancel_scope.cancel()
    assert rows.asked[-1] == "release"


async def test_a_room_handles_nothing_while_its_lease_is_in_doubt(dsn: str) -> None:
    async with running_server(dsn, with_section("server", lease_seconds=1, checkpoint_seconds=1)) as context:
        creator, fan = await add_creator(context, 60), await add_fan(context, 10)
        async with online(context, creator) as cleo, online(context, fan) as finn:
            stream = await in_thread(go_live, cleo)
            for phone in (cleo, finn):
                assert (await in_thread(phone.join, stream["channel"]))["type"] == "room:joined"
            handled = _count_handled(context, RoomId(stream["id"]))
            context.lease._now = lambda: seconds_since_boot() + 3600
            message = {"type": "chat:send", "channel": stream["channel"], "text": "meanwhile"}
            await in_thread(partial(finn.send, message))
            assert (await in_thread(partial(finn.ask, {"type": "ping"})))["type"] == "pong", "the line was read"
            assert handled == []
            context.lease._now = seconds_since_boot
            await in_thread(partial(cleo.wait_for, "chat:new", text="meanwhile"))


def _count_handled(context: Context, room_id: RoomId) -> list[object]:
    """Record the inputs that the rules of this stream are given from here on."""
    (room,) = context.registry
    rules = room.stream
    assert isinstance(rules, Stream)
    handled: list[object] = []
    handle = rules.handle

    def counting(given: object, at: int) -> object:
        handled.append(given)
        return handle(given, at)  # type: ignore[arg-type]

    rules.handle = counting  # type: ignore[method-assign,assignment]
    return handled


async def test_a_room_that_posts_nothing_detects_that_it_has_another_owner(dsn: str) -> None:
    """The room is that of a public stream: no posting of it is ever refused."""
    async with running_server(dsn, with_section("server", checkpoint_seconds=0.5)) as context:
        creator = UserId(await add_creator(context, 60))
        async with online(context, creator) as cleo:
            await in_thread(go_live, cleo)
            (room,) = cast(list[LiveRoom], list(context.registry))
            other = Leases(context.postgres, new_uuid(), 600)
            await other.renew()
            await context.postgres.execute("UPDATE rooms SET server_id = $1, epoch = epoch + 1", other.server_id)
            with trio.fail_after(20):
                await room.settled.wait()
