"""A room's events to all its members, each encoded once, in one order, and nobody waits for anybody."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import trio

from domain.ids import MemberId
from domain.protocol.events import SequencedEvent
from server.broadcast.codec import Encoding
from server.broadcast.history import Broadcast, History
from server.broadcast.send_queue import SendQueue, push_to_each

AT_ONCE = 1024  # members of one subprotocol that are served before others run: 5 ms

Spawn = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]  # work, and what follows if it raises


class Outlet(Protocol):
    """A connection, as far as a broadcast needs it."""

    encoding: Encoding
    send_queue: SendQueue


class _Members:
    """Who is reached in one subprotocol, in parts that are served at once."""

    __slots__ = ("_parts", "send_queues")

    def __init__(self) -> None:
        self.send_queues: dict[MemberId, SendQueue] = {}
        self._parts: list[list[SendQueue]] | None = None  # None: somebody came or went since they were last asked for

    def add(self, member_id: MemberId, send_queue: SendQueue) -> None:
        self.send_queues[member_id] = send_queue
        self._parts = None

    def remove(self, member_id: MemberId) -> None:
        if self.send_queues.pop(member_id, None) is not None:
            self._parts = None

    def parts(self) -> list[list[SendQueue]]:
        if self._parts is None:
            send_queues = list(self.send_queues.values())
            self._parts = [send_queues[begun : begun + AT_ONCE] for begun in range(0, len(send_queues), AT_ONCE)]
        return self._parts


class Reachable(Protocol):
    """A session: `connection` is the connection that it is reached through, None while it has lost it."""

    @property
    def connection(self) -> Outlet | None: ...

    def is_member_of(self, fanout: "Fanout") -> bool:
        """It has a seat among these members, and has not left since."""
        ...


class Fanout:
    """The members of one room, and how to reach them; it outlives a crash of the room.

    What is published between two flushes leaves as one write. A flush to few members is done when it returns; with
    more, a task of its own goes on, and whatever follows, joins and leavings included, stands in line behind it.
    """

    def __init__(
        self, sessions: Mapping[MemberId, Reachable], history: History, spawn: Spawn, fail: Callable[[], None]
    ) -> None:
        """`fail` crashes the room: some members have not been sent an event, and never will be."""
        self._sessions = sessions
        self._members = {encoding: _Members() for encoding in Encoding}
        self._admitted: dict[MemberId, None] = {}  # by the room itself: nobody else is owed anything
        self._away: set[MemberId] = set()  # of these, who has no connection: they are told when they are back
        self._history = history
        self._spawn = spawn
        self._fail = fail
        self._published: list[Broadcast] = []  # since the last flush
        self._steps: deque[Iterator[None]] = deque()  # the first is under way

    def begin(self, epoch: int) -> None:
        """The room has a new epoch: its events are numbered anew, and nobody is owed any of before."""
        self._history.begin(epoch)
        self._admitted.clear()
        self._away.clear()

    @property
    def last_seq(self) -> int:
        return self._history.last_seq

    @property
    def has_unflushed(self) -> bool:
        """Something was published that is not flushed yet."""
        return bool(self._published)

    def publish(self, event: SequencedEvent) -> None:
        """To all who are members now, with the next flush."""
        broadcast = Broadcast(event)
        self._history.add(broadcast)
        self._published.append(broadcast)

    def flush(self) -> None:
        """Send what was published since the last flush."""
        if self._published:
            published, self._published = self._published, []
            self._take(self._sending(published))

    def discard(self) -> None:
        """Forget what was published since the last flush: the room had another owner by then."""
        if self._published:
            self._history.forget(self._published)
            self._published = []

    def add(self, member_id: MemberId) -> None:
        """A member from the next event on."""
        self.flush()
        self._admitted[member_id] = None
        self._away.discard(member_id)
        self._take_in(member_id, [])

    def remove(self, member_id: MemberId) -> None:
        self.flush()
        self._admitted.pop(member_id, None)
        self._away.discard(member_id)
        self._take(self._removing(member_id))

    def clear(self) -> list[MemberId]:
        """Nobody is told anything more; returns who was a member. Who is away hears the rest when they are back."""
        self.flush()
        was = self.members()
        for member_id in {
            *was,
            *(member_id for members in self._members.values() for member_id in members.send_queues),
        }:
            self._take(self._removing(member_id))
        return was

    def is_admitted(self, member_id: MemberId) -> bool:
        """The room has let this member in."""
        return member_id in self._admitted

    def members(self) -> list[MemberId]:
        """Who is reached now, or will be once the steps that wait are done."""
        return [member_id for member_id in self._admitted if member_id not in self._away]

    def suspend(self, member_id: MemberId) -> None:
        """This member lost its connection, and stays a member. Who was never admitted stays a stranger."""
        if member_id in self._admitted:
            self.flush()
            self._away.add(member_id)
            self._take(self._removing(member_id))

    def missed(self, member_id: MemberId, epoch: int, seq: int) -> list[Broadcast] | None:
        """What a member that was away has missed since that event; None if some of it is gone, or it is no member."""
        self.flush()
        return self._history.since(epoch, seq) if member_id in self._away else None

    def resume(self, member_id: MemberId, missed: list[Broadcast]) -> None:
        """It is back: it hears what it missed, and then all that follows."""
        self._away.discard(member_id)
        self._take_in(member_id, missed)

    def _take_in(self, member_id: MemberId, missed: list[Broadcast]) -> None:
        session = self._sessions.get(member_id)
        # A session that left, or was resumed, since it asked to join must not hear the room in its newer connection.
        if session is not None and session.connection is not None and session.is_member_of(self):
            self._take(self._adding(member_id, session.connection, missed))

    def _take(self, step: Iterator[None]) -> None:
        if self._steps:
            self._steps.append(step)
        elif _has_more(step):
            self._steps.append(step)
            self._spawn(self._go_on, self._break)

    async def _go_on(self) -> None:
        while self._steps:
            await trio.lowlevel.checkpoint()
            if not _has_more(self._steps[0]):
                self._steps.popleft()

    def _break(self) -> None:
        self._steps.clear()
        self._fail()

    # Steps: each yields where others may run

    def _sending(self, published: list[Broadcast]) -> Iterator[None]:
        for encoding, members in self._members.items():
            parts = members.parts()
            frame = b"".join([broadcast.frame(encoding) for broadcast in published]) if parts else b""
            for i, send_queues in enumerate(parts):
                if i > 0:
                    yield
                push_to_each(send_queues, frame)

    def _adding(self, member_id: MemberId, connection: Outlet, missed: list[Broadcast]) -> Iterator[None]:
        for broadcast in missed:
            connection.send_queue.push(broadcast.frame(connection.encoding))
        self._members[connection.encoding].add(member_id, connection.send_queue)
        yield from ()

    def _removing(self, member_id: MemberId) -> Iterator[None]:
        for members in self._members.values():
            members.remove(member_id)
        yield from ()


def _has_more(step: Iterator[None]) -> bool:
    return next(step, _OVER) is not _OVER


_OVER = object()


def send_to_all(outlets: Sequence[Outlet], event: msgspec.Struct) -> None:
    """Encode once a subprotocol that is spoken, and push."""
    frames: dict[Encoding, bytes] = {}
    for outlet in outlets:
        frame = frames.get(outlet.encoding)
        if frame is None:
            frame = frames[outlet.encoding] = outlet.encoding.frame(event)
        outlet.send_queue.push(frame)
