"""The life of a room, the same for calls and streams: start, adoption, restart after a crash, end after crashes.

A room starts (a new call), is adopted (a stream that goes live, or a room whose server is gone), restarts (its task
crashed), or is abandoned (it crashed too often). Adoption, restart and the end each follow the claim of a new epoch,
which fences former tasks. Between a start and a crash, the room belongs to its task.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from domain.billing.meter import StoredMeter
from domain.call.call import Call
from domain.call.record import CallFacts, CallRecord
from domain.ids import MemberId, RoomId, UserId
from domain.instant import Instant
from domain.room import inputs
from domain.room.effects import Audience, Effect
from domain.stream.record import StreamFacts, StreamRecord
from domain.stream.stream import Stream
from server.rooms.factory import RoomFactory
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom, RoomSessions
from server.rooms.room_storage import retry_storage
from server.rooms.task import RoomTask
from storage.postgres import Postgres
from storage.rooms.faulty_rooms import end_with_fault
from storage.rooms.leases import Leases


class Stored(Protocol):
    """A call or a stream, as it is stored, with the epoch of its room."""

    @property
    def facts(self) -> CallFacts | StreamFacts: ...

    @property
    def record(self) -> CallRecord | StreamRecord: ...

    @property
    def epoch(self) -> int: ...


StoredT = TypeVar("StoredT", bound=Stored)
PastT = TypeVar("PastT")  # read beside the stored record, such as recent tips


class RoomKind(Protocol[StoredT, PastT]):
    """The adapter of one kind of room. Its coroutines wait while the database is out of reach."""

    async def find(self, room_id: RoomId) -> StoredT | None:
        """Read the stored call or stream, live or ended; None if there is none with this id."""
        ...

    async def read_past(self, stored: StoredT) -> PastT:
        """Read what the rules need beside the record."""
        ...

    async def read_meters(self, stored: StoredT, members: Iterable[MemberId]) -> Mapping[MemberId, StoredMeter]:
        """Read the meters that these members have of their own, before they rejoin; other members are left out."""
        ...

    async def blocked_since(self, stored: StoredT, past: PastT) -> Iterable[UserId]:
        """Read which users of the room were blocked after `past` was read, or may have been."""
        ...

    def open(
        self, stored: StoredT, past: PastT, at: Instant, *, is_new: bool
    ) -> tuple[Call | Stream, Iterable[Effect]]:
        """Make the rules of the room, and its first effects. Raises if the rules reject the rows.

        `is_new` is False for a room that may have run before; nobody is a member of it yet.
        """
        ...

    async def save(self, room_id: RoomId, epoch: int, record: Any) -> bool:
        """Store a record that the rules have made; False, with nothing stored, if the room has a later epoch."""
        ...

    def end_by_fault(self, stored: StoredT, at: Instant) -> Any:
        """Return the record with which the room ends by `server_fault` at `at`."""
        ...

    def publish_end(self, room: LiveRoom, stored: StoredT, record: Any) -> None:
        """Send the end of the room, as `record` states it, to its members and to other sessions of its parties."""
        ...


class RoomLifecycle(Generic[StoredT, PastT]):
    """Starts, adopts, restarts and ends the rooms of one kind."""

    def __init__(
        self,
        kind: RoomKind[StoredT, PastT],
        factory: RoomFactory,
        leases: Leases,
        registry: Registry,
        sessions: RoomSessions,
        postgres: Postgres,
    ) -> None:
        self._kind = kind
        self._factory = factory
        self._leases = leases
        self._registry = registry
        self._sessions = sessions
        self._postgres = postgres

    # Start and adoption

    def start(self, stored: StoredT, past: PastT) -> LiveRoom:
        """Start the room of a new call, and carry out its first effects. Raises if the rules reject the rows."""
        return self._run(stored, past, is_new=True)

    async def adopt(self, room_id: RoomId, epoch: int) -> None:
        """Start a room from its rows, under an epoch that this server has claimed; members then join again.

        Does nothing if the room has ended, has a later epoch, or runs here. Waits while the database is out of reach.
        Raises if the rules reject the rows.
        """
        stored = await self._read(room_id, epoch)
        if stored is None:
            return
        past = await self._kind.read_past(stored)
        if self._registry.find(room_id) is None:
            self._run(stored, past, is_new=False)

    def _run(self, stored: StoredT, past: PastT, *, is_new: bool) -> LiveRoom:
        room = self._factory.room(stored.facts, self)
        self._registry.start(room, self._open(room, stored, past, is_new=is_new))
        self._registry.spawn("late_blocks", partial(self._apply_late_blocks, room, stored, past))
        return room

    async def _apply_late_blocks(self, room: LiveRoom, stored: StoredT, past: PastT) -> None:
        """Apply blocks of users that were made after the rows were read, when there was no room to apply them."""
        for user_id in await self._kind.blocked_since(stored, past):
            room.inbox.deliver(inputs.UserBlocked(user_id))

    def _open(self, room: LiveRoom, stored: StoredT, past: PastT, *, is_new: bool) -> RoomTask:
        """Give a room its rules and a task that has carried out their first effects; members are set aside."""
        rules, first = self._kind.open(stored, past, room.clock.now(), is_new=is_new)
        room.rules = rules
        self._set_aside_members(room)
        task = self._factory.task(room, rules, stored.epoch, partial(self._kind.save, room.id, stored.epoch))
        task.begin(first)
        return task

    # Restart after a crash

    async def restart(self, room: LiveRoom) -> RoomTask | None:
        """Make a new task after a crash, from the rows and under a new epoch; members rejoin, commands wait.

        None if the room has ended or has another owner. Raises if the rules reject the rows.
        """
        room.rules = None
        stored = await self._reclaim(room)
        if stored is None:
            return None
        past = await self._kind.read_past(stored)
        members = [*room.returning.get(Audience.MEMBERS, ()), *room.fanout.members()]  # the former: if a restart raised
        meters = await self._kind.read_meters(stored, members)
        # There is no await from here on: later inputs come behind the members' rejoins.
        task = self._open(room, stored, past, is_new=False)
        self._readmit(room, meters)
        return task

    async def _reclaim(self, room: LiveRoom) -> StoredT | None:
        """Claim a room of this server under a new epoch and read it; None if it has ended or has another owner."""
        claim = await retry_storage(lambda: self._leases.claim(room.id))
        return None if claim is None else await self._read(room.id, claim.epoch)

    async def _read(self, room_id: RoomId, epoch: int) -> StoredT | None:
        """Read a room under its epoch; None if it has ended or has a later epoch."""
        stored = await self._kind.find(room_id)
        return stored if stored is not None and stored.epoch == epoch and stored.record.status != "ended" else None

    def _set_aside_members(self, room: LiveRoom) -> None:
        """Remove all members of a restarting room, and remember them in `room.returning` until `_readmit`."""
        for audience in Audience:
            was, more = room.returning.get(audience, []), room.audiences[audience].clear()
            room.returning[audience] = list(dict.fromkeys([*was, *more]))

    def _readmit(self, room: LiveRoom, meters: Mapping[MemberId, StoredMeter]) -> None:
        """Deliver the rejoins of all remembered members of a restarting room, and then the inputs that waited.

        Inputs that belong to the old rules, such as receipts, are dropped.
        """
        old = inputs.Receipts | inputs.Saved | inputs.Fenced | inputs.Stalled
        waiting = [given for given in room.inbox.take_all() if not isinstance(given.given, old)]
        ways: list[tuple[Audience, Callable[[MemberId], None]]] = [
            (Audience.MEMBERS, partial(self._rejoin, room, meters)),
            (Audience.OVERLAYS, partial(self._rejoin_overlay, room)),
        ]
        try:
            for audience, let_in in ways:
                returning = room.returning.get(audience, [])
                while returning:
                    let_in(returning[0])
                    del returning[0]  # removed only after its rejoin, so that the next restart retries one that raised
        finally:  # a lost command would never be answered
            room.inbox.put_back(waiting)

    def _rejoin(self, room: LiveRoom, meters: Mapping[MemberId, StoredMeter], member_id: MemberId) -> None:
        """Deliver the rejoin of a member to a restarting room; nothing if its session has ended or is not connected."""
        session = self._sessions.by_member.get(member_id)
        if session is not None and (reply := session.rejoin_reply(room)) is not None:
            is_operator, meter = session.identity.is_operator, meters.get(member_id)
            room.inbox.deliver(inputs.Joined(member_id, session.user_id, reply, is_operator, meter))
            if session.is_silent:
                room.inbox.deliver(session.silence_in(room))

    def _rejoin_overlay(self, room: LiveRoom, member_id: MemberId) -> None:
        """Deliver the rejoin of an overlay to a restarting room."""
        session = self._sessions.by_member.get(member_id)
        if session is not None and (reply := session.rejoin_reply(room)) is not None:
            room.inbox.deliver(inputs.OverlayJoined(member_id, session.creator_id, (), room.clock.now(), reply))

    # The end after too many crashes

    async def abandon(self, room: LiveRoom) -> bool:
        """End a room with `server_fault`: nothing more is charged, and its members receive the end.

        False if the room has ended or has another owner. May raise if its rows are invalid.
        """
        room.rules = None
        stored = await self._reclaim(room)
        if stored is None:
            return False
        record = self._kind.end_by_fault(stored, room.clock.now())
        if not await self._kind.save(room.id, stored.epoch, record):
            return False
        room.restore_members()
        self._kind.publish_end(room, stored, record)
        room.audiences.clear()
        return True

    async def end_unread(self, room_id: RoomId) -> None:
        """End a room with `server_fault` without reading its rows, if this server still owns it."""
        claim = await retry_storage(lambda: self._leases.claim(room_id))
        if claim is not None:
            await retry_storage(lambda: end_with_fault(self._postgres, claim))
