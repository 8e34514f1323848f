"""The sessions of this server, by member, by id and by user.

Sessions are in memory only: they end with their server, and clients then open new ones on another server. All private
events to users go through here.
"""

import math
from collections.abc import Collection

import msgspec
import trio

from domain.ids import MemberId, SessionId, UserId
from domain.protocol.events import Person
from domain.throttle import Throttle
from server.access.tokens import Identity
from server.broadcast.fanout import Fanout, send_to_all
from server.close_codes import CloseCode
from server.config.settings import WebsocketSettings
from server.rooms.room import LiveRoom
from server.sessions.session import PROBE_SECONDS, Session

PROBE_PAUSE_SECONDS = 0.05  # between two looks at the arrival times; a probe takes a round trip of the network anyway


class Sessions:
    """Owns the sessions of this server, including those without a connection that can be resumed.

    The gateway opens, resumes and ends sessions; the heartbeat ends those that have expired. No method but
    `probe_sessions` and `close_all` waits.
    """

    def __init__(self, settings: WebsocketSettings) -> None:
        self.by_member: dict[MemberId, Session] = {}
        self._by_id: dict[SessionId, Session] = {}
        self._by_user: dict[UserId, list[Session]] = {}
        self._settings = settings

    def open(self, identity: Identity, person: Person) -> Session | None:
        """Open a session; None if the user has `sessions_per_user` of them, and all are responsive.

        If the limit is reached and some are unresponsive, the one of them from which nothing arrived for longest is
        ended, and its connection is closed with a code to reconnect. So a phone that lost its connections many times
        is not locked out by its own old sessions, and no working device is disconnected by a new one.
        """
        user_id = identity.user_id
        of_user = self._by_user.get(user_id, [])
        if len(of_user) >= self._settings.sessions_per_user:
            unresponsive = [session for session in of_user if session.unanswered]
            if not unresponsive:
                return None
            self.disconnect(
                min(unresponsive, key=lambda session: session.received_at), CloseCode.PING_TIMEOUT, "not heard of"
            )
        session = Session(identity, person, Throttle(self._settings.messages_per_second, self._settings.messages_burst))
        self.by_member[session.member_id] = self._by_id[session.id] = session
        self._by_user.setdefault(user_id, []).append(session)
        return session

    async def probe_sessions(self, user_id: UserId) -> None:
        """Before `open`: if the user has no session left to open, find out which ones are still responsive.

        Pings them, and returns once all have answered, or after PROBE_SECONDS. Returns at once if the user has sessions
        left, or if an unresponsive session is known already. Cancellation leaves nothing to undo.
        """
        of_user = self.of(user_id)
        if len(of_user) < self._settings.sessions_per_user or any(session.unanswered for session in of_user):
            return
        connections = [session.connection for session in of_user if session.connection is not None]
        for connection in connections:
            connection.ping(trio.current_time())
        for _ in range(math.ceil(PROBE_SECONDS / PROBE_PAUSE_SECONDS) + 1):  # in a stall, nothing arrives between two
            if all(connection.unanswered_since is None for connection in connections):
                return
            await trio.sleep(PROBE_PAUSE_SECONDS)

    def find(self, session_id: SessionId, user_id: UserId) -> Session | None:
        """The session with this id, if it is open and belongs to this user; the id alone gives no access to it."""
        session = self._by_id.get(session_id)
        return session if session is not None and session.user_id == user_id else None

    def of(self, user_id: UserId) -> list[Session]:
        """All sessions of this user."""
        return list(self._by_user.get(user_id, ()))

    def end(self, session: Session) -> None:
        """End a session: it leaves its rooms and cannot be resumed. Its connection is not closed. Idempotent."""
        if self._by_id.pop(session.id, None) is None:
            return
        del self.by_member[session.member_id]
        of_user = self._by_user[session.user_id]
        of_user.remove(session)
        if not of_user:
            del self._by_user[session.user_id]
        session.leave_all()
        session.connection = None

    def drop(self, session: Session) -> None:
        """End a session after a fault, and abort its connection without a Close frame.

        The client sees a lost connection and opens a new session. The connection is aborted even if ending raises.
        """
        connection = session.connection
        try:
            self.end(session)
        finally:
            if connection is not None:
                connection.send_queue.abort()

    def check(self, session: Session, now: float) -> None:
        """Check the session's connection; end the session if it has had none for `session_seconds`.

        `now` is trio's clock. The heartbeat calls it for each session, a few times a second.
        """
        if session.connection is not None:
            session.connection.check(now)
        elif now - session.lost_at >= self._settings.session_seconds:
            self.end(session)

    def note_stall(self, session: Session, now: float, seconds: float, *, all_silent: bool) -> None:
        """Account for a stall of `seconds` that ends at `now` (trio's clock), so that no session expires because of it.

        `all_silent` states that the rooms learn of the silence by the stall itself, so the session only notes it.
        Otherwise the session is silent if nothing arrived for long enough, the time of the stall included.
        """
        if session.connection is None:
            session.lost_at = min(now, session.lost_at + seconds)
            return
        session.connection.ping_soon()
        if all_silent:
            session.is_silent = True
        else:
            session.note_silence(session.connection.is_silent(now))

    def rename(self, person: Person) -> None:
        """Use a user's new name in what their sessions say from now on."""
        for session in self._by_user.get(UserId(person.user_id), ()):
            session.person = person

    def online(self, user_id: UserId) -> bool:
        """Whether any session of this user has a connection to this server; a creator must have one to be called."""
        return any(session.connection is not None for session in self._by_user.get(user_id, ()))

    def connected_users(self) -> list[UserId]:
        """The users of whom `online` is true."""
        return [user_id for user_id in self._by_user if self.online(user_id)]

    def send_to_user(
        self, user_id: UserId, event: msgspec.Struct, n: int = 0, but: Collection[MemberId] = frozenset()
    ) -> None:
        """Send an event to all sessions of one user, except those in `but`. Never waits.

        The event is encoded once for each subprotocol. Sessions without a connection note that they missed events, and
        are sent the present state when they resume.
        For a wallet event, `n` is its wallet's posting number (see Session.with_balance).
        """
        connections = []
        for session in self._by_user.get(user_id, ()):
            if session.member_id in but:
                continue
            session.note_sent(event, trio.current_time())
            if session.connection is None:
                session.missed_events = True
            elif (sent := session.with_balance(event, n)) is event:
                connections.append(session.connection)
            else:
                session.send(sent)
        if connections:
            send_to_all(connections, event)

    def evict(self, user_id: UserId, code: int, reason: str) -> None:
        """End every session of a user, or of an overlay's token, and close their connections with this code."""
        for session in self.of(user_id):
            self.disconnect(session, code, reason)

    def disconnect(self, session: Session, code: int, reason: str) -> None:
        """End a session, and close its connection with this code."""
        connection = session.connection
        self.end(session)
        if connection is not None:
            connection.close(code, reason)

    def answering_for(self, user_id: UserId) -> list[Session]:
        """The sessions of a user and of the user's overlays. Looks at all sessions, so it is only for rare events."""
        return [session for session in self.by_member.values() if session.creator_id == user_id]

    def overlays(self) -> list[Session]:
        """The sessions that were opened with an overlay's token."""
        return [session for session in self.by_member.values() if session.identity.overlay_of is not None]

    def removed(self, member_id: MemberId, fanout: Fanout) -> None:
        """Note that a room has removed a session from the audience of this fan-out. Ignored for ended sessions."""
        session = self.by_member.get(member_id)
        if session is not None:
            session.removed(fanout)

    def close_silent(self, member_id: MemberId) -> None:
        """Close the connection of a silent session with a code to reconnect; the session can be resumed."""
        session = self.by_member.get(member_id)
        if session is not None and session.connection is not None:
            session.connection.close(CloseCode.PING_TIMEOUT, "not heard of")

    def send_to_member(self, member_id: MemberId, event: msgspec.Struct) -> None:
        """Send an event to one session, if it is still open."""
        session = self.by_member.get(member_id)
        if session is not None:
            session.send(event)

    def rooms_of(self, user_id: UserId) -> list[LiveRoom]:
        """The live rooms in which any session of this user is."""
        of_user = self._by_user.get(user_id, ())
        return list(
            {
                membership.room.id: membership.room
                for session in of_user
                for membership in session.live_memberships().values()
            }.values()
        )

    async def close_all(self, code: int, reason: str) -> None:
        """Close every connection, and wait until all sockets are closed.

        All Close frames are queued before the first wait, so the whole takes about `close_seconds` at most.
        """
        leaving = [session.connection for session in self.by_member.values() if session.connection is not None]
        for connection in leaving:
            connection.close(code, reason)
        for connection in leaving:
            await connection.wait_closed()

    @property
    def connected(self) -> int:
        """The number of sessions with a connection."""
        return sum(session.connection is not None for session in self.by_member.values())
