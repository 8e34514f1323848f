"""Users who call every part of the server during fault injection; each command is answered or its connection ends."""

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.support.clients import token_of

PATIENCE_SECONDS = 10.0  # without an answer and without a close; no fault may cause that
TRIES = 20  # as long as the adoption of a room takes whose server is lost
PAUSE_SECONDS = 0.1
LATER = {"OVERLOADED", "ROOM_STARTING", "STORAGE_UNAVAILABLE", "INTERNAL"}


class Silence(AssertionError):
    """Raised if a command was neither answered nor its connection closed."""


class Victim:
    """A device that reconnects whenever its connection is lost. Its methods block; call them from a thread."""

    def __init__(self, http_port: int, websocket_port: int, user_id: UUID, role: str | None = None) -> None:
        self.user_id = user_id
        self._token = token_of(user_id, role=role)
        self._address = f"ws://127.0.0.1:{websocket_port}/ws"
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{http_port}/api",
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=2 * PATIENCE_SECONDS,  # a request may wait for a room as long as `http.answer_seconds`
            verify=False,
        )
        self._socket: ClientConnection | None = None
        self._refs = 0
        self._session_id = str(uuid4())
        self.received: list[dict[str, Any]] = []

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._http.close()

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the answer after as many tries as a patient client makes; empty if each connection was lost."""
        answer: dict[str, Any] = {}
        for _ in range(TRIES):
            try:
                answer = self._ask_once({"type": kind, **fields})
            except (ConnectionClosed, OSError, WebSocketException):
                self._socket = None
                continue
            if answer.get("error") not in LATER:
                break
            time.sleep(PAUSE_SECONDS)
        return answer

    def request(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> dict[str, Any]:
        """Return the fields of the answer, whatever its status."""
        fields: dict[str, Any] = {}
        headers = {} if key is None else {"Idempotency-Key": key}
        for _ in range(TRIES):
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx.TimeoutException:
                raise Silence(f"{method} {path}") from None
            except httpx.HTTPError:
                continue
            found = answer.json() if answer.content else {}
            fields = found if isinstance(found, dict) else {}
            if answer.status_code < 500:
                break
            time.sleep(PAUSE_SECONDS)
        return fields

    def lose_connection(self) -> None:
        """Reset the connection without a Close frame."""
        if self._socket is not None:
            self._socket.socket.close()
            self._socket = None

    def resume(self, channel: str) -> None:
        """Lose the connection, and resume the session in one room as far as its events were received."""
        self.lose_connection()
        try:
            self._open({"sessionId": self._session_id, "channels": self._positions(channel)})
        except (ConnectionClosed, OSError, WebSocketException):
            self._socket = None

    def _positions(self, channel: str) -> list[dict[str, Any]]:
        """Return the last event received of a room; empty if the room was not joined."""
        joined = [event for event in self.received if event["type"] == "room:joined" and event["channel"] == channel]
        heard = [event["seq"] for event in self.received if event.get("channel") == channel and "seq" in event]
        return [{"channel": channel, "epoch": joined[-1]["epoch"], "seq": heard[-1]}] if joined else []

    def _ask_once(self, message: dict[str, Any]) -> dict[str, Any]:
        socket = self._socket or self._open()
        self._refs += 1
        ref = str(self._refs)
        socket.send(json.dumps({**message, "ref": ref}))
        return self._wait(socket, lambda event: event.get("ref") == ref, message)

    def _open(self, resume: dict[str, Any] | None = None) -> ClientConnection:
        protocols = [Subprotocol("halfminute.v1.json")]
        self._socket = connect(self._address, subprotocols=protocols, proxy=None).__enter__()
        opening = {"type": "session:open", "token": self._token, **({} if resume is None else {"resume": resume})}
        self._socket.send(json.dumps(opening))
        ready = self._wait(self._socket, lambda event: event["type"] == "session:ready", opening)
        self._session_id = ready["sessionId"]
        return self._socket

    def _wait(
        self, socket: ClientConnection, wanted: Callable[[dict[str, Any]], bool], asked: dict[str, Any]
    ) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                event: dict[str, Any] = json.loads(socket.recv(left))
            except TimeoutError:
                break
            self.received.append(event)
            if wanted(event):
                return event
        raise Silence(str({**asked, "token": "…"}))


def go_through_a_call(fan: Victim, creator: Victim, screen: Victim, cron: Callable[[], None]) -> None:
    """Ring, join, pause, lose a connection, end. Ignore refused requests: a fault may have caused them."""
    creator.request("PUT", "/creators/me", {"displayName": "Vic", "rateTokensPerMin": 60, "acceptsCalls": True})
    creator.ask("ping")
    fan.ask("ping")
    rung = fan.request("POST", "/calls/init", {"creatorId": str(creator.user_id)})
    calls = fan.request("GET", "/calls/history?role=fan").get("items") or [{}]
    call_id = rung.get("callId") or calls[0].get("id") or str(uuid4())
    channel = rung.get("channel") or calls[0].get("channel") or "A" * 21
    fan.ask("room:join", channel=channel)
    creator.ask("call:accept", callId=call_id)
    for party in (creator, fan):
        joined = party.ask("room:join", channel=channel)
    screen.ask("room:join", channel=channel, sinceTipId=str(uuid4()), **{"as": "overlay"})
    cron()
    to = joined.get("memberId", str(uuid4()))
    _send_in_room(fan, channel, to)
    for command in ("call:pause", "call:resume"):
        fan.ask(command, callId=call_id)
    fan.resume(channel)
    fan.ask("ping")
    fan.lose_connection()
    fan.ask("room:join", channel=channel)
    fan.request("GET", f"/billing/{call_id}")
    fan.request("GET", f"/calls/{call_id}")
    creator.ask("room:leave", channel=channel)
    creator.request("PUT", f"/creators/me/blocks/{fan.user_id}")
    creator.request("DELETE", f"/creators/me/blocks/{fan.user_id}")
    fan.ask("call:end", callId=call_id)
    fan.request("POST", f"/billing/{call_id}/stop")
    fan.ask("room:join", channel=channel)


def go_through_a_stream(fan: Victim, creator: Victim, screen: Victim, operator: Victim) -> None:
    """Announce a stream, go live, sell a ticket, chat, mute, remove, end."""
    creator.request("PUT", "/creators/me", {"displayName": "Vic", "rateTokensPerMin": 60, "acceptsCalls": True})
    body = {"title": "For victims", "type": "private", "rateTokensPerMin": 60, "ticketPriceTokens": 5}
    stream = creator.request("POST", "/streams", body).get("stream", {})
    stream_id, channel = stream.get("id", str(uuid4())), stream.get("channel", "A" * 21)
    fan.ask("room:join", channel=channel)
    creator.request("POST", f"/streams/{stream_id}/start")
    creator.ask("room:join", channel=channel)
    overlay = creator.request("POST", "/overlay-tokens", {"label": "screen"})
    creator.request("GET", "/overlay-tokens")
    fan.request("GET", f"/streams/{stream_id}/access")
    bought = fan.request("POST", f"/streams/{stream_id}/tickets", key=str(uuid4()))
    joined = fan.ask("room:join", channel=channel)
    screen.ask("room:join", channel=channel, sinceTipId=str(uuid4()), **{"as": "overlay"})
    _send_in_room(fan, channel, joined.get("memberId", str(uuid4())))
    creator.ask("member:mute", channel=channel, userId=str(fan.user_id))
    fan.resume(channel)
    fan.request("GET", f"/billing/streams/{stream_id}")
    fan.request("GET", f"/billing/history?streamId={stream_id}")
    operator.request("GET", f"/admin/streams/{stream_id}")
    fan.lose_connection()
    fan.ask("room:join", channel=channel)
    creator.request("PUT", f"/creators/me/blocks/{fan.user_id}")
    creator.request("DELETE", f"/creators/me/blocks/{fan.user_id}")
    creator.ask("member:remove", channel=channel, userId=str(fan.user_id))
    fan.ask("room:leave", channel=channel)
    ticket_id = bought.get("ticket", {}).get("ticketId", str(uuid4()))
    operator.request("POST", "/admin/refunds", {"ticketId": ticket_id, "reason": "a test"}, key=str(uuid4()))
    operator.request("POST", "/admin/bans", {"userId": str(fan.user_id), "reason": "a test"})
    operator.request("DELETE", f"/admin/bans/{fan.user_id}")
    creator.request("POST", f"/streams/{stream_id}/end")
    cancelled = creator.request("POST", "/streams", body).get("stream", {})
    creator.request("POST", f"/streams/{cancelled.get('id', uuid4())}/end")
    creator.request("DELETE", f"/overlay-tokens/{overlay.get('id', uuid4())}")
    fan.ask("room:join", channel=channel)


def _send_in_room(fan: Victim, channel: str, to: str) -> None:
    tip = {"channel": channel, "amountTokens": 1, "key": str(uuid4())}
    for _ in range(2):  # the second request under the same key gets the first result
        fan.ask("tip:send", **tip)
    fan.ask("tip:send", **{**tip, "channel": "B" * 21})
    fan.ask("chat:send", channel=channel, text="hello")
    fan.ask("signal:send", channel=channel, to=to, data={"sdp": "…"})


def go_shopping(fan: Victim, operator: Victim, send_paid: Callable[[dict[str, Any]], None]) -> None:
    """Buy tokens; the provider reports the payment; an operator reads it."""
    packs = fan.request("GET", "/tokens/packs").get("items") or [{}]
    body = {"packId": packs[0].get("packId", "small")}
    purchase = fan.request("POST", "/tokens/purchases", body, key=str(uuid4()))
    if "purchaseId" in purchase:
        send_paid(purchase)
    purchase_id = purchase.get("purchaseId", str(uuid4()))
    fan.request("GET", f"/tokens/purchases/{purchase_id}")
    operator.request("GET", "/admin/purchases")
    operator.request("GET", "/admin/payments")
    operator.request("GET", "/admin/reversals")
    settled = {"action": "credit", "reason": "a test"}
    operator.request("POST", f"/admin/purchases/{purchase_id}/settle", settled, key=str(uuid4()))
    operator.request("POST", f"/admin/payments/{uuid4()}/settle", settled, key=str(uuid4()))


def make_rooms(fan: Victim, creator: Victim, streamer: Victim) -> None:
    """Create a call and a stream that last."""
    for owner in (creator, streamer):
        terms = {"displayName": "Vic", "rateTokensPerMin": 60, "acceptsCalls": True}
        owner.request("PUT", "/creators/me", terms)
        owner.ask("ping")
    rung = fan.request("POST", "/calls/init", {"creatorId": str(creator.user_id)})
    creator.ask("call:accept", callId=rung.get("callId", str(uuid4())))
    for party in (fan, creator):
        party.ask("room:join", channel=rung.get("channel", "A" * 21))
    stream = streamer.request("POST", "/streams", {"title": "For victims", "type": "public"}).get("stream", {})
    streamer.request("POST", f"/streams/{stream.get('id', uuid4())}/start")
    streamer.ask("room:join", channel=stream.get("channel", "A" * 21))


def look_around(fan: Victim, creator: Victim, operator: Victim) -> None:
    """Read one's own pages, and those of an operator."""
    tip = {"toCreatorId": str(creator.user_id), "amountTokens": 1}
    fan.request("POST", "/tips/send", tip)
    fan.request("PUT", "/wallet/limits", {"dailySpendLimit": 100_000})
    fan.request("PUT", "/me", {"displayName": "Vic"})
    for path in (
        *("/me", "/wallet", "/wallet/ledger", "/tokens/packs", "/tokens/purchases", "/payouts", "/creators"),
        *("/streams", "/calls/stats", "/billing/stats", "/billing/history", "/tips?role=sent", "/wallet/statement"),
        f"/creators/{creator.user_id}",
        f"/tips/leaderboard?creatorId={creator.user_id}",
    ):
        fan.request("GET", path)
    creator.request("POST", "/payouts", {"tokens": 1})
    fan.request("POST", "/reports", {"userId": str(creator.user_id), "reason": "a test"})
    about = f"/admin/users/{fan.user_id}"
    for path in (
        *("/admin/rooms", "/admin/overview", "/admin/reports", "/admin/bans", "/admin/debts", "/admin/actions"),
        *("/admin/reads", "/admin/users?name=v", about, f"{about}/reports", f"{about}/bans", "/admin/journal"),
        *(f"/admin/wallets/{fan.user_id}/{name}" for name in ("export", "statement")),
    ):
        operator.request("GET", path)
    operator.request("POST", "/admin/credits", {"userId": str(fan.user_id), "tokens": 50, "reason": "a test"})
