"""A session: the identity and the room memberships of a client, which outlive its connection.

Phones change networks in the middle of a call. The session keeps the client's memberships while it has no connection,
and the fan-outs of its rooms keep the events that it misses, until a later connection resumes it (contract.md, Resume).
"""

from functools import partial
from typing import Any, NamedTuple, Protocol

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
from server.broadcast.replies import AdmissionReply, RejoinReply
from server.ids import new_uuid
from server.rooms.room import LiveRoom

NO_BALANCE_SENT = Funds(0, 0)  # posting numbers begin at 1, so any balance is newer
CALL_ENDS = (CallDeclined, CallMissed, CallCancelled, CallEndedOutside)
PROBE_SECONDS = 3.0  # for a live client to answer a ping, also over a slow mobile network


class Connection(Outlet, Protocol):
    """The connection that a session sends through; ClientProtocol in `server/gateway/protocol.py` implements it.

    No method but `wait_closed` waits.
    """

    @property
    def received_at(self) -> float:
        """When the last byte arrived from the client, by trio's clock."""

    @property
    def pinged_at(self) -> float:
        """When the last ping was sent, by trio's clock."""

    @property
    def unanswered_since(self) -> float | None:
        """When the first ping was sent that no byte of the client has followed, by trio's clock; None without one."""

    next_check: float
    """When `check` has something to do, by trio's clock."""

    def ping(self, now: float) -> None:
        """Send a ping, unless one is unanswered."""

    def check(self, now: float) -> None:
        """Ping if it is due, report silence to the rooms, and close an unresponsive or expired client."""

    def is_silent(self, now: float) -> bool:
        """Whether nothing arrived from the client for so long that it counts as absent."""

    def ping_soon(self) -> None:
        """Ping at the next check."""

    def ice_servers(self) -> list[dict[str, Any]]:
        """The ICE servers of its user, with a TURN password that begins to be valid now."""

    def close(self, code: int, reason: str) -> None:
        """Queue a Close frame with this code, unless one was queued before; the socket closes in `close_seconds`."""

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""


class Membership:
    """A session's membership of one audience of a room, from the join command on.

    It begins before the room has answered, so that the room receives changes of the payer's balance while it decides.
    `admitted` is set once the room has answered that it admits the session.
    """

    __slots__ = ("admitted", "audience", "room")

    def __init__(self, room: LiveRoom, audience: Audience) -> None:
        self.room = room
        self.audience = audience
        self.admitted = False  # the room has admitted the session, and not removed it since

    @property
    def fanout(self) -> Fanout:
        """The fan-out of this audience of the room."""
        return self.room.audiences[self.audience]


class Backlog(NamedTuple):
    """The events that a session missed in one room."""

    channel: str
    membership: Membership
    events: list[Broadcast]


