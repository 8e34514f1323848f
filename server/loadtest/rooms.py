"""The rooms of a load run: how a call and a stream come about, who is in them, and how they end."""

from collections.abc import Sequence
from typing import Protocol

from server.loadtest.client.passive_members import NotJoined, PassiveMember
from server.loadtest.client.positions import ReadPosition
from server.loadtest.concurrency import each
from server.loadtest.measures.figures import BlockClock
from server.loadtest.rest import RestClient
from server.loadtest.users import ActiveMember, LoadUsers

JOINED_AT_ONCE = 64  # a room takes in 256 before it says that it is overloaded (rooms.inbox), and others want to join


class LoadRoom(Protocol):
    """One room with all its members: `prepare`, connect them, `open` and `end`. Each may raise Refused."""

    owner: ActiveMember
    fans: Sequence[ActiveMember]
    passive_members: Sequence[PassiveMember]

    async def prepare(self, users: LoadUsers) -> None: ...

    async def open(self) -> None: ...

    async def end(self) -> None: ...


class CallRoom:
    """A fan and a creator; whoever else is there listens on a further device of one of them."""

    def __init__(
        self,
        room_no: int,
        rest: RestClient,
        fan: ActiveMember,
        creator: ActiveMember,
        passive_members: Sequence[PassiveMember],
    ) -> None:
        self.owner = creator
        self.fans: Sequence[ActiveMember] = (fan,)
        self.passive_members = passive_members
        self._room_no = room_no
        self._rest = rest
        self._call_id = ""
        fan.blocks = BlockClock()

    async def prepare(self, users: LoadUsers) -> None:
        await users.make_creator(self.owner.token, self._room_no)
        await users.give_tokens(self.fans[0].user_id)

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
        self,
        room_no: int,
        rest: RestClient,
        creator: ActiveMember,
        fans: Sequence[ActiveMember],
        passive_members: Sequence[PassiveMember],
    ) -> None:
        self.owner = creator
        self.fans = fans
        self.passive_members = passive_members
        self._room_no = room_no
        self._rest = rest
        self._stream_id = ""

    async def prepare(self, users: LoadUsers) -> None:
        await users.make_creator(self.owner.token, self._room_no)
        for fan in self.fans:
            await users.give_tokens(fan.user_id)

    async def open(self) -> None:
        body = {"title": f"Load {self._room_no}", "type": "public"}
        made = await self._rest.ask("POST", "/streams", self.owner.token, body)
        stream = made["stream"]
        self._stream_id = stream["id"]
        await self._rest.ask("POST", f"/streams/{self._stream_id}/start", self.owner.token)
        await _join_all(self, stream["channel"])

    async def end(self) -> None:
        await self._rest.ask("POST", f"/streams/{self._stream_id}/end", self.owner.token)


async def _join_all(room: LoadRoom, channel: str) -> None:
    """Who acts first: a call begins when both parties are there."""
    for member in (room.owner, *room.fans):
        if not await member.join(channel):
            raise NotJoined
    await each(room.passive_members, lambda member: member.join(channel), JOINED_AT_ONCE)


def positions(room: LoadRoom) -> list[ReadPosition]:
    return [
        *(member.position for member in (room.owner, *room.fans)),
        *(member.position for member in room.passive_members),
    ]


def missing(room: LoadRoom) -> int:
    """Deliveries that some member had and others still lack."""
    heard = [position.seq for position in positions(room)]
    return sum(max(heard) - seq for seq in heard)
