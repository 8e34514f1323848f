"""One websocket connection: its handshake, its reader and its session; the only place that knows trio-websocket."""

import contextlib
import socket
from typing import Any, NamedTuple, assert_never
from urllib.parse import parse_qsl

import trio
from msgspec import UNSET
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream

from domain import inputs
from domain import messages as m
from domain.ids import SessionId
from domain.instant import rfc3339
from domain.refusals import Code, Refusal
from server.auth import Identity, TokenRefused, bearer
from server.call_commands import FULL
from server.config import WebsocketSettings
from server.house import House
from server.outbox import Outbox
from server.replies import SocketReply
from server.session import Session
from server.wire import PING_FRAME, Encoding, Misfit, Undecodable
from storage.postgres import StorageUnavailable
from storage.wallets import find_wallet

PATH = "/ws"
QUEUED_MESSAGES = 64  # read but not handled yet; more than a client sends while the database answers one of its own

NORMAL = 1000
DRAINING, PING_TIMEOUT, STORAGE_AWAY = 4000, 4002, 4003
FOR_GOOD = 4400  # from here on a close code says not to come back
UNDECODABLE, UNAUTHENTICATED, OPEN_TIMEOUT, REPLACED, TOO_MANY = 4400, 4401, 4408, 4409, 4429
EXPIRY_WARNING_SECONDS = 60


