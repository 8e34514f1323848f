"""The live rooms of this server: finds rooms, and runs each under supervision."""

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextvars import copy_context
from functools import partial

import trio

from domain.ids import RoomId, UserId
from domain.room import inputs
from server.broadcast.audiences import MOVED
from server.observability.faults import Faults, Where
from server.observability.metrics import Metrics
from server.rooms.room import LiveRoom
from server.rooms.supervisor import Supervisor
from server.rooms.task import RoomTask


class Registry:
    """Owns the live rooms and their tasks, and finds a room by id, by channel, by party or by owner."""

    def __init__(
        self,
        nursery: trio.Nursery,
        supervisor: Supervisor,
        metrics: Metrics,
        faults: Faults,
    ) -> None:
        self._nursery = nursery
        self._context = copy_context()  # without the log fields of a request
        self._supervisor = supervisor
        self._metrics = metrics
        self._faults = faults
        self._rooms: dict[RoomId, LiveRoom] = {}
        self._by_channel: dict[str, LiveRoom] = {}
        self._by_party: dict[UserId, LiveRoom] = {}
        self._metered: set[RoomId] = set()  # streams whose viewers pay by the block
        self._metered_of: dict[UserId, LiveRoom] = {}  # the same by owner; a creator has at most one live stream

    def find(self, room_id: RoomId) -> LiveRoom | None:
        """The room with this id, if it is live on this server."""
        return self._rooms.get(room_id)

    def find_channel(self, channel: str) -> LiveRoom | None:
        """The room of this channel, if it is live on this server."""
        return self._by_channel.get(channel)

    def call_of(self, user_id: UserId) -> LiveRoom | None:
        """The call, ringing or active, of which this user is a party; a user is in at most one."""
        return self._by_party.get(user_id)

    def metered_stream_of(self, owner_id: UserId) -> LiveRoom | None:
        """The creator's live stream, if its viewers pay by the block."""
        return self._metered_of.get(owner_id)

    @property
    def has_metered_streams(self) -> bool:
        """Whether any live stream is metered."""
        return bool(self._metered)

    def is_metered_stream(self, room: LiveRoom) -> bool:
        """Whether this is a live stream whose viewers pay by the block."""
        return room.id in self._metered

    def ids(self) -> Collection[RoomId]:
        """The ids of all live rooms, as a view that changes with them."""
        return self._rooms.keys()

    def calls(self) -> list[LiveRoom]:
        """The rooms that are calls."""
        return [room for room in self._rooms.values() if room.parties]

    def __iter__(self) -> Iterator[LiveRoom]:
        return iter(list(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def is_open(self) -> bool:
        """Whether rooms can be started; False once the nursery of the rooms is cancelled."""
        return not self._nursery.cancel_scope.cancel_called

    def start(self, room: LiveRoom, task: RoomTask) -> None:
        """Run a room under supervision until it is settled."""
        self._rooms[room.id] = self._by_channel[room.channel] = room
        self._by_party.update(dict.fromkeys(room.parties, room))
        if room.has_blocks and room.owner_id is not None:
            self._metered.add(room.id)
            self._metered_of[room.owner_id] = room
        self._metrics.rooms.set(len(self._rooms))
        # Not in the context of the request that started it: the room would keep its token and body in memory.
        self._context.copy().run(partial(self._nursery.start_soon, self._run, room, task, name=f"room {room.id}"))

    def spawn(
        self, where: Where, work: Callable[[], Awaitable[None]], on_fault: Callable[[], None] | None = None
    ) -> None:
        """Start work beside a room's task. If it raises, that is logged and counted, and `on_fault` is called."""
        self._context.copy().run(self._nursery.start_soon, self._faults.run, where, work, on_fault)

    async def _run(self, room: LiveRoom, task: RoomTask) -> None:
        """Supervise a room's task, and remove the room once it is over, whatever ended it."""
        try:
            with self._faults.contained("room", partial(room.close, MOVED), room=str(room.id)):
                await self._supervisor.run(room, task)
        finally:
            del self._rooms[room.id], self._by_channel[room.channel]
            self._metered.discard(room.id)
            if room.owner_id is not None and self._metered_of.get(room.owner_id) is room:
                del self._metered_of[room.owner_id]
            for party in room.parties:
                if self._by_party.get(party) is room:  # the next call may have begun already
                    del self._by_party[party]
            self._metrics.rooms.set(len(self._rooms))
            room.inbox.close()
            room.settled.set()

    async def drain(self) -> None:
        """Stop all meters, and wait until every posting in flight is committed and every room is stored."""
        rooms = list(self)
        for room in rooms:
            room.inbox.deliver(inputs.Drain())
        for room in rooms:
            await room.settled.wait()
