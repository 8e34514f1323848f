"""Honest clients in calls and metered streams, which record when they receive each block."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from websockets.asyncio.client import ClientConnection

from tests.support.client_pool import Caller, ClientPool, Pair, Party
from tests.support.processes import ServerProcess, eventually


class HonestClient(Caller):
    """A caller that records when it received each event (unix seconds), and can send commands."""

    def __init__(self, party: Party, websocket_port: int) -> None:
        super().__init__(party, websocket_port)
        self.moments: list[float] = []
        self._open: ClientConnection | None = None

    async def _react(self, socket: ClientConnection, event: dict[str, Any]) -> None:
        self.moments.append(time.time())
        self._open = socket
        await super()._react(socket, event)

    async def send(self, message: bytes | str) -> None:
        """Send over the open connection; without one the message is dropped."""
        if self._open is not None:
            await self._open.send(message)

    def blocks(self) -> list[tuple[int, float]]:
        """Return the number and the arrival time (unix seconds) of each `block:charged`."""
        received = list(zip(list(self.events), list(self.moments), strict=False))
        return [(event["blockNo"], moment) for event, moment in received if event["type"] == "block:charged"]


TICKET_TOKENS = 7


class Audience(NamedTuple):
    """A metered stream with tickets: its owner, and its viewers, who each have a ticket and pay by the block."""

    stream_id: UUID
    owner: HonestClient
    viewers: list[HonestClient]


class HonestClients(ClientPool):
    """A client pool of calls and streams.

    Entering it connects all clients; `begin` starts the calls and the viewing.
    """

    def __init__(
        self,
        server: ServerProcess,
        calls: Sequence[tuple[Party, Party]],
        streams: Sequence[tuple[Party, Sequence[Party]]],
        rate_tokens_per_min: int,
    ) -> None:
        super().__init__(server, ())
        self._rate_tokens_per_min = rate_tokens_per_min
        port = server.websocket_port
        self.pairs = [Pair(HonestClient(fan, port), HonestClient(creator, port)) for fan, creator in calls]
        self.audiences = [self._go_live(owner, viewers) for owner, viewers in streams]
        watching = [caller for each in self.audiences for caller in (each.owner, *each.viewers)]
        self.callers = [*(caller for pair in self.pairs for caller in pair.both), *watching]

    def begin(self) -> None:
        """Start every call and let every viewer watch; return once each has received a first block."""
        self.ring()
        eventually(lambda: all(viewer.last_block() for viewer in self.viewers()), "every viewer's first block", 30.0)

    def viewers(self) -> list[HonestClient]:
        return [viewer for audience in self.audiences for viewer in audience.viewers]

    def hang_up(self, pair: Pair) -> None:
        """Let the fan end the call without waiting for the answer; neither party joins again."""
        for caller in pair.both:
            caller.channel = ""
        assert isinstance(pair.fan, HonestClient)
        end = json.dumps({"type": "call:end", "callId": pair.fan.call_id})
        asyncio.run_coroutine_threadsafe(pair.fan.send(end), self._loop)

    def wait_more(self, payers: Sequence[HonestClient], seconds: float) -> float:
        """Wait until each payer received a further block.

        Return the seconds that it took. Raises AssertionError after `seconds`.
        """
        began, before = time.monotonic(), [len(payer.blocks()) for payer in payers]
        eventually(
            lambda: all(len(payer.blocks()) > count for payer, count in zip(payers, before, strict=True)),
            "a further block of every honest payer",
            seconds,
        )
        return time.monotonic() - began

    def _go_live(self, owner: Party, viewers: Sequence[Party]) -> Audience:
        terms = {"title": "All night", "type": "private", "rateTokensPerMin": self._rate_tokens_per_min}
        terms["ticketPriceTokens"] = TICKET_TOKENS
        stream = self._server.post("/api/streams", owner.token, terms).json()["stream"]
        for viewer in viewers:
            assert self._server.post(f"/api/streams/{stream['id']}/tickets", viewer.token, None).status_code == 201
        assert self._server.post(f"/api/streams/{stream['id']}/start", owner.token, None).status_code == 200
        port = self._server.websocket_port
        present = [HonestClient(party, port) for party in (owner, *viewers)]
        for caller in present:
            caller.channel = stream["channel"]
        return Audience(UUID(stream["id"]), present[0], present[1:])
