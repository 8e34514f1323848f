"""How a call becomes a live room: when it is made, from its rows at a start, and again after a crash."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
import trio

from domain import inputs
from domain.call import Call
from domain.call_record import CallRecord, CallRules
from domain.ids import CallId, MemberId, UserId
from domain.instant import Instant, rfc3339, seconds
from domain.messages import CallEnded
from domain.meter import Meter
from domain.posting import Posting, Receipt
from server.clock import Clock
from server.config import RoomSettings
from server.fanout import Fanout
from server.history import History
from server.inbox import Inbox
from server.live_room import LiveRoom
from server.registry import Registry
from server.replies import SocketReply
from server.room_task import RoomTask
from server.sessions import Sessions
from server.telemetry import Telemetry
from storage.actor import Deliver, StorageActor
from storage.calls import StoredCall, find_call, save_call
from storage.leases import Claim, Leases
from storage.postgres import Postgres, StorageUnavailable

RETRY_SECONDS = 0.5  # between tries to read or store a room while the database is away

T = TypeVar("T")


class CallBooks:
    """Where one call's postings and records go, under one epoch."""

    def __init__(self, postgres: Postgres, actor: StorageActor, call_id: CallId, epoch: int) -> None:
        self._postgres = postgres
        self._actor = actor
        self._call_id = call_id
        self._epoch = epoch

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        return await self._actor.post(postings)

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        return self._actor.submit(postings, deliver)

    async def save(self, record: CallRecord) -> bool:
        return await _persist(lambda: save_call(self._postgres, self._call_id, self._epoch, record))


class CallRooms:
    """Starts calls and brings them back; what a call does while it lives is the business of its task."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        leases: Leases,
        registry: Registry,
        sessions: Sessions,
        telemetry: Telemetry,
        clock: Clock,
        rules: CallRules,
        rooms: RoomSettings,
    ) -> None:
        self._postgres = postgres
        self._actor = actor
        self._leases = leases
        self._registry = registry
        self._sessions = sessions
        self._telemetry = telemetry
        self._clock = clock
        self._rules = rules
        self._rooms = rooms

    def ring(self, stored: StoredCall) -> LiveRoom:
        """A call that was made just now: both parties' sessions hear it ring."""
        room = self._room(stored)
        task = self._task(room, stored, restarted_at=None)
        assert room.call is not None
        task.begin(room.call.news.ringing())
        self._registry.start(room, task)
        return room

    async def take_up(self, claim: Claim) -> None:
        """A call that lived under an earlier epoch: it waits for both parties to come back."""
        stored = await _persist(lambda: find_call(self._postgres, CallId(claim.room_id)))
        if stored is not None and stored.epoch == claim.epoch and self._registry.find(claim.room_id) is None:
            room = self._room(stored)
            self._registry.start(room, self._task(room, stored, restarted_at=room.clock.now()))

    async def again(self, room: LiveRoom) -> RoomTask | None:
        """After a crash: new rules from the rows, under a new epoch, with the same members and what they asked."""
        room.call = None
        stored = await self._reclaim(room)
        waiting = [given.given for given in room.inbox.take_all()]
        members = room.fanout.clear()
        if stored is None:
            return None
        task = self._task(room, stored, restarted_at=room.clock.now())
        for member_id in members:
            self._rejoin(room, member_id)
        for given in waiting:
            if not isinstance(given, inputs.Receipts | inputs.Saved | inputs.Fenced):  # they were for the old rules
                room.inbox.put(given)
        return task

    async def give_up(self, room: LiveRoom) -> None:
        """End the call with `server_fault`: nothing more is charged, and both parties are told."""
        room.call = None
        stored = await self._reclaim(room)
        if stored is None:
            return
        now = room.clock.now()
        record = _ended_by_fault(stored, now)
        if await _persist(lambda: save_call(self._postgres, room.id, stored.epoch, record)):
            room.fanout.publish(
                CallEnded(
                    channel=room.channel,
                    seq=room.fanout.last_seq + 1,
                    at=rfc3339(now),
                    call_id=room.id,
                    reason="server_fault",
                    blocks=stored.blocks,
                    tokens=stored.tokens,
                    active_seconds=seconds(record.active),
                )
            )
            room.fanout.clear()

    async def _reclaim(self, room: LiveRoom) -> StoredCall | None:
        claim = await _persist(lambda: self._leases.claim(room.id))
        if claim is None:
            return None
        return await _persist(lambda: find_call(self._postgres, CallId(room.id)))

    def _room(self, stored: StoredCall) -> LiveRoom:
        clock = self._clock.fork()
        facts = stored.facts
        return LiveRoom(
            facts.id,
            facts.channel,
            (UserId(facts.fan.user_id), UserId(facts.creator.user_id)),
            clock,
            Inbox(clock, self._rooms.inbox),
            Fanout(self._sessions.by_member, self._history(), self._registry.spawn),
        )

    def _history(self) -> History:
        return History(self._rooms.history_seconds, self._rooms.history_events)

    def _task(self, room: LiveRoom, stored: StoredCall, restarted_at: Instant | None) -> RoomTask:
        facts = stored.facts
        meter = Meter(
            room_id=facts.id,
            payer=UserId(facts.fan.user_id),
            payee=UserId(facts.creator.user_id),
            price=facts.price,
            epoch=stored.epoch,
            funds=stored.fan_funds,
            committed=stored.blocks,
            tokens=stored.tokens,
            active=stored.record.active,
        )
        room.fanout.begin(stored.epoch)
        room.call = Call(facts, self._rules, meter, stored.record, restarted_at)
        books = CallBooks(self._postgres, self._actor, facts.id, stored.epoch)
        return RoomTask(room.call, room.clock, room.inbox, room.fanout, books, self._sessions, self._telemetry)

    def _rejoin(self, room: LiveRoom, member_id: MemberId) -> None:
        session = self._sessions.by_member.get(member_id)
        if session is not None and session.line is not None:
            room.inbox.put(inputs.Joined(member_id, session.user_id, SocketReply(session.line, None)))
            if session.unheard:
                room.inbox.put(inputs.Unheard(member_id))


def _ended_by_fault(stored: StoredCall, now: Instant) -> CallRecord:
    return msgspec.structs.replace(stored.record, status="ended", ended_at=now, end_reason="server_fault", holds=())


async def _persist(work: Callable[[], Awaitable[T]]) -> T:
    """Ask the database until it answers; the room has nothing better to do."""
    while True:
        try:
            return await work()
        except StorageUnavailable:
            await trio.sleep(RETRY_SECONDS)
