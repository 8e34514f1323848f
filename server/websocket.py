"""One websocket connection: its handshake, its reader and its session; the only place that knows trio-websocket."""

import socket
from typing import Any, NamedTuple, assert_never
from urllib.parse import parse_qsl

import trio
from msgspec import UNSET
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from domain import inputs
from domain import messages as m
from domain.ids import MemberId, SessionId, UserId
from domain.instant import rfc3339
from domain.refusals import Code, Refusal
from server.auth import Identity, TokenRefused, bearer
from server.call_commands import FULL
from server.config import WebsocketSettings
from server.house import House
from server.ids import new_uuid
from server.live_room import LiveRoom
from server.outbox import Outbox
from server.replies import SocketReply
from server.wire import PING_FRAME, Encoding, Misfit, Undecodable
from storage.postgres import StorageUnavailable

PATH = "/ws"
QUEUED_MESSAGES = 64  # read but not handled yet; more than a client sends while the database answers one of its own

DRAINING, PING_TIMEOUT, STORAGE_AWAY = 4000, 4002, 4003
UNDECODABLE, UNAUTHENTICATED, OPEN_TIMEOUT, TOO_MANY = 4400, 4401, 4408, 4429
EXPIRY_WARNING_SECONDS = 60


class _Goodbye(Exception):
    """The conversation is over, for a reason that the client is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """A client's connection, from its handshake to its end; once it is open, also a user's session."""

    __slots__ = (
        "_house",
        "_next_ping",
        "_outbox",
        "_rooms",
        "_token_expires_at",
        "_warned_of_expiry",
        "encoding",
        "id",
        "push",
        "session_id",
        "unheard",
        "user_id",
    )

    def __init__(self, house: House, outbox: Outbox, encoding: Encoding) -> None:
        self._house = house
        self._outbox = outbox
        self._rooms: dict[str, LiveRoom] = {}
        self._next_ping = 0.0
        self._token_expires_at = 0  # unix seconds
        self._warned_of_expiry = False
        self.id = MemberId(new_uuid())
        self.session_id = SessionId(new_uuid())
        self.user_id: UserId
        self.unheard = False  # for longer than presence_seconds
        self.encoding = encoding
        self.push = outbox.push

    async def converse(self, socket: WebSocketConnection, authorization: str | None) -> None:
        """Until either side has had enough."""
        try:
            await self._open(socket, authorization)
            while True:
                await self._handle(self._decode(await socket.get_message()))
        except ConnectionClosed:
            pass
        except TokenRefused as refused:
            await self._say_goodbye(UNAUTHENTICATED, refused.description)
        except _Goodbye as goodbye:
            await self._say_goodbye(goodbye.code, goodbye.reason)
        finally:
            self._house.sessions.remove(self)
            for room in self._rooms.values():
                room.inbox.put(inputs.Left(self.id))

    async def _say_goodbye(self, code: int, reason: str) -> None:
        self._outbox.close(code, reason)
        await self._outbox.closed.wait()

    # The session

    async def _open(self, socket: WebSocketConnection, authorization: str | None) -> None:
        if authorization is None:
            opened = await self._first_message(socket)
            await self._welcome(self._identify(opened.token), opened.ref)
        else:
            await self._welcome(self._identify(bearer(authorization)), None)

    async def _first_message(self, socket: WebSocketConnection) -> m.SessionOpen:
        with trio.move_on_after(self._house.settings.websocket.open_seconds):
            command = self._decode(await socket.get_message())
            if not isinstance(command, m.SessionOpen):
                raise _Goodbye(UNAUTHENTICATED, "the first message is session:open")
            return command
        raise _Goodbye(OPEN_TIMEOUT, "no session:open in time")

    def _identify(self, token: str) -> Identity:
        return self._house.verifier.verify(token, now=self._house.clock.now() / 1_000_000)

    async def _welcome(self, identity: Identity, ref: str | None) -> None:
        self.user_id = identity.user_id
        self._token_expires_at = identity.expires_at
        if self._house.draining:
            raise _Goodbye(DRAINING, "shutting down")
        if self._house.sessions.count(self.user_id) >= self._house.settings.websocket.sessions_per_user:
            raise _Goodbye(TOO_MANY, "too many sessions of this user")
        try:
            await self._house.people.know(self.user_id)
        except StorageUnavailable:
            raise _Goodbye(STORAGE_AWAY, "the database is away") from None
        self._house.sessions.add(self)
        self._schedule_ping(trio.current_time())
        self._send(
            m.SessionReady(
                ref=UNSET if ref is None else ref,
                session_id=self.session_id,
                user_id=self.user_id,
                heartbeat_seconds=self._house.settings.websocket.heartbeat_seconds,
                token_expires_at=rfc3339(identity.expires_at * 1_000_000),
                resumed=False,
                missed=[],
                lost=[],
            )
        )
        self._ring_again()

    def _ring_again(self) -> None:
        """Who comes back while it rings, hears it ring."""
        room = self._house.registry.call_of(self.user_id)
        if room is not None and room.call is not None and room.call.ringing:
            for invitation in room.call.news.ringing():
                if invitation.user_id == self.user_id:
                    self._send(invitation.event)

    # Commands

    def _decode(self, message: str | bytes) -> m.AnyCommand | Misfit:
        try:
            return self.encoding.decode(message)
        except Misfit as misfit:
            return misfit
        except Undecodable:
            raise _Goodbye(UNDECODABLE, "undecodable message") from None

    async def _handle(self, command: m.AnyCommand | Misfit) -> None:
        reply = SocketReply(self, command.ref)
        try:
            await self._carry_out(command, reply)
        except StorageUnavailable:
            reply.deliver(Refusal(Code.STORAGE_UNAVAILABLE, "The database is out of reach; try again"))

    async def _carry_out(self, command: m.AnyCommand | Misfit, reply: SocketReply) -> None:
        match command:
            case Misfit():
                reply.deliver(Refusal(Code.VALIDATION_FAILED, str(command)))
            case m.Ping():
                self._send(m.Pong(ref=command.ref))
            case m.RoomJoin():
                await self._join(command.channel, reply)
            case m.RoomLeave():
                self._leave(command.channel, reply)
            case m.CallCommand():
                await self._house.call_commands.give(self.user_id, command, reply)
            case m.TokenRefresh():
                self._refresh(command.token, reply)
            case m.SessionOpen():
                reply.deliver(Refusal(Code.VALIDATION_FAILED, "The session is open already"))
            case _:
                assert_never(command)

    async def _join(self, channel: str, reply: SocketReply) -> None:
        room = self._house.registry.find_channel(channel)
        if room is None:
            reply.deliver(await self._house.call_commands.no_room(self.user_id, channel))
        elif channel not in self._rooms and len(self._live_rooms()) >= self._house.settings.websocket.rooms_per_session:
            reply.deliver(Refusal(Code.OVERLOADED, "Too many rooms in one session"))
        elif not room.inbox.put(inputs.Joined(self.id, self.user_id, reply)):
            reply.deliver(FULL)
        else:
            self._rooms[channel] = room
            self._schedule_ping(trio.current_time())

    def _leave(self, channel: str, reply: SocketReply) -> None:
        room = self._rooms.pop(channel, None)
        if room is not None:
            room.inbox.put(inputs.Left(self.id))
        reply.deliver({"channel": channel})

    def _refresh(self, token: str, reply: SocketReply) -> None:
        """A token that will not do changes nothing: the one before holds until it expires."""
        try:
            identity = self._identify(token)
        except TokenRefused as refused:
            reply.deliver(Refusal(Code.UNAUTHENTICATED, refused.description))
            return
        if identity.user_id != self.user_id:
            reply.deliver(Refusal(Code.FORBIDDEN, "The token is another user's"))
            return
        self._token_expires_at, self._warned_of_expiry = identity.expires_at, False
        reply.deliver({"tokenExpiresAt": rfc3339(identity.expires_at * 1_000_000)})

    def _send(self, event: Any) -> None:
        self.push(self.encoding.frame(event))

    # The pulse

    def check(self, now: float) -> None:
        """Ping when it is time, tell rooms who fell silent or is heard again, and end what has no future."""
        settings = self._house.settings.websocket
        silent = now - self._outbox.heard_at
        if silent >= settings.ping_timeout_seconds:
            self._outbox.close(PING_TIMEOUT, "not heard of")
        self._check_token(self._token_expires_at - self._house.clock.now() / 1_000_000)
        if (silent >= settings.presence_seconds) is not self.unheard:
            self.unheard = not self.unheard
            self._tell_rooms()
        if now >= self._next_ping:
            self.push(PING_FRAME)
            self._schedule_ping(now)

    def _check_token(self, seconds_left: float) -> None:
        if seconds_left <= 0:
            self._outbox.close(UNAUTHENTICATED, "token expired")
        elif seconds_left <= EXPIRY_WARNING_SECONDS and not self._warned_of_expiry:
            self._warned_of_expiry = True
            self._send(m.TokenExpiring(expires_at=rfc3339(self._token_expires_at * 1_000_000)))

    @property
    def heard_at(self) -> float:
        """When the peer's last byte came in, by trio's clock."""
        return self._outbox.heard_at

    def close(self, code: int, reason: str) -> None:
        self._outbox.close(code, reason)

    async def wait_closed(self) -> None:
        await self._outbox.closed.wait()

    def _tell_rooms(self) -> None:
        for room in self._live_rooms().values():
            room.inbox.put(inputs.Unheard(self.id) if self.unheard else inputs.Heard(self.id))

    def _live_rooms(self) -> dict[str, LiveRoom]:
        """The rooms that this connection has joined, less those that have ended since."""
        self._rooms = {channel: room for channel, room in self._rooms.items() if not room.settled.is_set()}
        return self._rooms

    def _schedule_ping(self, now: float) -> None:
        """Who pays or is paid is asked more often: their silence stops a clock."""
        settings = self._house.settings.websocket
        self._next_ping = now + (settings.party_heartbeat_seconds if self._live_rooms() else settings.heartbeat_seconds)


class _Offer(NamedTuple):
    """What a client asked for in its handshake; `subprotocol` is None where it asked for none and gets JSON."""

    encoding: Encoding
    subprotocol: str | None
    authorization: str | None


async def serve_connection(house: House, sock: socket.socket) -> None:
    """One accepted socket, until it is closed. Only a bug of ours raises."""
    settings = house.settings.websocket
    async with trio.open_nursery() as nursery:
        outbox = Outbox(sock, nursery, limit=settings.outbox_bytes, close_seconds=settings.close_seconds)
        try:
            accepted = await _shake_hands(settings, outbox, nursery)
            if accepted is not None:
                websocket, offer = accepted
                await Connection(house, outbox, offer.encoding).converse(websocket, offer.authorization)
        finally:
            with trio.CancelScope(shield=True):  # bounded by close_seconds, in aclose itself
                await outbox.aclose()
            nursery.cancel_scope.cancel()


async def _shake_hands(
    settings: WebsocketSettings, outbox: Outbox, nursery: trio.Nursery
) -> tuple[WebSocketConnection, _Offer] | None:
    """The open websocket; None if the client did not get there in time, or wants what we don't have."""
    with trio.move_on_after(settings.handshake_seconds):
        async with trio.open_nursery() as watch:
            watch.start_soon(_cancel_when_closed, outbox, watch.cancel_scope)  # or it hangs when the peer vanishes
            request = await wrap_server_stream(
                nursery, outbox, message_queue_size=QUEUED_MESSAGES, max_message_size=settings.max_frame_bytes
            )
            offer = _offer_of(request)
            if isinstance(offer, str):
                await request.reject(400, body=offer.encode())
                return None
            websocket: WebSocketConnection = await request.accept(subprotocol=offer.subprotocol)
            watch.cancel_scope.cancel()
            return websocket, offer
    return None


async def _cancel_when_closed(outbox: Outbox, scope: trio.CancelScope) -> None:
    await outbox.closed.wait()
    scope.cancel()


def _offer_of(request: WebSocketRequest) -> _Offer | str:
    """What is offered, or in one sentence why it will not do."""
    path, _, query = request.path.partition("?")
    if path != PATH:
        return f"The websocket is at {PATH}"
    if any("token" in name.lower() or name.lower() == "authorization" for name, _ in parse_qsl(query)):
        return "A token in the address ends up in logs; send it in session:open or in Authorization"
    authorization = dict(request.headers).get(b"authorization")
    token = None if authorization is None else authorization.decode("latin-1")
    if not request.proposed_subprotocols:
        return _Offer(Encoding.JSON, None, token)
    for name in request.proposed_subprotocols:
        if name in _ENCODINGS:
            return _Offer(_ENCODINGS[name], name, token)
    return f"Subprotocol needed: {' or '.join(_ENCODINGS)}"


_ENCODINGS = {encoding.value: encoding for encoding in Encoding}
