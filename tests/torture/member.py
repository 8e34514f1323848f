"""Members of a stream's room who lose their connection repeatedly, reconnect, and keep sending messages and tips."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import trio

from server.broadcast.codec import Encoding
from server.loadtest.client.client import AnswerTimeout, Client, Disconnected
from server.loadtest.client.reconnect import NOT_CONNECTED
from tests.support.processes import LOOK_SECONDS
from tests.torture.story import Story

CONNECT_SECONDS = 1.0  # then a device tries again: a connection that was lost in the handshake would block for long
PAUSE_SECONDS = 0.05  # between two tries; a server that is down signals nothing
SEND_EVERY_SECONDS = 0.15  # between two commands of one member, on average
TIP_SHARE = 0.5
PATIENCE_SECONDS = 30.0
KEPT_EVENTS = 8  # the story records all events
# Codes of the answers while a room is being restored, or to a user who has not joined it again yet.
LATER = {"OVERLOADED", "ROOM_STARTING", "STORAGE_UNAVAILABLE", "DRAINING", "NOT_FOUND", "RATE_LIMITED"}


class Member:
    """One user on one device. `run` until cancelled; `send_events` until `over` is set."""

    def __init__(self, nursery: trio.Nursery, user_id: UUID, token: str, port: int, encoding: Encoding) -> None:
        self.user_id = user_id
        self.token = token
        self.story = Story()
        self.close_codes: Counter[int | None] = Counter()
        self.acknowledged: dict[str, str] = {}  # of each tip: its key, and the id in its answer
        self.repeated = 0
        self._trouble: object = None  # the last refusal or failure on the way into the room
        self._client = Client(nursery, f"ws://127.0.0.1:{port}/ws", token, encoding=encoding, kept=KEPT_EVENTS)
        self._client.positions = self.story
        self._tips = 0

    @property
    def inside(self) -> bool:
        return self._client.connected and self.story.inside

    def __repr__(self) -> str:
        """Return what a failed wait needs to be understood."""
        visits = [(visit.epoch, visit.first_seq, visit.last_seq) for visit in self.story.visits]
        return (
            f"connected {self._client.connected}, inside {self.story.inside}, visits {visits},"
            f" closed with {dict(self.close_codes)}, last trouble {self._trouble!r}"
        )

    async def run(self, channel: str) -> None:
        """Stay in the room: join again after each loss, until cancelled."""
        while True:
            await self._come_in(channel)
            code = await self._client.wait_closed()
            self.close_codes[code] += 1
            assert self._client.may_reconnect, f"closed with {code} {self._client.close_reason}"
            await trio.sleep(PAUSE_SECONDS)

    async def _come_in(self, channel: str) -> None:
        while not self.inside:
            try:
                await self._connect()
                if not self.story.inside:
                    answer = await self._client.join(channel)
                    if answer["type"] != "room:joined":
                        assert answer["error"] in LATER, answer
                        self._trouble = answer
            except NOT_CONNECTED as error:
                self._trouble = error
            await trio.sleep(PAUSE_SECONDS)

    async def _connect(self) -> None:
        if self._client.connected:
            return
        with trio.move_on_after(CONNECT_SECONDS) as waited:
            await (self._client.resume() if self._client.ready else self._client.open())
        if waited.cancelled_caught:
            await self._client.lose_network()

    async def send_events(self, channel: str, chance: random.Random, over: trio.Event) -> None:
        """Send tips and chat messages in random order; a tip under way at the end is repeated until it is answered."""
        while not over.is_set():
            if chance.random() < TIP_SHARE:
                await self._tip(channel)
            else:
                await self._ask("chat:send", channel=channel, text=f"{self.user_id} sends {chance.random()}")
            with trio.move_on_after(chance.expovariate(1 / SEND_EVERY_SECONDS)):
                await over.wait()

    async def _tip(self, channel: str) -> None:
        """Send one tip under one key until it is answered."""
        self._tips += 1
        key = f"tip {self._tips}"
        while key not in self.acknowledged:
            answer = await self._ask("tip:send", channel=channel, amountTokens=1, message=key, key=key)
            if answer is not None and answer["type"] == "ok":
                self.acknowledged[key] = answer["tip"]["tipId"]
            else:
                self.repeated += 1
                await trio.sleep(PAUSE_SECONDS)

    async def _ask(self, kind: str, **fields: Any) -> Any:
        """Return the answer, or None if the outcome is unknown."""
        try:
            answer = await self._client.ask(kind, **fields)
        except (Disconnected, AnswerTimeout):
            return None
        assert answer["type"] == "ok" or answer["error"] in LATER, answer
        return answer


async def wait_all(members: Sequence[Member], holds: Callable[[Member], bool]) -> None:
    """Wait until the condition holds for all members at the same time."""
    with trio.move_on_after(PATIENCE_SECONDS):
        while not all(holds(member) for member in members):  # noqa: ASYNC110  # reason: the condition may end again
            await trio.sleep(LOOK_SECONDS)
    assert all(holds(member) for member in members), members
