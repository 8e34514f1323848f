"""The rooms of a load run: how a call and a stream come about, who is in them, and how they end."""

from collections.abc import Sequence
from typing import Protocol

from server.loadtest.client.listeners import Listener, NotJoined
from server.loadtest.client.positions import ReadPosition
from server.loadtest.concurrency import each
from server.loadtest.measures.figures import BlockClock
from server.loadtest.people import Actor, People
from server.loadtest.rest import Rest

JOINED_AT_ONCE = 64  # a room takes in 256 before it says that it is overloaded (rooms.inbox), and others want to join


class Room(Protocol):
    """One room with all its members: `prepare`, connect them, `open` and `end`. Each may raise Refused."""

    owner: Actor
    fans: Sequence[Actor]
    listeners: Sequence[Listener]

    async def prepare(self, people: People) -> None: ...

    async def open(self) -> None: ...

    async def end(self) -> None: ...


class CallRoom:
    """A fan and a creator; whoever else is there listens on a further device of one of them."""

    def __init__(self, room_no: int, rest: Rest, fan: Actor, creator: Actor, listeners: Sequence[Listener]) -> None:
        self.owner = creator
        self.fans: Sequence[Actor] = (fan,)
        self.listeners = listeners
        self._room_no = room_no
        self._rest = rest
        self._call_id = ""
        fan.blocks = BlockClock()

    async def prepare(self, people: People) -> None:
        await people.make_creator(self.owner.token, self._room_no)
        await people.give_tokens(self.fans[0].user_id)

    async def open(self) -> None:
        fan = self.fans[0]
        body = {"creatorId": str(self.owner.user_id)}
        call = await self._rest.ask("POST", "/calls/init", fan.token, body, key=f"call {self._room_no}")
        self._call_id = call["callId"]
        if not await self.owner.do("call:accept", callId=self._call_id):
            raise NotJoined
        await _join_all(self, call["channel"])

    async def end(self) -> None:
        await self.fans[0].do("call:end", callId=self._call_id)


class StreamRoom:
    """A creator who is live, fans who tip, and viewers who listen."""

    def __init__(
        self, room_no: int, rest: Rest, creator: Actor, fans: Sequence[Actor], listeners: Sequence[Listener]
    ) -> None:
        self.owner = creator
        self.fans = fans
        self.listeners = listeners
        self._room_no = room_no
        self._rest = rest
        self._stream_id = ""

    async def prepare(self, people: People) -> None:
        await people.make_creator(self.owner.token, self._room_no)
        for fan in self.fans:
            await people.give_tokens(fan.user_id)

    async def open(self) -> None:
        body = {"title": f"Load {self._room_no}", "type": "public"}
        made = await self._rest.ask("POST", "/streams", self.owner.token, body)
        stream = made["stream"]
        self._stream_id = stream["id"]
        await self._rest.ask("POST", f"/streams/{self._stream_id}/start", self.owner.token)
        await _join_all(self, stream["channel"])

    async def end(self) -> None:
        await self._rest.ask("POST", f"/streams/{self._stream_id}/end", self.owner.token)


async def _join_all(room: Room, channel: str) -> None:
    """Who acts first: a call begins when both parties are there."""
    for actor in (room.owner, *room.fans):
        if not await actor.join(channel):
            raise NotJoined
    await each(room.listeners, lambda listener: listener.join(channel), JOINED_AT_ONCE)


def positions(room: Room) -> list[ReadPosition]:
    return [
        *(actor.position for actor in (room.owner, *room.fans)),
        *(listener.position for listener in room.listeners),
    ]


def missing(room: Room) -> int:
    """Deliveries that some member had and others still lack."""
    heard = [position.seq for position in positions(room)]
    return sum(max(heard) - seq for seq in heard)