class Session:
    """The session of one client: its identity, its rate limit and its room memberships.

    It outlives its connection for `session_seconds` and stays a member of its rooms; a later connection can resume it.
    `Sessions` creates and ends it. Connections attach to it one after the other, and at most one at a time.
    It has no task of its own: its methods run in the tasks of connections, rooms and the heartbeat, and none waits.
    """

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
        self.identity = identity  # from its latest token
        self.person = person  # as other users see the user
        self.user_id = identity.user_id
        self.connection: Connection | None = None
        self.lost_at = 0.0  # when its last connection was lost, by trio's clock
        self.is_silent = False  # nothing arrived for presence_seconds, or there is no connection
        self.missed_events = False  # private events were not sent, since there was no connection
        self.wallet = NO_BALANCE_SENT  # the newest balance that was sent over any of its connections
        self.token_bucket = token_bucket  # limits its messages, over all its connections
        self._call_end: tuple[float, msgspec.Struct] | None = None
        self._memberships: dict[str, Membership] = {}

    @property
    def creator_id(self) -> UserId:
        """The session's user, or the creator whose overlay it is."""
        return self.identity.overlay_of or self.user_id

    # Its connections

    @property
    def received_at(self) -> float:
        """When the last byte arrived, or the connection was lost, by trio's clock."""
        return self.lost_at if self.connection is None else self.connection.received_at

    @property
    def unanswered(self) -> bool:
        """Whether the client is unresponsive, so that a newer session may replace it.

        It has no connection, is silent, or has left a ping unanswered for PROBE_SECONDS.
        """
        if self.connection is None or self.is_silent:
            return True
        since = self.connection.unanswered_since
        return since is not None and trio.current_time() - since >= PROBE_SECONDS

    def attach(self, connection: Connection) -> Connection | None:
        """Use this connection from here on; returns the former one if there is one, which the caller closes.

        With a former connection the memberships are suspended, so that its events are not sent over the new connection
        before the client has named what it has read. `resume` continues them.
        """
        replaced, self.connection = self.connection, connection
        if replaced is not None:
            self._suspend()
        return replaced

    def detach(self, connection: Connection, now: float) -> None:
        """Note that this connection is closed, at `now` by trio's clock. Ignored if the session uses another one.

        The rooms receive at once that the session is silent, and when its last byte arrived.
        """
        if self.connection is connection:
            self.connection = None
            self.lost_at = now
            self._suspend()
            self.note_silence(True, connection.received_at)

    def _suspend(self) -> None:
        """Stop the events of all rooms; their histories keep what the session misses."""
        for membership in self._memberships.values():
            membership.fanout.suspend(self.member_id)

    def send(self, event: msgspec.Struct) -> None:
        """Send an event to this session only. Without a connection, note that events were missed."""
        if self.connection is None:
            self.missed_events = True
        else:
            self.connection.send_queue.push(self.connection.encoding.frame(event))

    def with_balance(self, event: msgspec.Struct, n: int) -> msgspec.Struct:
        """The event with the newest balance that this session knows; `n` is the posting number of the event's balance.

        Events about one wallet come from rooms, from the storage actor and from database reads, so a later event may
        carry an older balance. Events that are no WalletChanged, or have no number, are returned unchanged.
        """
        if not isinstance(event, WalletChanged) or not n:
            return event
        if n < self.wallet.n:
            return msgspec.structs.replace(event, balance=self.wallet.balance)
        self.wallet = Funds(event.balance, n)
        return event

    def note_sent(self, event: msgspec.Struct, now: float) -> None:
        """Remember an event about the end of a call, since a lost connection may not have delivered it."""
        if isinstance(event, CALL_ENDS):
            self._call_end = now, event

    def call_end_since(self, moment: float) -> msgspec.Struct | None:
        """The latest event about the end of a call, if it was sent at or after `moment`, by trio's clock."""
        return None if self._call_end is None or self._call_end[0] < moment else self._call_end[1]

    def note_silence(self, is_silent: bool, received_at: float | None = None) -> None:
        """Set whether the client is silent, and send a change to its rooms: silence of a payer or payee pauses a meter.

        `received_at` is when the last byte arrived over a connection that was lost, by trio's clock.
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
        """The input by which a room learns that this session is silent, and since when."""
        return inputs.ConnectionSilent(
            self.member_id, room.clock.at_trio(self.received_at if received_at is None else received_at)
        )

    def set_identity(self, identity: Identity) -> bool:
        """Continue with a newer token of the same user; True if its rights differ, so that rooms must check them.

        The caller has verified that the user is the same.
        """
        changed = identity.is_operator is not self.identity.is_operator
        self.identity = identity
        return changed

    # Its rooms

    def live_memberships(self) -> dict[str, Membership]:
        """The memberships of rooms that have not ended, by channel; also those whose join is not answered yet."""
        return {
            channel: membership
            for channel, membership in self._memberships.items()
            if not membership.room.settled.is_set()
        }

    def enter(self, membership: Membership) -> None:
        """Add a membership before the room has answered the join; replaces an earlier one of the same channel."""
        self._memberships = self.live_memberships()
        self._memberships[membership.room.channel] = membership

    def has(self, membership: Membership) -> bool:
        """Whether this membership is still the session's, so that it has not left since."""
        return self._memberships.get(membership.room.channel) is membership

    def presence_matters(self) -> bool:
        """Whether a meter or a deadline of some room depends on the presence of this session."""
        return any(
            membership.audience is Audience.MEMBERS
            and membership.room.counts_presence_of(self.user_id, self.identity.is_operator)
            for membership in self.live_memberships().values()
        )

    def is_member_of(self, fanout: Fanout) -> bool:
        """Whether the session has a membership of the audience that this fan-out serves."""
        return any(membership.fanout is fanout for membership in self._memberships.values())

    def drop_refused_join(self, membership: Membership) -> None:
        """Drop the membership of a refused join, unless the session was a member already."""
        membership.admitted = membership.fanout.is_admitted(self.member_id)
        if self.has(membership) and not membership.admitted:
            del self._memberships[membership.room.channel]

    def admit(self, membership: Membership) -> None:
        """Note that the room has admitted the session."""
        membership.admitted = True

    def rejoin_reply(self, room: LiveRoom) -> Reply | None:
        """The reply for the rejoin of a restarted room; None without a connection. A refusal drops the membership."""
        if self.connection is None:
            return None
        reply = RejoinReply(self.connection, room.channel, self.connection.ice_servers())
        membership = self.live_memberships().get(room.channel)
        if membership is None:
            return reply
        return AdmissionReply(reply, partial(self.admit, membership), partial(self.drop_refused_join, membership))

    def removed(self, fanout: Fanout) -> None:
        """Drop the membership that this room has ended. A membership whose join is not answered yet is kept."""
        for channel, membership in list(self._memberships.items()):
            if membership.admitted and membership.fanout is fanout:
                del self._memberships[channel]

    def leave(self, channel: str) -> None:
        """Leave a room: the session receives none of its events any more. Ignored for other channels.

        The room learns of it by an input, and announces it; that a payer has left stops the payer's clock.
        """
        membership = self._memberships.pop(channel, None)
        if membership is not None:
            membership.fanout.remove(self.member_id)
            membership.room.inbox.deliver(inputs.Left(self.member_id))

    def leave_all(self) -> None:
        """Leave all rooms."""
        for channel in list(self._memberships):
            self.leave(channel)

    def backlogs(self, points: list[ResumePoint]) -> list[Backlog]:
        """The missed events of each room whose history still has all of them; the session leaves every other room."""
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
        """Send the missed events of these rooms, and resume the membership there; the client is not silent any more.

        Called without an `await` after `backlogs`, so that no event comes between the missed and the later ones.
        """
        for backlog in backlogs:
            backlog.membership.fanout.resume(self.member_id, backlog.events)
        self.note_silence(False)
