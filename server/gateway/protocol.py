"""The protocol of one open websocket connection: authentication, commands, heartbeat and token expiry."""

import contextlib
from math import inf
from typing import Any, assert_never

import trio
from msgspec import UNSET

from domain.ids import SessionId
from domain.instant import rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code, Refusal, unfit
from server.access.rate_limits import RateLimitsUnavailable
from server.access.tokens import TokenRefused, bearer
from server.access.user_budgets import may_open, refuse_command
from server.broadcast.codec import Encoding, Misfit
from server.broadcast.replies import JoinReply, SocketReply
from server.broadcast.send_queue import SendQueue
from server.broadcast.value_faults import Undecodable
from server.close_codes import CloseCode, CloseConnection, ends_session
from server.context import Context
from server.gateway.authentication import authenticate, recheck
from server.gateway.pings import Pings
from server.sessions.resend import resend
from server.sessions.session import Session
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.ledger.wallets import find_wallet

EXPIRY_WARNING_SECONDS = 60
REFRESH_AFTER_STALL_SECONDS = 10  # to refresh a token that expired in a stall, when no warning could be sent
MAX_BEHIND_SECONDS = 5  # of the token bucket's rate: a client so far beyond it ignores refusals, and is closed


class ClientProtocol:
    """Handles the messages of one connection, from the first to the last; its session sends through it.

    First one of `open_by_header` and `open_by_message` succeeds, then `handle_message` is awaited for one message after
    the other, and `end` is called once. The heartbeat calls `check` meanwhile. All times are seconds of trio's clock,
    unless they are named otherwise.
    """

    __slots__ = (
        "_context",
        "_limited",
        "_pings",
        "_session",
        "_token_expires_at",
        "_warned_of_expiry",
        "encoding",
        "next_check",
        "send_queue",
    )

    def __init__(self, context: Context, send_queue: SendQueue, encoding: Encoding, *, limited: bool = True) -> None:
        """`limited`: whether the user's rate limits apply; False for a client from an exempt network."""
        self._context = context
        self._limited = limited
        self._session: Session
        self._pings = Pings(send_queue, context.settings.websocket, context.clock.stalls)
        self._token_expires_at = 0  # unix seconds
        self._warned_of_expiry = False
        self.encoding = encoding
        self.send_queue = send_queue
        self.next_check = -inf  # before then a check has nothing to do

    # The session

    async def open_by_header(self, authorization: str) -> None:
        """Authenticate with the handshake's Authorization header, and open a session. Raises CloseConnection."""
        try:
            token = bearer(authorization)
        except TokenRefused as refused:
            raise CloseConnection(CloseCode.UNAUTHENTICATED, refused.description) from None
        self._session = await self._open_session(token, None)

    async def open_by_message(self, message: str | bytes) -> None:
        """Authenticate with the first message, `session:open`; open or resume a session. Raises CloseConnection."""
        command = self._decode(message)
        if not isinstance(command, c.SessionOpen):
            raise CloseConnection(CloseCode.UNAUTHENTICATED, "the first message is session:open")
        self._session = await self._open_session(command.token, command)

    async def handle_message(self, message: str | bytes) -> None:
        """Handle a message after the first: answer it, or pass it to its room.

        A refusal, an unreachable database and a refused statement are answered to the client. Raises CloseConnection
        for a message that cannot be decoded (UNDECODABLE), for a client that goes on though it is refused (TOO_MANY),
        and for a token refresh of a banned user (BANNED).
        """
        if not self._is_current:  # commands queued in a replaced connection are dropped
            return
        command = self._decode(message)
        reply = SocketReply(self, command.ref)
        if self._session.is_silent:  # rooms learn that the client is back before they get its command
            self._session.note_silence(self.is_silent(trio.current_time()))
        wait = self._session.token_bucket.take(trio.current_time())
        if wait > MAX_BEHIND_SECONDS:
            raise CloseConnection(CloseCode.TOO_MANY, "too many messages")
        try:
            if wait:
                retry = {"retryAfterSeconds": round(wait, 3)}
                reply.deliver(Refusal(Code.RATE_LIMITED, "Too many messages; slow down", retry))
            elif (refusal := await self._count(command)) is not None:
                reply.deliver(refusal)
            else:
                await self._carry_out(command, reply)
        except RateLimitsUnavailable:
            reply.deliver(Refusal(Code.OVERLOADED, "The server cannot count requests right now; try again"))
        except StorageUnavailable:
            reply.deliver(Refusal(Code.STORAGE_UNAVAILABLE, "The database is out of reach; try again"))
        except StatementRefused as refused:  # a bug in the server: the command fails, the connection stays
            self._context.faults.note("command", refused, "command.refused", {"command": type(command).__name__})
            reply.deliver(Refusal(Code.INTERNAL, "Something went wrong on our side"))

    async def _count(self, command: c.AnyCommand | Misfit) -> Refusal | None:
        """Count a command under the user's limits; the refusal if one is reached. Raises RateLimitsUnavailable."""
        return (
            await refuse_command(self._context.rate_limits, self._session.identity, command) if self._limited else None
        )

    def end(self, code: int | None) -> None:
        """The connection is closed: end its session after a final close code, otherwise keep it to be resumed.

        A session that goes on in a newer connection is not changed. `code` is None without a Close frame.
        """
        if not self._is_current:
            return
        if ends_session(code):
            self._context.sessions.end(self._session)
        else:
            self._session.detach(self, trio.current_time())

    @property
    def _is_current(self) -> bool:
        """Whether the session is open and uses this connection, not a newer one."""
        return self._session.connection is self

    async def _open_session(self, token: str, opened: c.SessionOpen | None) -> Session:
        """Open a session, or resume the one that `opened` names, and send `session:ready`.

        A session that cannot be resumed is replaced by a new one. The missed events of a resumed session follow
        `session:ready`, and a connection that it still has is closed. Raises CloseConnection.
        """
        identity, person = await authenticate(self._context, token)
        if not await may_open(self._context.rate_limits, identity.user_id):
            raise CloseConnection(CloseCode.TOO_MANY, "too many sessions of this user were opened or resumed")
        self._token_expires_at = identity.expires_at
        resume = None if opened is None else opened.resume
        known = None if resume is None else self._context.sessions.find(SessionId(resume.session_id), identity.user_id)
        if known is not None and self.send_queue.over:
            # The client hung up while the user was looked up; it may have resumed in a newer connection already.
            raise CloseConnection(CloseCode.NORMAL, "closed by the client")
        if known is None:
            await self._context.sessions.probe_sessions(identity.user_id)
            recheck(self._context, identity)
        session = known or self._context.sessions.open(identity, person)
        if session is None:
            raise CloseConnection(CloseCode.TOO_MANY, "too many sessions of this user, and all of them are in use")
        # There is no await from here on, so that no event comes between the missed events and the next ones.
        rights_changed = session.set_identity(identity)
        received_at = session.received_at
        session.missed_events = known is not None
        replaced = session.attach(self)
        if replaced is not None:
            replaced.close(CloseCode.REPLACED, "the session goes on in another connection")
        points = [] if resume is None else resume.channels
        backlogs = [] if known is None else session.backlogs(points)
        self._send(
            m.SessionReady(
                ref=UNSET if opened is None or opened.ref is None else opened.ref,
                session_id=session.id,
                user_id=session.creator_id,
                heartbeat_seconds=self._context.settings.websocket.heartbeat_seconds,
                token_expires_at=rfc3339(identity.expires_at * 1_000_000),
                resumed=known is not None,
                missed=[{"channel": backlog.channel, "count": len(backlog.events)} for backlog in backlogs],
                lost=sorted({point.channel for point in points} - {backlog.channel for backlog in backlogs}),
            )
        )
        session.resume(backlogs)
        if rights_changed:
            self._context.room_commands.check_rights(session)
        self._pings.presence_matters = session.presence_matters()
        resend(
            self._context.registry,
            self._context.settings.websocket.ping_timeout_seconds,
            session,
            self._send,
            None if known is None else received_at,
        )
        return session

    async def send_missed_events(self) -> None:
        """After a resume, send the present balance, since earlier events may be lost; nothing if storage is away."""
        session = self._session
        if session.missed_events and session.identity.overlay_of is None:
            with contextlib.suppress(StorageUnavailable, StatementRefused):  # the next resume or wallet event sends it
                wallet = await find_wallet(self._context.postgres, session.user_id)
                if wallet is not None and self._is_current:
                    session.missed_events = False
                    changed = m.WalletChanged(balance=wallet.balance, cause="resumed", tokens=0, ref={})
                    self._send(session.with_balance(changed, wallet.n))

    # Commands

    def _decode(self, message: str | bytes) -> c.AnyCommand | Misfit:
        """Decode a command; a Misfit is returned to be answered. Raises CloseConnection(UNDECODABLE)."""
        try:
            return self.encoding.decode(message)
        except Misfit as misfit:
            return misfit
        except Undecodable:
            raise CloseConnection(CloseCode.UNDECODABLE, "undecodable message") from None

    async def _carry_out(self, command: c.AnyCommand | Misfit, reply: SocketReply) -> None:
        """Answer the command here, or pass it to its room, which answers through `reply`."""
        match command:
            case Misfit():
                reply.deliver(unfit(*command.faults))
            case c.Ping():
                self._send(m.Pong(ref=UNSET if command.ref is None else command.ref))
            case c.RoomJoin():
                reply = JoinReply(self, command.ref, self.ice_servers())
                await self._context.room_commands.join(self._session, command, reply)
                self._note_presence()
            case c.RoomLeave():
                self._leave(command.channel, reply)
            case c.TipSend() | c.ChatSend() | c.SignalSend() | c.MemberMute() | c.MemberRemove():
                self._context.room_commands.send_to_room(self._session, command, reply)
            case c.CallCommand():
                await self._context.call_commands.submit(self._session.user_id, command, reply)
            case c.TokenRefresh():
                self._refresh(command.token, reply)
            case c.SessionOpen():
                reply.deliver(Refusal(Code.VALIDATION_FAILED, "The session is open already"))
            case _:
                assert_never(command)

    def _leave(self, channel: str, reply: SocketReply) -> None:
        """Leave a room; answered in the same way if the session is no member of it."""
        self._session.leave(channel)
        reply.deliver({"channel": channel})

    def _refresh(self, token: str, reply: SocketReply) -> None:
        """Continue with a newer token of the same user. A refused token leaves the present one in use."""
        try:
            identity = self._context.authenticator.verify(token)
        except TokenRefused as refused:
            reply.deliver(Refusal(Code.UNAUTHENTICATED, refused.description))
            return
        if identity.user_id != self._session.user_id:
            reply.deliver(Refusal(Code.FORBIDDEN, "The token is another user's"))
            return
        if self._context.bans.contains(identity.user_id):
            raise CloseConnection(CloseCode.BANNED, "banned")
        if self._session.set_identity(identity):
            self._context.room_commands.check_rights(self._session)
        self._token_expires_at, self._warned_of_expiry = identity.expires_at, False
        self._note_presence()
        reply.deliver({"tokenExpiresAt": rfc3339(identity.expires_at * 1_000_000)})

    def _send(self, event: Any) -> None:
        self.send_queue.push(self.encoding.frame(event))

    # Heartbeat and token expiry

    def check(self, now: float) -> None:
        """Ping if it is due, report a change of presence to the rooms, and close an unresponsive or expired client.

        See Pings for the times. `now` is a time of trio's clock.
        """
        if self._pings.is_lost(now):
            self.send_queue.close(CloseCode.PING_TIMEOUT, "not heard of")
        token_seconds = self._token_expires_at - self._context.clock.now() / 1_000_000
        self._check_token(token_seconds)
        if self._is_current:
            self._session.note_silence(self._pings.is_silent(now))
        if self._pings.send_if_due(now):
            self._pings.presence_matters = self._session.presence_matters()
        if not self._session.is_silent:  # otherwise each check looks whether it is back
            until_token = token_seconds - (0 if self._warned_of_expiry else EXPIRY_WARNING_SECONDS)
            self.next_check = min(self._pings.next_due(), now + until_token)

    def _note_presence(self) -> None:
        """Note whether the client's presence matters, and check the connection soon, since its times have changed."""
        self._pings.presence_matters = self._session.presence_matters()
        self.next_check = -inf

    def _check_token(self, seconds_left: float) -> None:
        """Warn a minute before the token expires; once it has expired, end the session and close the connection."""
        if seconds_left <= 0 and not self._expired_in_stall():
            for channel in self._session.live_memberships():
                self._send(m.AccessRevoked(channel=channel, reason="token_expired"))
            self._context.sessions.end(self._session)
            self.send_queue.close(CloseCode.UNAUTHENTICATED, "token expired")
        elif seconds_left <= EXPIRY_WARNING_SECONDS and not self._warned_of_expiry:
            self._warned_of_expiry = True
            self._send(m.TokenExpiring(expires_at=rfc3339(self._token_expires_at * 1_000_000)))

    def _expired_in_stall(self) -> bool:
        """Whether the token expired in a stall of the server, and the user still has time to refresh it."""
        clock = self._context.clock
        waits_until = clock.stalls.over_at + REFRESH_AFTER_STALL_SECONDS
        return trio.current_time() < waits_until and clock.fell_in_stall(self._token_expires_at * 1_000_000)

    def is_silent(self, now: float) -> bool:
        """Whether nothing arrived from the client for so long that it counts as absent."""
        return self._pings.is_silent(now)

    def ping(self, now: float) -> None:
        """Send a ping, unless one is unanswered."""
        self._pings.send_unless_unanswered(now)

    def ping_soon(self) -> None:
        """Ping at the next check: after a stall every client gets the chance to answer."""
        self._pings.send_soon()
        self.next_check = -inf

    @property
    def pinged_at(self) -> float:
        """When the last ping was sent, by trio's clock."""
        return self._pings.sent_at

    @property
    def unanswered_since(self) -> float | None:
        """When the first ping was sent that no byte of the client has followed, by trio's clock; None without one."""
        return self._pings.unanswered_since

    @property
    def received_at(self) -> float:
        """When the last byte arrived from the client, by trio's clock."""
        return self.send_queue.received_at

    def ice_servers(self) -> list[dict[str, Any]]:
        """The ICE servers of the session's user, with a TURN password that begins to be valid now."""
        return self._context.ice.of(self._session.user_id)

    def close(self, code: int, reason: str) -> None:
        """Queue a Close frame with this code. Never waits."""
        self.send_queue.close(code, reason)

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await self.send_queue.closed.wait()
