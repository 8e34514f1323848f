"""Honest users beside an attack: a call and a stream that must not suffer, and counts of the received events."""

import time
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import trio

from server.broadcast.codec import Encoding
from server.ids import new_uuid
from server.loadtest.client.client import AnswerTimeout, Client, Disconnected, Event
from server.loadtest.client.reconnect import NOT_CONNECTED
from server.loadtest.measures.plan import LoadRefused
from server.loadtest.rest import RequestRefused, RestClient
from tests.support.clients import token_of

PAUSE_SECONDS = 0.05
CHAT_SECONDS = 0.25  # between two lines of the stream's owner
LATE_SECONDS = 1.0  # from the time in an event to its arrival
TOKENS = 50_000_000
LASTING = {"call:ended", "room:closed"}


class Figures(NamedTuple):
    """Counts of one room's events: due to its members, received, and received late; and the lost or duplicate ones."""

    due: int
    received: int
    late: int
    lost_or_doubled: list[str]

    def __str__(self) -> str:
        return f"{self.due} due, {self.received} heard, {self.late} late"


class HonestUser:
    """One honest user on one device, in one room, who reconnects after each lost connection."""

    def __init__(self, nursery: trio.Nursery, url: str, encoding: Encoding) -> None:
        self.user_id = new_uuid()
        self.token = token_of(self.user_id, ttl_seconds=7200)
        self.client = Client(nursery, url, self.token, encoding=encoding, on_event=self._record, kept=0)
        self.received: set[tuple[str, Any]] = set()  # the kind, and an id within it
        self.late = 0
        self.over = False

    async def run(self, channel: str) -> None:
        """Open a session, join the room, and resume after each lost connection, until cancelled."""
        while True:
            try:
                if not self.client.connected:
                    with trio.move_on_after(5):
                        await (self.client.resume() if self.client.ready else self.client.open())
                if self.client.connected and not self.client.positions.resume_points():
                    await self.client.join(channel)
                if self.client.positions.resume_points():
                    await self.client.wait_closed()
            except NOT_CONNECTED:
                pass
            except AnswerTimeout:
                await self.client.lose_network()
            await trio.sleep(PAUSE_SECONDS)  # as people do between two lines of chat

    @property
    def inside(self) -> bool:
        return self.client.connected and bool(self.client.positions.resume_points())

    def _record(self, event: Event) -> None:
        kind = event["type"]
        if "seq" in event and kind in ("block:charged", "chat:new"):
            self.received.add((kind, event.get("blockNo") or event.get("text")))
            self.late += time.time() - datetime.fromisoformat(event["at"]).timestamp() > LATE_SECONDS
        self.over = self.over or kind in LASTING


class HonestCall:
    """A call that lasts as long as the run; the fan pays a block a second."""

    def __init__(self, nursery: trio.Nursery, rest: RestClient, url: str) -> None:
        self.fan, self.creator = (HonestUser(nursery, url, encoding) for encoding in Encoding)
        self._rest = rest
        self._nursery = nursery
        self.call_id = ""

    async def begin(self, operator: str) -> None:
        await become_creator(self._rest, self.creator.token)
        await self._rest.ask("GET", "/me", self.fan.token)
        await give_tokens(self._rest, operator, self.fan.user_id)
        await self.creator.client.open()
        asked = {"creatorId": str(self.creator.user_id)}
        rung = await self._rest.ask("POST", "/calls/init", self.fan.token, asked)
        self.call_id = rung["callId"]
        await self._rest.ask("POST", f"/calls/{self.call_id}/accept", self.creator.token)
        for person in (self.fan, self.creator):
            self._nursery.start_soon(person.run, rung["channel"])
        await wait_inside(self.fan, self.creator)

    async def figures(self) -> Figures:
        """Return the figures; each block in the ledger is due to both parties."""
        billed = await self._rest.ask("GET", f"/billing/{self.call_id}", self.fan.token)
        return _figures({("block:charged", block["blockNo"]) for block in billed["blocks"]}, self.fan, self.creator)


class HonestStream:
    """A public stream whose owner sends chat messages all the time, and its two viewers."""

    def __init__(self, nursery: trio.Nursery, rest: RestClient, url: str) -> None:
        encodings = (Encoding.JSON, Encoding.MSGPACK, Encoding.JSON)
        self.owner, *self.viewers = [HonestUser(nursery, url, encoding) for encoding in encodings]
        self._rest = rest
        self._nursery = nursery
        self._sent: set[tuple[str, Any]] = set()

    async def begin(self) -> None:
        await become_creator(self._rest, self.owner.token)
        for viewer in self.viewers:
            await self._rest.ask("GET", "/me", viewer.token)
        wanted = {"title": "What a day", "type": "public"}
        stream = (await self._rest.ask("POST", "/streams", self.owner.token, wanted))["stream"]
        await self._rest.ask("POST", f"/streams/{stream['id']}/start", self.owner.token)
        for person in (self.owner, *self.viewers):
            self._nursery.start_soon(person.run, stream["channel"])
        await wait_inside(self.owner, *self.viewers)
        self._nursery.start_soon(self._chat, stream["channel"])

    async def _chat(self, channel: str) -> None:
        lines = 0
        while True:
            await trio.sleep(CHAT_SECONDS)
            lines += 1
            text = f"line {lines}"
            try:
                answer = await self.owner.client.ask("chat:send", channel=channel, text=text)
            except (Disconnected, AnswerTimeout):
                continue
            if answer["type"] == "ok":
                self._sent.add(("chat:new", text))

    def figures(self) -> Figures:
        """Return the figures; each accepted chat message is due to all three members."""
        return _figures(set(self._sent), self.owner, *self.viewers)


def _figures(due: set[tuple[str, Any]], *users: HonestUser) -> Figures:
    received = sum(len(person.received & due) for person in users)
    faults = [fault for person in users for fault in person.client.positions.faults]
    return Figures(len(due) * len(users), received, sum(person.late for person in users), faults)


async def wait_inside(*users: HonestUser) -> None:
    with trio.fail_after(20):
        while not all(person.inside for person in users):  # noqa: ASYNC110  # reason: connections come and go
            await trio.sleep(PAUSE_SECONDS)  # as people do between two lines of chat


async def become_creator(rest: RestClient, token: str) -> None:
    terms = {"displayName": "Cleo", "rateTokensPerMin": 60, "acceptsCalls": True}
    await rest.ask("PUT", "/creators/me", token, terms)


async def give_tokens(rest: RestClient, operator: str, user_id: UUID) -> None:
    credit = {"userId": str(user_id), "tokens": TOKENS, "reason": "welcome"}
    await rest.ask("POST", "/admin/credits", operator, credit)


async def ask_if_possible(rest: RestClient, method: str, path: str, token: str, body: Any = None) -> Any:
    """Return the answer, or None if the request was refused or had no answer."""
    try:
        return await rest.ask(method, path, token, body)
    except (RequestRefused, LoadRefused):
        return None