class _Goodbye(Exception):
    """The conversation is over, for a reason that the client is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """A client's connection, from its handshake to its end; once it is open, a session speaks through it."""

    __slots__ = (
        "_house",
        "_next_ping",
        "_outbox",
        "_session",
        "_token_expires_at",
        "_warned_of_expiry",
        "encoding",
        "push",
    )

    def __init__(self, house: House, outbox: Outbox, encoding: Encoding) -> None:
        self._house = house
        self._outbox = outbox
        self._session: Session
        self._next_ping = 0.0
        self._token_expires_at = 0  # unix seconds
        self._warned_of_expiry = False
        self.encoding = encoding
        self.push = outbox.push

    async def converse(self, socket: WebSocketConnection, authorization: str | None) -> None:
        """Until either side has had enough."""
        try:
            self._session = await self._open(socket, authorization)
        except ConnectionClosed:
            return
        except TokenRefused as refused:
            await self._say_goodbye(UNAUTHENTICATED, refused.description)
            return
        except _Goodbye as goodbye:
            await self._say_goodbye(goodbye.code, goodbye.reason)
            return
        try:
            await self._tell_missed_news()
            while True:
                await self._handle(self._decode(await socket.get_message()))
        except ConnectionClosed as closed:
            self._hang_up(closed.reason.code if closed.reason is not None else None)
        except _Goodbye as goodbye:
            self._hang_up(goodbye.code)
            await self._say_goodbye(goodbye.code, goodbye.reason)
        finally:
            self._session.detach(self, trio.current_time())

    def _hang_up(self, code: int | None) -> None:
        """Who said goodbye, or may not come back, need not be waited for."""
        if code == NORMAL or (code is not None and code >= FOR_GOOD and code != REPLACED):
            self._house.sessions.end(self._session)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        self._outbox.close(code, reason)
        await self._outbox.closed.wait()

    # The session

    async def _open(self, socket: WebSocketConnection, authorization: str | None) -> Session:
        if authorization is None:
            opened = await self._first_message(socket)
            return await self._welcome(self._identify(opened.token), opened)
        return await self._welcome(self._identify(bearer(authorization)), None)

    async def _first_message(self, socket: WebSocketConnection) -> m.SessionOpen:
        with trio.move_on_after(self._house.settings.websocket.open_seconds):
            command = self._decode(await socket.get_message())
            if not isinstance(command, m.SessionOpen):
                raise _Goodbye(UNAUTHENTICATED, "the first message is session:open")
            return command
        raise _Goodbye(OPEN_TIMEOUT, "no session:open in time")

    def _identify(self, token: str) -> Identity:
        return self._house.verifier.verify(token, now=self._house.clock.now() / 1_000_000)

    async def _welcome(self, identity: Identity, opened: m.SessionOpen | None) -> Session:
        if self._house.draining:
            raise _Goodbye(DRAINING, "shutting down")
        try:
            await self._house.people.know(identity.user_id)
        except StorageUnavailable:
            raise _Goodbye(STORAGE_AWAY, "the database is away") from None
        self._token_expires_at = identity.expires_at
        resume = None if opened is None else opened.resume
        known = None if resume is None else self._house.sessions.find(SessionId(resume.session_id), identity.user_id)
        session = known or self._house.sessions.open(identity.user_id)
        if session is None:
            raise _Goodbye(TOO_MANY, "too many sessions of this user")
        # From here on nothing waits: no event of a room comes between what was missed and what follows.
        replaced = session.attach(self)
        if replaced is not None:
            replaced.close(REPLACED, "the session goes on in another connection")
        points = [] if resume is None else resume.channels
        backlogs = [] if known is None else session.backlogs(points)
        self._send(
            m.SessionReady(
                ref=UNSET if opened is None or opened.ref is None else opened.ref,
                session_id=session.id,
                user_id=session.user_id,
                heartbeat_seconds=self._house.settings.websocket.heartbeat_seconds,
                token_expires_at=rfc3339(identity.expires_at * 1_000_000),
                resumed=known is not None,
                missed=[{"channel": backlog.channel, "count": len(backlog.events)} for backlog in backlogs],
                lost=sorted({point.channel for point in points} - {backlog.channel for backlog in backlogs}),
            )
        )
        session.resume(backlogs)
        self._schedule_ping(trio.current_time(), session)
        self._ring_again(session)
        return session

    async def _tell_missed_news(self) -> None:
        """The balance as it is now, to who was away when it changed."""
        session = self._session
        if session.missed_news:
            with contextlib.suppress(StorageUnavailable):  # the next resume, or the next change, will tell
                wallet = await find_wallet(self._house.postgres, session.user_id)
                if wallet is not None:
                    session.missed_news = False
                    self._send(m.WalletChanged(balance=wallet.balance, cause="resumed", tokens=0, ref={}))

    def _ring_again(self, session: Session) -> None:
        """Who comes back while it rings, hears it ring."""
        room = self._house.registry.call_of(session.user_id)
        if room is not None and room.call is not None and room.call.ringing:
            for invitation in room.call.news.ringing():
                if invitation.user_id == session.user_id:
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
                await self._house.call_commands.give(self._session.user_id, command, reply)
            case m.TokenRefresh():
                self._refresh(command.token, reply)
            case m.SessionOpen():
                reply.deliver(Refusal(Code.VALIDATION_FAILED, "The session is open already"))
            case _:
                assert_never(command)

    async def _join(self, channel: str, reply: SocketReply) -> None:
        room, session = self._house.registry.find_channel(channel), self._session
        rooms = session.live_rooms()
        if room is None:
            reply.deliver(await self._house.call_commands.no_room(session.user_id, channel))
        elif channel not in rooms and len(rooms) >= self._house.settings.websocket.rooms_per_session:
            reply.deliver(Refusal(Code.OVERLOADED, "Too many rooms in one session"))
        elif not room.inbox.put(inputs.Joined(session.member_id, session.user_id, reply)):
            reply.deliver(FULL)
        else:
            session.enter(room)
            self._schedule_ping(trio.current_time(), session)

    def _leave(self, channel: str, reply: SocketReply) -> None:
        self._session.leave(channel)
        reply.deliver({"channel": channel})

    def _refresh(self, token: str, reply: SocketReply) -> None:
        """A token that will not do changes nothing: the one before holds until it expires."""
        try:
            identity = self._identify(token)
        except TokenRefused as refused:
            reply.deliver(Refusal(Code.UNAUTHENTICATED, refused.description))
            return
        if identity.user_id != self._session.user_id:
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
        if self._session.line is self:
            self._session.note_silence(silent >= settings.presence_seconds)
        if now >= self._next_ping:
            self.push(PING_FRAME)
            self._schedule_ping(now, self._session)

    def _check_token(self, seconds_left: float) -> None:
        if seconds_left <= 0:
            self._hang_up(UNAUTHENTICATED)
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

    def _schedule_ping(self, now: float, session: Session) -> None:
        """Who pays or is paid is asked more often: their silence stops a clock."""
        settings = self._house.settings.websocket
        often = bool(session.live_rooms())
        self._next_ping = now + (settings.party_heartbeat_seconds if often else settings.heartbeat_seconds)


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
