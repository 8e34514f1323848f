"""Sends a room's events to all its members: each event is encoded once, and no member delays another one.

The room's task publishes the events that it decided together, and then flushes once. A flush writes the encoded bytes
into the send queue of every connected member. A member that does not read fills only its own queue.
"""

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

AT_ONCE = 1024  # members of one subprotocol that are served before other tasks run: 5 ms

# Starts a background task: takes its work, and a function that is called if the work raises.
Spawn = Callable[[Callable[[], Awaitable[None]], Callable[[], None]], None]


class Outlet(Protocol):
    """The part of a connection that a broadcast needs: its subprotocol and its send queue."""

    encoding: Encoding
    send_queue: SendQueue


class _Members:
    """The connected members of one subprotocol, in parts of AT_ONCE."""

    __slots__ = ("_parts", "send_queues")

    def __init__(self) -> None:
        self.send_queues: dict[MemberId, SendQueue] = {}
        self._parts: list[list[SendQueue]] | None = None  # None after a change of the members, until the next use

    def add(self, member_id: MemberId, send_queue: SendQueue) -> None:
        self.send_queues[member_id] = send_queue
        self._parts = None

    def remove(self, member_id: MemberId) -> None:
        if self.send_queues.pop(member_id, None) is not None:
            self._parts = None

    def parts(self) -> list[list[SendQueue]]:
        """The send queues of all members, in lists of at most AT_ONCE; built again only after a change."""
        if self._parts is None:
            send_queues = list(self.send_queues.values())
            self._parts = [send_queues[start : start + AT_ONCE] for start in range(0, len(send_queues), AT_ONCE)]
        return self._parts


class Reachable(Protocol):
    """The part of a session that a fan-out needs. `connection` is None while the session waits to be resumed."""

    @property
    def connection(self) -> Outlet | None: ...

    def is_member_of(self, fanout: "Fanout") -> bool:
        """Whether the session is a member of this audience, or asked to become one, and has not left since."""
        ...


