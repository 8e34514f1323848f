"""The users of a load run, and the room members that send commands.

Users need no registration: the server creates a user with the first valid token, and this program has its secret.
"""

import time
from uuid import UUID

import trio

from server.access.tokens import issue_token
from server.broadcast.codec import Encoding
from server.ids import new_uuid
from server.loadtest.client.client import AnswerTimeout, Client, Disconnected, Event
from server.loadtest.client.positions import ReadPosition
from server.loadtest.client.reconnect import reconnect
from server.loadtest.measures.figures import BlockClock, LoadCounts
from server.loadtest.rest import RestClient

TOKEN_SECONDS = 2 * 3600  # longer than any run
RATE_TOKENS_PER_MIN = 60
FAN_TOKENS = 100_000_000  # a tip every millisecond for a day
TIP_TOKENS = 1


class LoadUsers:
    """Creates users, their tokens, and the creators and credits that a room needs; credits come from a new operator."""

    def __init__(self, secret: str, rest: RestClient) -> None:
        self._secret = secret
        self._rest = rest
        self._operator = self.token_of(new_uuid(), "operator")

    def token_of(self, user_id: UUID, role: str | None = None) -> str:
        """Return a token of a user, valid for TOKEN_SECONDS."""
        return issue_token(self._secret, user_id, role=role, ttl_seconds=TOKEN_SECONDS, now=time.time())

    def new_viewer_token(self) -> str:
        """Return a token of a new user."""
        return self.token_of(new_uuid())

    async def make_creator(self, token: str, room_no: int) -> None:
        """Make the user of this token a creator. Raises RequestRefused, LoadRefused."""
        body = {"displayName": f"Creator {room_no}", "rateTokensPerMin": RATE_TOKENS_PER_MIN, "acceptsCalls": True}
        await self._rest.ask("PUT", "/creators/me", token, body)

    async def give_tokens(self, user_id: UUID) -> None:
        """Credit a user with FAN_TOKENS, as an operator, once. Raises RequestRefused, LoadRefused."""
        body = {"userId": str(user_id), "tokens": FAN_TOKENS, "reason": "a load run"}
        await self._rest.ask("POST", "/admin/credits", self._operator, body, key=f"load {user_id}")


class ActiveMember:
    """A room member that sends commands, and counts the events that it receives.

    It has a full client with answers and timeouts, which costs more than a PassiveMember.
    """

    def __init__(
        self, nursery: trio.Nursery, url: str, encoding: Encoding, users: LoadUsers, counts: LoadCounts
    ) -> None:
        self.user_id = new_uuid()
        self.token = users.token_of(self.user_id)
        self.channel = ""
        self.client = Client(nursery, url, self.token, encoding=encoding, on_event=self._on_event, kept=0)
        self._counts = counts
        self.blocks: BlockClock | None = None  # set for one party of each call
        self._tipped_at: dict[str, float] = {}  # send time by message, until the event of the tip arrives
        self._tips = 0

    @property
    def position(self) -> ReadPosition:
        """Return the read position in the member's room."""
        return self.client.positions.by_channel.get(self.channel) or ReadPosition()

    async def connect(self) -> None:
        """Open the session. Raises one of NOT_CONNECTED."""
        await self.client.open()

    async def keep_connected(self) -> None:
        """Reconnect and resume whenever the connection is lost, until a close code forbids it.

        Each loss is counted as an error with its code; a session that ends for good leaves its room incomplete.
        """
        while True:
            code = await self.client.wait_closed()
            self._counts.errors[f"closed with {code}"] += 1
            if not self.client.may_reconnect:
                return
            await reconnect(self._resume, self._counts)

    async def join(self, channel: str) -> bool:
        """Join a room; return whether that succeeded. A failure is counted."""
        self.channel = channel
        return await self.do("room:join", channel=channel)

    async def tip(self) -> None:
        """Send a tip; its round trip ends when the sender receives its `tip:new`."""
        self._tips += 1
        message = f"tip {self._tips}"
        self._tipped_at[message] = trio.current_time()
        key = f"{self.channel} {message}"
        if not await self.do("tip:send", channel=self.channel, amountTokens=TIP_TOKENS, message=message, key=key):
            self._tipped_at.pop(message, None)

    async def chat(self) -> None:
        """Send a chat message."""
        await self.do("chat:send", channel=self.channel, text="what a load")

    async def do(self, command: str, **fields: object) -> bool:
        """Send a command and return whether it succeeded; a failure is counted by its error, and not raised."""
        self._counts.sent[command] += 1
        try:
            answer = await self.client.ask(command, **fields)
        except (Disconnected, AnswerTimeout) as lost:
            self._counts.errors[f"{command}: {type(lost).__name__}"] += 1
            return False
        self._counts.answered[command] += 1
        if answer["type"] == "error":
            self._counts.errors[f"{command}: {answer['error']}"] += 1
            return False
        return True

    @property
    def unheard_tips(self) -> int:
        """Return how many acknowledged tips of this member have not arrived as events."""
        return len(self._tipped_at)

    async def _resume(self) -> None:
        ready = await self.client.resume()
        if ready["lost"]:
            self._counts.errors["a room was lost on reconnecting"] += 1

    def _on_event(self, event: Event) -> None:
        """Count a sequenced event, and take the times of blocks and of the member's own tips."""
        if "seq" not in event or event["type"] == "room:joined":
            return
        self._counts.deliveries += 1
        if self.blocks is not None and event["type"].startswith(("block:", "call:")):
            self._note_block(event)
        if event["type"] == "tip:new" and event["from"]["userId"] == str(self.user_id):
            sent_at = self._tipped_at.pop(event["message"], None)
            if sent_at is not None:
                self._counts.round_trips.append((trio.current_time() - sent_at) * 1000)

    def _note_block(self, event: Event) -> None:
        assert self.blocks is not None
        late = self.blocks.take(event)
        self._counts.blocks += event["type"] == "block:charged"
        if late is not None:
            self._counts.lateness.append(late)
