"""What every live room stands on, whatever its kind: its inbox, its audiences, its books, and its way back."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from domain import inputs
from domain.ids import MemberId, RoomId, UserId
from domain.posting import Posting, Receipt
from server.alarm import Alarm
from server.audiences import Audiences
from server.clock import Clock
from server.config import RoomSettings
from server.fanout import Fanout
from server.history import History
from server.inbox import Given, Inbox
from server.live_room import LiveRoom, Revival
from server.registry import Registry
from server.replies import SocketReply
from server.room_task import RoomTask, Rules
from server.sessions import Sessions
from server.telemetry import Telemetry
from storage.actor import Deliver, StorageActor
from storage.leases import Leases
from storage.postgres import Postgres, StorageUnavailable
from storage.tickets import find_tickets

RETRY_SECONDS = 0.5  # between tries to read or store a room while the database is away

T = TypeVar("T")


class RoomBooks:
    """Where one room's postings and records go, under one epoch."""

    def __init__(
        self, postgres: Postgres, actor: StorageActor, save: Callable[[Any], Awaitable[bool]], room_id: RoomId
    ) -> None:
        self._postgres = postgres
        self._actor = actor
        self._save = save
        self._room_id = room_id

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        return await self._actor.post(postings)

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        return self._actor.submit(postings, deliver)

    async def save(self, record: Any) -> bool:
        return await persist(lambda: self._save(record))

    async def refund_ticket(self, user_id: UserId) -> None:
        """Give a user who was put out their money back."""
        tickets = await persist(lambda: find_tickets(self._postgres, self._room_id, user_id))
        if tickets:
            await persist(lambda: self._actor.refund(tickets, "put out of the stream"))


class RoomFloor:
    """Makes rooms and their tasks, and takes rooms back after a crash."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        leases: Leases,
        registry: Registry,
        sessions: Sessions,
        telemetry: Telemetry,
        clock: Clock,
        settings: RoomSettings,
    ) -> None:
        self.postgres = postgres
        self.registry = registry
        self.sessions = sessions
        self.clock = clock
        self.settings = settings
        self.alarm = Alarm()
        self._actor = actor
        self._leases = leases
        self._telemetry = telemetry

    def room(self, room_id: RoomId, channel: str, parties: tuple[UserId, ...], revival: Revival) -> LiveRoom:
        """A room without a task."""
        clock = self.clock.fork()
        inbox = Inbox(clock, self.alarm, self.settings.inbox)
        return LiveRoom(room_id, channel, parties, clock, inbox, Audiences(self._fanout), revival)

    def task(self, room: LiveRoom, rules: Rules, epoch: int, save: Callable[[Any], Awaitable[bool]]) -> RoomTask:
        """A task for a room, under a new epoch."""
        room.audiences.begin(epoch)
        books = RoomBooks(self.postgres, self._actor, save, room.id)
        return RoomTask(rules, room.clock, room.inbox, room.audiences, books, self.sessions, self._telemetry)

    async def reclaim(self, room: LiveRoom) -> bool:
        """Take a room of ours under a new epoch; False if it is not ours any more, or has ended."""
        return await persist(lambda: self._leases.claim(room.id)) is not None

    def hand_over(self, room: LiveRoom) -> list[Given]:
        """What waits for a room that starts again, without what was for its old rules."""
        old = inputs.Receipts | inputs.Saved | inputs.Fenced
        return [given for given in room.inbox.take_all() if not isinstance(given.given, old)]

    def rejoin_overlay(self, room: LiveRoom, member_id: MemberId) -> None:
        """Let an overlay in again, in a room that starts again."""
        session = self.sessions.by_member.get(member_id)
        if session is not None and session.line is not None:
            reply, now = SocketReply(session.line, None), room.clock.now()
            room.inbox.deliver(inputs.OverlayJoined(member_id, session.creator_id, (), now, reply))

    def silent(self, member_id: MemberId) -> bool:
        session = self.sessions.by_member.get(member_id)
        return session is not None and session.unheard

    def _fanout(self) -> Fanout:
        history = History(self.settings.history_seconds, self.settings.history_events)
        return Fanout(self.sessions.by_member, history, self.registry.spawn)


async def persist(work: Callable[[], Awaitable[T]]) -> T:
    """Ask the database until it answers; the room has nothing better to do."""
    while True:
        try:
            return await work()
        except StorageUnavailable:
            await trio.sleep(RETRY_SECONDS)
