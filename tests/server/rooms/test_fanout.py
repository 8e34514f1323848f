"""Every member receives each event once and in order, however members join, leave and resume between the broadcasts."""

import random
import socket
from collections.abc import Awaitable, Callable
from typing import cast
from uuid import uuid4

import msgspec
import pytest
import trio
import trio.testing

from domain.ids import MemberId
from domain.protocol.events import MemberLeft
from server.broadcast.codec import Encoding
from server.broadcast.fanout import AT_ONCE, Fanout
from server.broadcast.history import History
from server.broadcast.idle_sockets import IdleSockets
from server.broadcast.send_queue import SendQueue

EPOCH = 3


class FakeConnection:
    """A connection whose socket keeps the bytes that are sent while it is open."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        # The socket accepts everything: nothing waits.
        sock, nursery = cast(socket.socket, self), cast(trio.Nursery, None)
        self.send_queue = SendQueue(sock, nursery, IdleSockets(), limit=0, close_seconds=0)
        self.writes: list[bytes] = []
        self.open = True

    def send(self, frame: bytes) -> int:
        if self.open:
            self.writes.append(frame)
        return len(frame)


class FakeSession:
    def __init__(self, encoding: Encoding = Encoding.JSON) -> None:
        self.id = MemberId(uuid4())
        self.encoding = encoding
        self.connection: FakeConnection | None = None
        self.connections: list[FakeConnection] = []
        self.seated = True
        self.connect()

    def connect(self) -> None:
        self.connection = FakeConnection(self.encoding)
        self.connections.append(self.connection)

    def is_member_of(self, fanout: Fanout) -> bool:
        return self.seated

    def received(self) -> list[int]:
        """Return the numbers of all events, over all its connections."""
        return [
            number
            for connection in self.connections
            for write in connection.writes
            for number in numbers(write, self.encoding)
        ]


class Room:
    """A fan-out, its sessions, and the number of its last event."""

    def __init__(self, spawn: Callable[[Callable[[], Awaitable[None]]], None], keep: int = 1000) -> None:
        self.sessions: dict[MemberId, FakeSession] = {}
        self.fanout = Fanout(self.sessions, History(1000.0, keep), lambda work, _: spawn(work), self._fail, self._count)
        self.fanout.begin(EPOCH)
        self.deliveries = 0

    def _count(self, deliveries: int) -> None:
        self.deliveries += deliveries

    def _fail(self) -> None:
        raise AssertionError("no step of the fan-out raises here")

    def join(self, encoding: Encoding = Encoding.JSON) -> FakeSession:
        session = FakeSession(encoding)
        self.sessions[session.id] = session
        self.fanout.add(session.id)
        return session

    def publish(self) -> None:
        seq = self.fanout.last_seq + 1
        self.fanout.publish(MemberLeft(channel="c", seq=seq, at="now", member_id=uuid4(), user_id=uuid4()))

    def lose(self, session: FakeSession) -> None:
        assert session.connection is not None
        session.connection.open, session.connection = False, None
        self.fanout.suspend(session.id)

    def rejoin(self, session: FakeSession, last_received: int) -> bool:
        session.connect()
        missed = self.fanout.missed(session.id, EPOCH, last_received)
        if missed is not None:
            self.fanout.resume(session.id, missed)
        return missed is not None


def numbers(write: bytes, encoding: Encoding) -> list[int]:
    """Return the numbers of the events in one write, which may hold several frames."""
    found = []
    while write:
        length, start = (write[1], 2) if write[1] < 126 else (int.from_bytes(write[2:4], "big"), 4)
        payload, write = write[start : start + length], write[start + length :]
        decode = msgspec.json.decode if encoding is Encoding.JSON else msgspec.msgpack.decode
        found.append(decode(payload)["seq"])
    return found


def never(work: Callable[[], Awaitable[None]]) -> None:
    raise AssertionError("few members are served at once")


async def test_simultaneous_events_are_one_write_in_each_subprotocol() -> None:
    room = Room(never)
    both = [room.join(encoding) for encoding in Encoding]
    for _ in range(3):
        room.publish()
    room.fanout.flush()
    for session in both:
        assert [len(connection.writes) for connection in session.connections] == [1]
        assert session.received() == [1, 2, 3]
    assert room.deliveries == 6
    room.lose(both[0])
    room.publish()
    assert room.rejoin(both[0], 3)
    assert room.deliveries == 8, "the event reached one at once and the other by its resume"


async def test_a_session_that_left_before_it_was_admitted_receives_nothing() -> None:
    """Its connection may be a newer one by then, which never asked to join."""
    room = Room(never)
    gone = FakeSession()
    room.sessions[gone.id] = gone
    gone.seated = False
    room.fanout.add(gone.id)
    room.publish()
    room.fanout.flush()
    assert gone.received() == []


async def test_a_session_that_joins_receives_what_follows_and_one_that_left_nothing_more() -> None:
    room = Room(never)
    early = room.join()
    room.publish()
    late = room.join()
    room.publish()
    room.fanout.remove(early.id)
    room.publish()
    room.fanout.flush()
    assert (early.received(), late.received()) == ([1, 2], [2, 3])


@pytest.mark.parametrize(
    ("epoch", "seq", "known"), [(EPOCH, 5, True), (EPOCH, 2, True), (EPOCH, 1, False), (EPOCH, 6, False), (4, 5, False)]
)
async def test_a_position_is_known_if_all_later_events_are_kept(epoch: int, seq: int, known: bool) -> None:
    room = Room(never, keep=3)
    session = room.join()
    for _ in range(5):
        room.publish()
    room.lose(session)
    missed = room.fanout.missed(session.id, epoch, seq)
    assert (missed is not None) is known
    if missed is not None:
        assert [broadcast.seq for broadcast in missed] == list(range(seq + 1, 6))


async def test_no_session_resumes_that_left_or_never_joined() -> None:
    room = Room(never)
    session = room.join()
    room.lose(session)
    room.fanout.remove(session.id)
    assert room.fanout.missed(session.id, EPOCH, 0) is None
    stranger = MemberId(uuid4())
    room.fanout.suspend(stranger)
    assert room.fanout.missed(stranger, EPOCH, 0) is None


@pytest.mark.parametrize("seed", range(20))
async def test_numbers_follow_one_another_in_a_large_room_under_random_changes(
    nursery: trio.Nursery, seed: int
) -> None:
    """Each session's numbers follow one another from its join to its leave, over all its connections."""
    chance = random.Random(seed)
    room = Room(nursery.start_soon)
    here: list[FakeSession] = [room.join(chance.choice(list(Encoding))) for _ in range(2 * AT_ONCE + 100)]
    away: list[FakeSession] = []
    joined_after = {session.id: 0 for session in here}
    for _ in range(300):
        match chance.randrange(7):
            case 0 | 1:
                room.publish()
            case 2:
                room.fanout.flush()
            case 3:
                session = room.join()
                joined_after[session.id] = room.fanout.last_seq
                here.append(session)
            case 4:
                session = here.pop(chance.randrange(len(here)))
                room.lose(session)
                away.append(session)
            case 5 if away:
                session = away.pop(chance.randrange(len(away)))
                received = session.received()
                assert room.rejoin(session, received[-1] if received else joined_after[session.id])
                here.append(session)
            case 6 if chance.random() < 0.5:
                await trio.lowlevel.checkpoint()
    room.fanout.flush()
    await trio.testing.wait_all_tasks_blocked()
    last = room.fanout.last_seq
    assert last > 20
    for session in here:
        assert session.received() == list(range(joined_after[session.id] + 1, last + 1))


async def test_an_event_that_was_discarded_leaves_no_hole_before_the_next() -> None:
    room = Room(lambda work: None)
    member = room.join()
    room.publish()
    room.fanout.flush()
    for _ in range(3):
        room.publish()
    room.fanout.discard()
    assert room.fanout.last_seq == 1
    room.publish()
    room.fanout.flush()
    assert member.received() == [1, 2]
