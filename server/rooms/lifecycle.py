"""The parts of a room's lifecycle that both kinds share: making it and its task, its storage, rejoins after a crash.

CallRooms and StreamRooms build on it. A room starts (a new call or stream), is adopted (its server is gone), restarts
(its task crashed), or is abandoned (it crashed too often). Each of these takes a new epoch, which fences former tasks.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from domain.billing.posting import Posting, Receipt
from domain.ids import MemberId, PostingKey, RoomId, UserId
from domain.room import inputs
from domain.room.effects import Audience
from domain.room.inputs import Reply
from server.access.tokens import Identity
from server.broadcast.audiences import Audiences
from server.broadcast.fanout import Fanout, Reachable
from server.broadcast.history import History
from server.clock import Clock
from server.config.settings import RoomSettings
from server.money.refunds_due import give_back_blocks
from server.money.ticket_settlement import Tickets
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from server.rooms.inbox.inbox import Inbox
from server.rooms.inbox.timers import RoomTimers
from server.rooms.ownership import Ownership, Trust
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom, RoomRecovery
from server.rooms.task import RoomTask, Rules, Sessions
from storage.database_errors import StorageUnavailable
from storage.ledger.actor import StorageActor
from storage.ledger.commands import Deliver
from storage.ledger.refunds_due import note_refunds_due
from storage.postgres import Postgres
from storage.rooms.faulty_rooms import end_with_fault
from storage.rooms.leases import Claim, Leases

RETRY_SECONDS = 0.5  # between tries to read or store a room while the database is away

T = TypeVar("T")


class ReturningMember(Reachable, Protocol):
    """The part of a session that a restarting room needs to let it rejoin."""

    user_id: UserId
    identity: Identity
    is_silent: bool

    @property
    def creator_id(self) -> UserId:
        """The session's user, or the creator whose overlay it is."""
        ...

    def rejoin_reply(self, room: LiveRoom) -> Reply | None:
        """The reply for a rejoin of this room; None if the session has no connection."""
        ...

    def silence_in(self, room: LiveRoom) -> inputs.ConnectionSilent: ...


class RoomSessions(Sessions, Protocol):
    """The sessions of this server, by member id."""

    @property
    def by_member(self) -> Mapping[MemberId, ReturningMember]: ...


class RoomStorage:
    """Commits the postings and stores the records of one room under one epoch; waits while storage is away."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        save: Callable[[Any], Awaitable[bool]],
        room_id: RoomId,
        epoch: int,
        faults: Faults,
        fail: Callable[[], None],
        tickets: Tickets,
    ) -> None:
        """`fail` crashes the room; it is called if receipts could not be delivered to it."""
        self._postgres = postgres
        self._actor = actor
        self._save = save
        self._room_id = room_id
        self._epoch = epoch
        self._faults = faults
        self._fail = fail
        self._tickets = tickets

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Commit these postings in order; one receipt for each."""
        return await self._actor.post(postings)

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        """Commit without a waiting task: `deliver` gets the receipts in the actor's task. False if it cannot."""
        return self._actor.submit(postings, partial(self._deliver, deliver))

    def _deliver(self, deliver: Deliver, receipts: list[Receipt]) -> None:
        """Runs in the storage actor's task, so an exception of this room is contained here."""
        with self._faults.contained("receipts", self._fail, room=str(self._room_id)):
            deliver(receipts)

    async def save(self, record: Any) -> bool:
        """Store the room's record; False if the room has a later epoch."""
        return await retry_storage(lambda: self._save(record))

    async def refund_ticket(self, user_id: UserId) -> None:
        """Refund the ticket of a removed user. An exception is contained: it affects only this refund."""
        with self._faults.contained("refund", room=str(self._room_id), user=str(user_id)):
            await retry_storage(lambda: self._tickets.give_back(self._room_id, user_id))

    async def release_tickets(self) -> bool:
        """Credit the tickets in escrow to the creator. An exception is contained; a later settlement round retries."""
        with self._faults.contained("release", room=str(self._room_id)):
            return await retry_storage(lambda: self._tickets.release(self._room_id, self._epoch))
        return True

    async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool:
        """Record that these blocks are to be refunded, and refund those that the payee can cover now.

        False if the room has a later epoch. An exception is contained.
        """
        with self._faults.contained("refund", room=str(self._room_id)):
            if not await retry_storage(lambda: note_refunds_due(self._postgres, self._room_id, self._epoch, blocks)):
                return False
            await retry_storage(lambda: give_back_blocks(self._postgres, self._actor, blocks))
        return True


