"""A user's stay: who they are and which rooms they are in, while connections come and go."""

from functools import partial
from typing import NamedTuple, Protocol

import msgspec
import trio

from domain.billing.meter import Funds
from domain.ids import MemberId, SessionId, UserId
from domain.protocol.commands import ResumePoint
from domain.protocol.events import CallCancelled, CallDeclined, CallEndedOutside, CallMissed, Person, WalletChanged
from domain.room import inputs
from domain.room.effects import Audience
from domain.room.inputs import Reply
from domain.throttle import Throttle
from server.access.tokens import Identity
from server.broadcast.fanout import Fanout, Outlet
from server.broadcast.history import Broadcast
from server.broadcast.replies import AdmissionReply, SocketReply
from server.ids import new_uuid
from server.rooms.room import LiveRoom

NOTHING_TOLD = Funds(0, 0)
CALL_ENDS = (CallDeclined, CallMissed, CallCancelled, CallEndedOutside)
PROBE_SECONDS = 3.0  # within which a client that is alive answers a ping, over a slow mobile network too


class Connection(Outlet, Protocol):
    """The connection that a session is spoken through."""

    @property
    def received_at(self) -> float:
        """When the peer's last byte came in, by trio's clock."""
        ...

    @property
    def pinged_at(self) -> float:
        """When it was last asked whether it is there."""
        ...

    def ping(self, now: float) -> None: ...

    def check(self, now: float) -> None: ...

    def is_silent(self, now: float) -> bool: ...

    def ping_soon(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    async def wait_closed(self) -> None: ...


class Membership:
    """Where a session is: in a room, among its members or as an overlay."""

    __slots__ = ("admitted", "audience", "room")

    def __init__(self, room: LiveRoom, audience: Audience) -> None:
        self.room = room
        self.audience = audience
        self.admitted = False  # the room has let the session in, and not put it out since

    @property
    def fanout(self) -> Fanout:
        return self.room.audiences[self.audience]


class Backlog(NamedTuple):
    """What a session has missed in one room."""

    channel: str
    membership: Membership
    events: list[Broadcast]


class Session:
    """It outlives its connection for a while, and stays a member of its rooms; a later connection may resume it."""

    __slots__ = (
        "_call_end",
        "_memberships",
        "connection",
        "id",
        "identity",
        "is_silent",
        "lost_at",
        "member_id",
        "missed_events",
        "person",
        "token_bucket",
        "user_id",
        "wallet",
    )

    def __init__(self, identity: Identity, person: Person, token_bucket: Throttle) -> None:
        self.id = SessionId(new_uuid())
        self.member_id = MemberId(new_uuid())
        self.identity = identity  # as of its latest token
        self.person = person  # as others see them
        self.user_id = identity.user_id
        self.connection: Connection | None = None
        self.lost_at = 0.0  # when its last connection was lost, by trio's clock
        self.is_silent = False  # for longer than presence_seconds, or without a connection
        self.missed_events = False  # of its own, while it had no connection
        self.wallet = NOTHING_TOLD
        self.token_bucket = token_bucket  # of what it sends, whatever the connection
        self._call_end: tuple[float, msgspec.Struct] | None = None
        self._memberships: dict[str, Membership] = {}

    @property
    def creator_id(self) -> UserId:
        """Its user; or the creator whose overlay it is."""
        return self.identity.overlay_of or self.user_id

    # Its connections

    @property
    def received_at(self) -> float:
        """When it was heard last, or lost its connection, by trio's clock."""
        return self.lost_at if self.connection is None else self.connection.received_at

    @property
    def unanswered(self) -> bool:
        """It has no connection, or has left a ping unanswered for PROBE_SECONDS: it yields its place to a newer one."""
        connection = self.connection
        return (
            connection is None
            or self.is_silent
            or (
                connection.received_at < connection.pinged_at
                and trio.current_time() - connection.pinged_at >= PROBE_SECONDS
            )
        )

    def attach(self, connection: Connection) -> Connection | None:
        """Speak through this connection from here on; returns the one that it replaces, which is still open."""
        replaced, self.connection = self.connection, connection
        if replaced is not None:
            self._suspend()
        return replaced

    def detach(self, connection: Connection, now: float) -> None:
        """This connection is gone, if it is still this session's."""
        if self.connection is connection:
            self.connection = None
            self.lost_at = now
            self._suspend()
            self.note_silence(True, connection.received_at)

    def _suspend(self) -> None:
        for membership in self._memberships.values():
            membership.fanout.suspend(self.member_id)

    def send(self, event: msgspec.Struct) -> None:
        """To this session alone."""
        if self.connection is None:
            self.missed_events = True
        else:
            self.connection.send_queue.push(self.connection.encoding.frame(event))

    def with_balance(self, event: msgspec.Struct, n: int) -> msgspec.Struct:
        """The event as this session is to be told it now; `n` is the wallet's posting number of its balance.

        Events about one wallet come from its rooms, from the storage actor and from a look at the database, so a later
        one may bring an older balance. It is told with the newest one that this session knows.
        """
        if not isinstance(event, WalletChanged) or not n:
            return event
        if n < self.wallet.n:
            return msgspec.structs.replace(event, balance=self.wallet.balance)
        self.wallet = Funds(event.balance, n)
        return event

    def note_told(self, event: msgspec.Struct, now: float) -> None:
        """Keep in mind how the latest call of its user ended: a connection that is lost may not have delivered it."""
        if isinstance(event, CALL_ENDS):
            self._call_end = now, event

    def call_end_since(self, moment: float) -> msgspec.Struct | None:
        """How a call ended that it was to be told of since then, by trio's clock."""
        return None if self._call_end is None or self._call_end[0] < moment else self._call_end[1]

    def note_silence(self, is_silent: bool, received_at: float | None = None) -> None:
        """Tell its rooms when it changes: the silence of a payer or a payee stops a clock.

        `received_at`, by trio's clock, is when a connection that was lost was last heard.
        """
        if is_silent is not self.is_silent:
            self.is_silent = is_silent
            for membership in self.live_memberships().values():
                membership.room.inbox.deliver(
                    self.silence_in(membership.room, received_at)
                    if is_silent
                    else inputs.ConnectionResponsive(self.member_id)
                )

    def silence_in(self, room: LiveRoom, received_at: float | None = None) -> inputs.ConnectionSilent:
        """What a room is told of a session that is silent."""
        return inputs.ConnectionSilent(
            self.member_id, room.clock.at_trio(self.received_at if received_at is None else received_at)
        )

    def set_identity(self, identity: Identity) -> bool:
        """Go on with a newer token of the same user; True if rooms have to check the session again."""
        changed = identity.is_operator is not self.identity.is_operator
        self.identity = identity
        return changed

    # Its rooms

    def live_memberships(self) -> dict[str, Membership]:
        """Those in rooms that have not ended."""
        return {
            channel: membership
            for channel, membership in self._memberships.items()
            if not membership.room.settled.is_set()
        }

    def enter(self, membership: Membership) -> None:
        self._memberships = self.live_memberships()
        self._memberships[membership.room.channel] = membership

    def has(self, membership: Membership) -> bool:
        """It has not left since it entered."""
        return self._memberships.get(membership.room.channel) is membership

    def presence_matters(self) -> bool:
        """Whether some room counts its presence: it pays there, is paid, or the room waits for it."""
        return any(
            membership.audience is Audience.MEMBERS
            and membership.room.counts_presence_of(self.user_id, self.identity.is_operator)
            for membership in self.live_memberships().values()
        )

    def is_member_of(self, fanout: Fanout) -> bool:
        """It has a seat in the room, and in the audience, that this fan-out serves."""
        return any(membership.fanout is fanout for membership in self._memberships.values())

    def drop_refused_join(self, membership: Membership) -> None:
        """It was not let in; but who was in before, and asked once more, still is."""
        membership.admitted = membership.fanout.is_admitted(self.member_id)
        if self.has(membership) and not membership.admitted:
            del self._memberships[membership.room.channel]

    def admit(self, membership: Membership) -> None:
        """The room has let it in."""
        membership.admitted = True

    def rejoin_reply(self, room: LiveRoom) -> Reply | None:
        """Answers its re-join of a room that starts again; None without a connection. A refused one loses its seat."""
        if self.connection is None:
            return None
        reply, membership = SocketReply(self.connection, None), self.live_memberships().get(room.channel)
        return (
            reply
            if membership is None
            else AdmissionReply(reply, partial(self.admit, membership), partial(self.drop_refused_join, membership))
        )

    def removed(self, fanout: Fanout) -> None:
        """The room has put it out: it needs no place among its rooms any more. A new join may be under way."""
        for channel, membership in list(self._memberships.items()):
            if membership.admitted and membership.fanout is fanout:
                del self._memberships[channel]

    def leave(self, channel: str) -> None:
        membership = self._memberships.pop(channel, None)
        if membership is not None:
            membership.fanout.remove(self.member_id)
            membership.room.inbox.deliver(inputs.Left(self.member_id))

    def leave_all(self) -> None:
        for channel in list(self._memberships):
            self.leave(channel)

    def backlogs(self, points: list[ResumePoint]) -> list[Backlog]:
        """What was missed, for each room where all of it is still known; the session leaves every other room."""
        known = []
        for point in {point.channel: point for point in points}.values():
            membership = self._memberships.get(point.channel)
            events = None if membership is None else membership.fanout.missed(self.member_id, point.epoch, point.seq)
            if membership is not None and events is not None:
                known.append(Backlog(point.channel, membership, events))
        for channel in self._memberships.keys() - {backlog.channel for backlog in known}:
            self.leave(channel)
        return known

    def resume(self, backlogs: list[Backlog]) -> None:
        """Catch up in each of these rooms, and go on there."""
        for backlog in backlogs:
            backlog.membership.fanout.resume(self.member_id, backlog.events)
        self.note_silence(False)
