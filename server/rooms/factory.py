"""Makes live rooms and their tasks out of the services of one server."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from domain.call.record import CallFacts
from domain.stream.record import StreamFacts
from server.broadcast.audiences import Audiences
from server.broadcast.fanout import Fanout
from server.broadcast.history import History
from server.clock import Clock
from server.config.settings import RoomSettings
from server.money.ticket_settlement import Tickets
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from server.rooms.inbox.inbox import Inbox
from server.rooms.inbox.timers import RoomTimers
from server.rooms.ownership import Ownership, Trust
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom, RoomRecovery, RoomSessions
from server.rooms.room_storage import RoomStorage
from server.rooms.task import RoomTask, Rules
from storage.ledger.actor import StorageActor
from storage.postgres import Postgres


class RoomFactory:
    """Makes the parts of a room that stay for its life, and the task and storage that it has under one epoch."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        lease: Trust,
        registry: Registry,
        sessions: RoomSessions,
        metrics: Metrics,
        clock: Clock,
        settings: RoomSettings,
        faults: Faults,
        tickets: Tickets,
    ) -> None:
        self.timers = RoomTimers()
        self._postgres = postgres
        self._actor = actor
        self._lease = lease
        self._registry = registry
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._settings = settings
        self._faults = faults
        self._tickets = tickets

    def room(self, facts: CallFacts | StreamFacts, recovery: RoomRecovery) -> LiveRoom:
        """Make a room without rules, members or a task. `recovery` restarts it after a crash."""
        clock = self._clock.fork()
        inbox = Inbox(clock, self.timers, self._settings.inbox)
        audiences = Audiences(facts.channel, partial(self._fanout, inbox))
        return LiveRoom(facts, clock, inbox, audiences, recovery, Ownership(self._lease))

    def task(self, room: LiveRoom, rules: Rules, epoch: int, save: Callable[[Any], Awaitable[bool]]) -> RoomTask:
        """Make a task for a room under a new epoch, with which its events are numbered from 1 again.

        `save` stores a record of the room; it waits while storage is away, and returns False after a later epoch.
        """
        room.audiences.begin(epoch)
        room.ownership.begin(epoch)
        storage = RoomStorage(
            self._postgres, self._actor, save, room.id, epoch, self._faults, room.inbox.fail, self._tickets
        )
        return RoomTask(
            rules,
            room.clock,
            room.inbox,
            room.audiences,
            storage,
            self._sessions,
            self._metrics,
            self._faults,
            room.ownership,
        )

    def _fanout(self, inbox: Inbox) -> Fanout:
        history = History(self._settings.history_seconds, self._settings.history_events)
        spawn = partial(self._registry.spawn, "fanout")
        return Fanout(self._sessions.by_member, history, spawn, inbox.fail, self._metrics.events_delivered)