class RoomLifecycle:
    """Makes rooms and their tasks, claims them under new epochs, and lets members rejoin after a crash."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        leases: Leases,
        lease: Trust,
        registry: Registry,
        sessions: RoomSessions,
        metrics: Metrics,
        clock: Clock,
        settings: RoomSettings,
        faults: Faults,
        tickets: Tickets,
    ) -> None:
        self.postgres = postgres
        self.registry = registry
        self.sessions = sessions
        self.clock = clock
        self.settings = settings
        self.faults = faults
        self.tickets = tickets
        self.timers = RoomTimers()
        self._actor = actor
        self._leases = leases
        self._lease = lease
        self._metrics = metrics

    def room(self, room_id: RoomId, channel: str, parties: tuple[UserId, ...], recovery: RoomRecovery) -> LiveRoom:
        """Make a room without a task; `parties` is empty for a stream."""
        clock = self.clock.fork()
        inbox = Inbox(clock, self.timers, self.settings.inbox)
        audiences, ownership = Audiences(channel, partial(self._fanout, inbox)), Ownership(self._lease)
        return LiveRoom(room_id, channel, parties, clock, inbox, audiences, recovery, ownership)

    def task(self, room: LiveRoom, rules: Rules, epoch: int, save: Callable[[Any], Awaitable[bool]]) -> RoomTask:
        """Make a task for a room under a new epoch, with empty audiences. `save` stores the room's record."""
        room.audiences.begin(epoch)
        room.ownership.begin(epoch)
        storage = RoomStorage(
            self.postgres, self._actor, save, room.id, epoch, self.faults, room.inbox.fail, self.tickets
        )
        return RoomTask(
            rules,
            room.clock,
            room.inbox,
            room.audiences,
            storage,
            self.sessions,
            self._metrics,
            self.faults,
            room.ownership,
        )

    async def reclaim(self, room: LiveRoom) -> Claim | None:
        """Claim a room of this server under a new epoch; None if it has ended or has another owner."""
        return await retry_storage(lambda: self._leases.claim(room.id))

    async def end_unread(self, room_id: RoomId) -> None:
        """End a room with `server_fault` without reading its rows, if this server still owns it."""
        claim = await retry_storage(lambda: self._leases.claim(room_id))
        if claim is not None:
            await retry_storage(lambda: end_with_fault(self.postgres, claim))

    def set_aside_members(self, room: LiveRoom) -> None:
        """Remove all members of a restarting room, and remember them in `room.returning` until `readmit`."""
        for audience in Audience:
            was, more = room.returning.get(audience, []), room.audiences[audience].clear()
            room.returning[audience] = list(dict.fromkeys([*was, *more]))

    def readmit(self, room: LiveRoom, rejoin: Callable[[MemberId], None]) -> None:
        """Deliver the rejoins of all remembered members of a restarting room, and then the inputs that waited.

        Inputs that belong to the old rules, such as receipts, are dropped.
        """
        old = inputs.Receipts | inputs.Saved | inputs.Fenced | inputs.Stalled
        waiting = [given for given in room.inbox.take_all() if not isinstance(given.given, old)]
        ways: list[tuple[Audience, Callable[[MemberId], None]]] = [
            (Audience.MEMBERS, rejoin),
            (Audience.OVERLAYS, partial(self.rejoin_overlay, room)),
        ]
        try:
            for audience, let_in in ways:
                returning = room.returning.get(audience, [])
                while returning:
                    let_in(returning[0])
                    del returning[0]  # removed only after its rejoin, so that the next restart retries one that raised
        finally:  # a lost command would never be answered
            room.inbox.put_back(waiting)

    def rejoin_overlay(self, room: LiveRoom, member_id: MemberId) -> None:
        """Deliver the rejoin of an overlay to a restarting room."""
        session = self.sessions.by_member.get(member_id)
        if session is not None and (reply := session.rejoin_reply(room)) is not None:
            room.inbox.deliver(inputs.OverlayJoined(member_id, session.creator_id, (), room.clock.now(), reply))

    def _fanout(self, inbox: Inbox) -> Fanout:
        history = History(self.settings.history_seconds, self.settings.history_events)
        return Fanout(self.sessions.by_member, history, partial(self.registry.spawn, "fanout"), inbox.fail)


async def retry_storage(work: Callable[[], Awaitable[T]]) -> T:
    """Call `work` until the database answers, every RETRY_SECONDS. Other errors are raised."""
    while True:
        try:
            return await work()
        except StorageUnavailable:
            await trio.sleep(RETRY_SECONDS)
