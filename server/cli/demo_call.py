"""`halfminute demo-call`: a fan calls a creator on a running server, and the terminal shows the charged blocks.

It is a client like any other: it holds both websockets, and uses the routes and messages that the served documents
describe.
"""

import contextlib
import http.client as http_client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, open_websocket_url

from server.demo.users import CREATOR, FANS, demo_token

FRAMES_PER_SECOND = 8  # of the screen: a progress bar that moves smoothly
ANSWER_SECONDS = 10  # for a REST request, as long as the server's own limit
END_SECONDS = 1  # for the last command after Ctrl-C


class DemoFailed(Exception):
    """The demo call failed; the message is one line with the reason."""


class CallScreen:
    """The state of the demo call, rendered by rich as a table with a progress bar; it shows the last twelve blocks.

    `balance` is that of the fan, and `earned` what the creator has earned in this call; None until an event has it.
    """

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        self._blocks: list[tuple[int, int, str]] = []
        self._paid_through: float | None = None
        self.balance: int | None = None
        self.earned: int | None = None
        self.state = "ringing"

    def take(self, event: dict[str, Any]) -> None:
        """Update the state from an event of the fan or the creator.

        In a `wallet:changed` about a block, only the creator's has `earned`. Events of other types change nothing.
        """
        match event["type"]:
            case "block:charged":
                self._blocks.append((event["blockNo"], event["tokens"], event["at"]))
                self._paid_through = _unix_time(event["paidThrough"])
                self.state = "talking"
            case "wallet:changed" if "earned" in event:
                self.earned = event["earned"]
            case "wallet:changed":
                self.balance = event["balance"]
            case "balance:low":
                self.state = f"running low: ends at {event['endsAt']}"
            case "call:ended":
                self.state, self._paid_through = f"ended: {event['reason']}", None

    def __rich__(self) -> Group:
        table = Table("block", "tokens", "charged at", title=f"Cleo and Finn: {self.state}")
        for block_no, tokens, at in self._blocks[-12:]:
            table.add_row(str(block_no), str(tokens), at)
        remaining = 0.0 if self._paid_through is None else max(0.0, self._paid_through - time.time())
        bar = ProgressBar(total=self._block_seconds, completed=self._block_seconds - remaining, width=44)
        below = Table.grid()  # a bar alone does not end its line
        below.add_row(bar)
        below.add_row(f"Finn has {self.balance} tokens, Cleo has earned {self.earned} in this call")
        return Group(table, below)


async def watch_call(http: str, secret: str, blocks: int | None) -> None:
    """Run a call and show it until `blocks` are charged, the fan's tokens are spent, or Ctrl-C.

    `http` is HOST:PORT of a server with `--demo`, `secret` its token secret. `blocks` of None sets no limit.
    Ends the call on every way out, also after a cancellation. Raises DemoFailed.
    """
    tokens = {person.user_id: demo_token(person, secret, time.time()) for person in (CREATOR, FANS[0])}
    config = await _request(http, "GET", "/api/config", None, None)
    async with (
        _session(config["websocketUrl"], tokens[CREATOR.user_id]) as creator,
        _session(config["websocketUrl"], tokens[FANS[0].user_id]) as fan,
    ):
        body = {"creatorId": str(CREATOR.user_id)}
        call = await _request(http, "POST", "/api/calls/init", tokens[FANS[0].user_id], body)
        await _send(creator, type="call:accept", callId=call["callId"])
        for party in (creator, fan):
            await _send(party, type="room:join", channel=call["channel"])
        screen = CallScreen(config["blockSeconds"])
        console = Console()
        with Live(screen, console=console, refresh_per_second=FRAMES_PER_SECOND):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_follow_earnings, creator, screen)
                try:
                    await _follow_call(fan, screen, call["callId"], blocks or math.inf)
                finally:
                    await _end_call(fan, call["callId"])
        if not console.is_terminal:
            console.print()  # the last frame has no line break at its end


async def _follow_call(fan: WebSocketConnection, screen: CallScreen, call_id: str, blocks: float) -> None:
    """Show the fan's events until the call has ended, and end it after this number of blocks."""
    while not screen.state.startswith("ended"):
        event = await _next_event(fan)
        screen.take(event)
        if event["type"] == "block:charged" and event["blockNo"] == blocks:
            await _send(fan, type="call:end", callId=call_id)


async def _end_call(fan: WebSocketConnection, call_id: str) -> None:
    """End the call, also on Ctrl-C, so that its parties are free for the next; an ended call is not affected."""
    with trio.move_on_after(END_SECONDS, shield=True):
        await _send(fan, type="call:end", callId=call_id)


async def _follow_earnings(creator: WebSocketConnection, screen: CallScreen) -> None:
    """Show the creator's wallet events until the call has ended; the fan's connection shows everything else."""
    while (event := await _next_event(creator))["type"] != "call:ended":
        if event["type"] == "wallet:changed":
            screen.take(event)


@asynccontextmanager
async def _session(url: str, token: str) -> AsyncIterator[WebSocketConnection]:
    """Open a websocket and a session for the block. Raises DemoFailed if there is no server or it refuses."""
    try:
        async with open_websocket_url(url, subprotocols=["halfminute.v1.json"]) as websocket:
            await _send(websocket, type="session:open", token=token)
            await _next_event(websocket)
            yield websocket
    except (OSError, HandshakeError) as error:
        raise DemoFailed(f"no session at {url}: {_reason_of(error)}") from None


async def _send(websocket: WebSocketConnection, **message: Any) -> None:
    with contextlib.suppress(ConnectionClosed):  # the reader reports the closed connection
        await websocket.send_message(json.dumps(message))


async def _next_event(websocket: WebSocketConnection) -> dict[str, Any]:
    """The next event. Raises DemoFailed for an `error` and at the end of the connection."""
    try:
        event: dict[str, Any] = json.loads(await websocket.get_message())
    except ConnectionClosed as closed:
        reason = closed.reason.reason if closed.reason is not None else None
        raise DemoFailed(f"the session has ended: {reason or 'the connection broke'}") from None
    if event["type"] == "error":
        raise DemoFailed(event["message"])
    return event


async def _request(http: str, method: str, path: str, token: str | None, body: Any) -> dict[str, Any]:
    return await trio.to_thread.run_sync(_request_in_thread, http, method, path, token, body)


def _request_in_thread(http: str, method: str, path: str, token: str | None, body: Any) -> dict[str, Any]:
    """Send a REST request and return the JSON of its answer. Raises DemoFailed."""
    request = urllib.request.Request(f"http://{http}{path}", method=method)  # reason: the scheme is ours
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # reason: as above
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as refused:
        raise DemoFailed(_message_of(refused) or f"http://{http}{path} answered {refused.code}") from None
    except (OSError, ValueError, http_client.HTTPException) as error:
        raise DemoFailed(f"no halfminute server answers at http://{http}: {_reason_of(error)}") from None


def _message_of(refused: urllib.error.HTTPError) -> str | None:
    with contextlib.suppress(ValueError, AttributeError), refused:  # the answer may come from any server
        message: str | None = json.load(refused).get("message")
        return message
    return None


def _reason_of(error: Exception) -> str:
    """Describe an error in a few words: the system's text if it has one, otherwise its own or its type."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__


def _unix_time(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