class Fanout:
    """Owns the members of one audience of a room and the order in which they receive events; survives a room's crash.

    Events that are published between two flushes go out as one write. A flush to at most AT_ONCE members of each
    subprotocol is complete when it returns. A larger one continues in a task of its own, and every later flush, join
    and removal is queued behind it, so that all members see one order.

    A member is *admitted* from the room's answer to its join until it leaves. An admitted member without a connection
    is *suspended*: it keeps its place, receives nothing, and is sent the events that it missed when it resumes.
    No method waits. The room's task, its lifecycle and the sessions call them.
    """

    def __init__(
        self,
        sessions: Mapping[MemberId, Reachable],
        history: History,
        spawn: Spawn,
        fail: Callable[[], None],
        count: Callable[[int], None],
    ) -> None:
        """`fail` crashes the room, which then restarts; it is called if some members missed an event for good.

        `count` is told the number of deliveries of each flush: its events times the members that they are sent to.

        `sessions` holds the sessions of this server by member, and `spawn` starts a task for a large flush.
        """
        self._sessions = sessions
        self._members = {encoding: _Members() for encoding in Encoding}
        self._admitted: dict[MemberId, None] = {}  # by the room; others receive no events
        self._suspended: set[MemberId] = set()  # admitted members without a connection
        self._history = history
        self._spawn = spawn
        self._fail = fail
        self._count = count
        self._published: list[Broadcast] = []  # since the last flush
        self._steps: deque[Iterator[None]] = deque()  # the first one has begun

    def begin(self, epoch: int) -> None:
        """Start a new epoch: events are numbered from 1, and nobody can resume from an event of the old epoch."""
        self._history.begin(epoch)
        self._admitted.clear()
        self._suspended.clear()

    @property
    def last_seq(self) -> int:
        """The number of the latest event that was published; 0 before the first one of an epoch."""
        return self._history.last_seq

    @property
    def has_unflushed(self) -> bool:
        """Whether an event was published and not flushed yet."""
        return bool(self._published)

    def publish(self, event: SequencedEvent) -> None:
        """Add an event to the history; the next flush sends it to the members of that time.

        The event carries its number: `last_seq` plus one.
        """
        broadcast = Broadcast(event)
        self._history.add(broadcast)
        self._published.append(broadcast)

    def flush(self) -> None:
        """Send what was published since the last flush."""
        if self._published:
            published, self._published = self._published, []
            self._run_step(self._sending(published))

    def discard(self) -> None:
        """Drop what was published since the last flush, since the room had another owner by then.

        The dropped events leave the history too, so their numbers are free: no member has seen them.
        """
        if self._published:
            self._history.forget(self._published)
            self._published = []

    def add(self, member_id: MemberId) -> None:
        """Admit a member; it receives every event from the next one on.

        Events that were published before are flushed first: the answer to the join describes the state after them.
        """
        self.flush()
        self._admitted[member_id] = None
        self._suspended.discard(member_id)
        self._connect(member_id, [])

    def remove(self, member_id: MemberId) -> None:
        """Remove a member, after it was sent what is published already. Idempotent."""
        self.flush()
        self._admitted.pop(member_id, None)
        self._suspended.discard(member_id)
        self._run_step(self._removing(member_id))

    def clear(self) -> list[MemberId]:
        """Stop sending to everybody, and return the members that were connected.

        Members without a connection still receive what they missed when they resume.
        """
        self.flush()
        connected = self.members()
        for member_id in {
            *connected,
            *(member_id for members in self._members.values() for member_id in members.send_queues),
        }:
            self._run_step(self._removing(member_id))
        return connected

    def is_admitted(self, member_id: MemberId) -> bool:
        """Whether the room admitted this member, connected or not."""
        return member_id in self._admitted

    def members(self) -> list[MemberId]:
        """The admitted members with a connection, including those whose queued steps are not done yet."""
        return [member_id for member_id in self._admitted if member_id not in self._suspended]

    def suspend(self, member_id: MemberId) -> None:
        """Stop sending to a member that lost its connection; it stays admitted. Ignored for others."""
        if member_id in self._admitted:
            self.flush()
            self._suspended.add(member_id)
            self._run_step(self._removing(member_id))

    def missed(self, member_id: MemberId, epoch: int, seq: int) -> list[Broadcast] | None:
        """The events after number `seq` of `epoch` that a suspended member missed, in order; perhaps none.

        None if some of them are not kept any more, or if this is no suspended member: the client must join again.
        The caller passes the result to `resume` without an `await` in between, so that no event is left out.
        """
        self.flush()
        return self._history.since(epoch, seq) if member_id in self._suspended else None

    def resume(self, member_id: MemberId, missed: list[Broadcast]) -> None:
        """Send a suspended member what it missed, and then all later events, over its new connection."""
        self._suspended.discard(member_id)
        self._connect(member_id, missed)

    def _connect(self, member_id: MemberId, missed: list[Broadcast]) -> None:
        """Connect an admitted member: send the missed events, and then every later one."""
        session = self._sessions.get(member_id)
        # A session that left, or was resumed, after it asked to join must not receive events in its newer connection.
        if session is not None and session.connection is not None and session.is_member_of(self):
            self._run_step(self._adding(member_id, session.connection, missed))

    def _run_step(self, step: Iterator[None]) -> None:
        """Run a step to its end if no other one is unfinished and it never yields; otherwise queue it for a task."""
        if self._steps:
            self._steps.append(step)
        elif _has_more(step):
            self._steps.append(step)
            self._spawn(self._run_queued_steps, self._abort_steps)

    async def _run_queued_steps(self) -> None:
        """Run the queued steps in order, and let other tasks run at each yield."""
        while self._steps:
            await trio.lowlevel.checkpoint()
            if not _has_more(self._steps[0]):
                self._steps.popleft()

    def _abort_steps(self) -> None:
        """After a fault in a step: drop the queued steps, and crash the room."""
        self._steps.clear()
        self._fail()

    # Steps: each is a generator that yields where other tasks may run

    def _sending(self, published: list[Broadcast]) -> Iterator[None]:
        """Push these events, as one frame sequence, to the members of each subprotocol.

        A subprotocol without members costs no encoding.
        """
        for encoding, members in self._members.items():
            parts = members.parts()
            frame = b"".join([broadcast.frame(encoding) for broadcast in published]) if parts else b""
            for i, send_queues in enumerate(parts):
                if i > 0:
                    yield
                push_to_each(send_queues, frame)
                self._count(len(send_queues) * len(published))

    def _adding(self, member_id: MemberId, connection: Outlet, missed: list[Broadcast]) -> Iterator[None]:
        """Push what the member missed, and add its send queue."""
        for broadcast in missed:
            connection.send_queue.push(broadcast.frame(connection.encoding))
        self._count(len(missed))
        self._members[connection.encoding].add(member_id, connection.send_queue)
        yield from ()

    def _removing(self, member_id: MemberId) -> Iterator[None]:
        """Remove the member's send queue, whichever subprotocol its connection has."""
        for members in self._members.values():
            members.remove(member_id)
        yield from ()


def _has_more(step: Iterator[None]) -> bool:
    """Run a step to its next yield; False if it has ended instead."""
    return next(step, _OVER) is not _OVER


_OVER = object()


def send_to_all(outlets: Sequence[Outlet], event: msgspec.Struct) -> None:
    """Push an event to these connections; it is encoded once for each subprotocol among them. Never waits.

    For private events, which have no number and no history. A closed connection discards its copy.
    """
    frames: dict[Encoding, bytes] = {}
    for outlet in outlets:
        frame = frames.get(outlet.encoding)
        if frame is None:
            frame = frames[outlet.encoding] = outlet.encoding.frame(event)
        outlet.send_queue.push(frame)
