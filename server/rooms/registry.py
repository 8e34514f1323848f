"""Every live room of this server: finds a room's inbox, or starts the room."""

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
    """Rooms by id, by channel and by party."""

    def __init__(
        self,
        nursery: trio.Nursery,
        supervisor: Supervisor,
        metrics: Metrics,
        faults: Faults,
    ) -> None:
        self._nursery = nursery
        self._context = copy_context()  # of the house
        self._supervisor = supervisor
        self._metrics = metrics
        self._faults = faults
        self._rooms: dict[RoomId, LiveRoom] = {}
        self._by_channel: dict[str, LiveRoom] = {}
        self._by_party: dict[UserId, LiveRoom] = {}
        self._metered: set[RoomId] = set()  # streams with blocks
        self._metered_of: dict[UserId, LiveRoom] = {}  # … by their owner, who has one live stream at most

    def find(self, room_id: RoomId) -> LiveRoom | None:
        return self._rooms.get(room_id)

    def find_channel(self, channel: str) -> LiveRoom | None:
        return self._by_channel.get(channel)

    def call_of(self, user_id: UserId) -> LiveRoom | None:
        """The call that this user is in, or rings; nobody is in two at once."""
        return self._by_party.get(user_id)

    def metered_stream_of(self, owner_id: UserId) -> LiveRoom | None:
        """The stream of this creator's that is live and has blocks."""
        return self._metered_of.get(owner_id)

    @property
    def has_metered_streams(self) -> bool:
        return bool(self._metered)

    def is_metered_stream(self, room: LiveRoom) -> bool:
        """A live stream whose viewers pay by the block."""
        return room.id in self._metered

    def ids(self) -> Collection[RoomId]:
        return self._rooms.keys()

    def calls(self) -> list[LiveRoom]:
        return [room for room in self._rooms.values() if room.parties]

    def __iter__(self) -> Iterator[LiveRoom]:
        return iter(list(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def is_open(self) -> bool:
        """Whether rooms can be started: the floor they stand on is not being torn down."""
        return not self._nursery.cancel_scope.cancel_called

    def start(self, room: LiveRoom, task: RoomTask) -> None:
        """Run a room under supervision until it is settled."""
        self._rooms[room.id] = self._by_channel[room.channel] = room
        self._by_party.update(dict.fromkeys(room.parties, room))
        if room.has_blocks and room.owner_id is not None:
            self._metered.add(room.id)
            self._metered_of[room.owner_id] = room
        self._metrics.rooms.set(len(self._rooms))
        # Not in the context of the request that rang: the room would keep it, token and body, for its whole life.
        self._context.copy().run(partial(self._nursery.start_soon, self._run, room, task, name=f"room {room.id}"))

    def spawn(
        self, where: Where, work: Callable[[], Awaitable[None]], on_fault: Callable[[], None] | None = None
    ) -> None:
        """Let something of a room's go on beside its task. If it raises, that is logged, counted, and ends it alone."""
        self._context.copy().run(self._nursery.start_soon, self._faults.run, where, work, on_fault)

    async def _run(self, room: LiveRoom, task: RoomTask) -> None:
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
        """Stop every clock, and wait until all that is in flight is committed and stored."""
        rooms = list(self)
        for room in rooms:
            room.inbox.deliver(inputs.Drain())
        for room in rooms:
            await room.settled.wait()
