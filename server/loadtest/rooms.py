"""The rooms of a load run: sets up, opens and ends calls and streams with their members.

A few *active* members of each room send commands; all others are *passive* and only count what they receive.
"""

from collections.abc import Sequence
from typing import Protocol

from server.loadtest.client.passive_members import NotJoined, PassiveMember
from server.loadtest.client.positions import ReadPosition
from server.loadtest.concurrency import each
from server.loadtest.measures.figures import BlockClock
from server.loadtest.rest import RestClient
from server.loadtest.users import ActiveMember, LoadUsers

JOINED_AT_ONCE = 64  # an inbox holds 256 inputs (rooms.inbox), and other members join too


class LoadRoom(Protocol):
    """A room with all its members. LoadRun calls `prepare`, connects the members, and calls `open` and `end`.

    Each method may raise RequestRefused, and LoadRefused if the server does not answer.
    """

    owner: ActiveMember
    fans: Sequence[ActiveMember]
    passive_members: Sequence[PassiveMember]

    async def prepare(self, users: LoadUsers) -> None:
        """Make the owner a creator and credit the fans."""
        ...

    async def open(self) -> None:
        """Open the room and join all members. Raises NotJoined."""
        ...

    async def end(self) -> None:
        """End the room."""
        ...


class CallRoom:
    """A call of a fan and a creator; further members are more devices of these two. The fan measures the blocks."""

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
        """Make the owner a creator and credit the fan."""
        await users.make_creator(self.owner.token, self._room_no)
        await users.give_tokens(self.fans[0].user_id)

    async def open(self) -> None:
        """Start the call, accept it, and join both parties and their further devices. Raises NotJoined."""
        fan = self.fans[0]
        body = {"creatorId": str(self.owner.user_id)}
        call = await self._rest.ask("POST", "/calls/init", fan.token, body, key=f"call {self._room_no}")
        self._call_id = call["callId"]
        if not await self.owner.do("call:accept", callId=self._call_id):
            raise NotJoined
        await _join_all(self, call["channel"])

    async def end(self) -> None:
        """End the call by the fan's command over the websocket; a failure is counted and not raised."""
        await self.fans[0].do("call:end", callId=self._call_id)


class StreamRoom:
    """A live stream of a creator, with fans who tip and passive viewers."""

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
        """Make the owner a creator and credit the fans."""
        await users.make_creator(self.owner.token, self._room_no)
        for fan in self.fans:
            await users.give_tokens(fan.user_id)

    async def open(self) -> None:
        """Announce and start the stream, and join all members. Raises NotJoined."""
        body = {"title": f"Load {self._room_no}", "type": "public"}
        announced = await self._rest.ask("POST", "/streams", self.owner.token, body)
        stream = announced["stream"]
        self._stream_id = stream["id"]
        await self._rest.ask("POST", f"/streams/{self._stream_id}/start", self.owner.token)
        await _join_all(self, stream["channel"])

    async def end(self) -> None:
        """End the stream over REST."""
        await self._rest.ask("POST", f"/streams/{self._stream_id}/end", self.owner.token)


async def _join_all(room: LoadRoom, channel: str) -> None:
    """Join the active members first, because a call starts when both parties are present."""
    for member in (room.owner, *room.fans):
        if not await member.join(channel):
            raise NotJoined
    await each(room.passive_members, lambda member: member.join(channel), JOINED_AT_ONCE)


def positions(room: LoadRoom) -> list[ReadPosition]:
    """Return the read positions of all members."""
    return [
        *(member.position for member in (room.owner, *room.fans)),
        *(member.position for member in room.passive_members),
    ]


def missing(room: LoadRoom) -> int:
    """Return the number of deliveries that some member has received and others have not.

    All members of a room receive the same numbered events, so the highest number is what each should have reached.
    An event that nobody received is not noticed here, but by the gap when the next one arrives.
    """
    received = [position.seq for position in positions(room)]
    return sum(max(received) - seq for seq in received)
