"""A live room, as the rest of the server sees it."""

from collections.abc import Iterable, Mapping, Set
from typing import Protocol

import trio

from domain.billing.meter import Meter
from domain.billing.payment_refusal import RESTARTING
from domain.call.call import Call
from domain.call.record import CallFacts
from domain.ids import MemberId, RoomId, UserId
from domain.instant import Duration
from domain.protocol.events import CallAccepted
from domain.refusals import Refusal
from domain.room import effects, inputs
from domain.room.effects import Audience
from domain.room.inputs import Reply
from domain.stream.record import StreamFacts
from domain.stream.stream import Stream
from server.access.tokens import Identity
from server.broadcast.audiences import Audiences
from server.broadcast.fanout import Fanout, Reachable
from server.clock import Clock
from server.rooms.inbox.inbox import Inbox
from server.rooms.ownership import Ownership
from server.rooms.task import RoomTask, Sessions


class RoomRecovery(Protocol):
    """Restarts and ends the rooms of one kind after a crash."""

    async def restart(self, room: "LiveRoom") -> RoomTask | None:
        """Make a new task from the room's rows, under a new epoch; None if the room has ended or has another owner.

        May raise if the rows are invalid; members and waiting commands are then kept for the next try.
        """
        ...

    async def abandon(self, room: "LiveRoom") -> bool:
        """End the room, and send its members the end; False if the room has another owner. May raise as `restart`."""
        ...

    async def end_unread(self, room_id: RoomId) -> None:
        """End the room in the database without reading its rows, if this server still owns it."""
        ...


class ReturningMember(Reachable, Protocol):
    """The part of a session that a restarting room needs to let it rejoin."""

    user_id: UserId
    identity: Identity
    is_silent: bool

    @property
    def creator_id(self) -> UserId:
        """The session's user, or the creator whose overlay it is."""
        ...

    def rejoin_reply(self, room: "LiveRoom") -> Reply | None:
        """The reply for a rejoin of this room; None if the session has no connection."""
        ...

    def silence_in(self, room: "LiveRoom") -> inputs.ConnectionSilent: ...


class RoomSessions(Sessions, Protocol):
    """The sessions of this server, by member id."""

    @property
    def by_member(self) -> Mapping[MemberId, ReturningMember]: ...


class LiveRoom:
    """One call or stream: its inbox, its audiences, its rules and its ownership.

    After a crash the room gets a new task and new rules; the inbox, the audiences and the members stay.
    """

    def __init__(
        self,
        facts: CallFacts | StreamFacts,
        clock: Clock,
        inbox: Inbox,
        audiences: Audiences,
        recovery: RoomRecovery,
        ownership: Ownership,
    ) -> None:
        self.id, self.channel, self.facts = facts.id, facts.channel, facts
        self.parties: tuple[UserId, ...] = facts.parties if isinstance(facts, CallFacts) else ()
        self.clock = clock
        self.inbox = inbox
        self.audiences = audiences
        self.recovery = recovery
        self.ownership = ownership
        self.rules: Call | Stream | None = None  # for reading only; None while the room restarts
        self.returning: dict[Audience, list[MemberId]] = {}  # members that rejoin after a crash
        self.settled = trio.Event()

    def counts_presence_of(self, user_id: UserId, is_operator: bool) -> bool:
        """Whether the room must know within seconds that this user is absent: a meter or a deadline depends on it.

        True for both parties of a call, for the owner of a stream, and for viewers who pay by the block. While a stream
        restarts, its rules are unknown, so it is true for everybody.
        """
        if self.parties:
            return user_id in self.parties
        if self.stream is None:
            return True
        return user_id == self.owner_id or self.stream.access_policy.pays(user_id, is_operator)

    @property
    def call(self) -> Call | None:
        """The rules of a call; None for a stream, and while the call restarts."""
        return self.rules if isinstance(self.rules, Call) else None

    @property
    def stream(self) -> Stream | None:
        """The rules of a stream; None for a call, and while the stream restarts."""
        return self.rules if isinstance(self.rules, Stream) else None

    @property
    def owner_id(self) -> UserId | None:
        """The creator who owns a stream, also while it restarts; None for a call."""
        return self.facts.owner_id if isinstance(self.facts, StreamFacts) else None

    @property
    def has_blocks(self) -> bool:
        """Whether this is a stream whose viewers pay by the block, also while it restarts."""
        return isinstance(self.facts, StreamFacts) and self.facts.price is not None

    @property
    def principals(self) -> tuple[UserId, ...]:
        """The users without whom the room ends: the parties of a call, or the owner of a stream."""
        return self.parties if self.owner_id is None else (self.owner_id,)

    @property
    def is_ringing(self) -> bool:
        """Whether this is a call that its creator has not answered yet; False while it restarts."""
        return self.call is not None and self.call.ringing

    def invitations(self) -> list[effects.Send]:
        """The event that asks each party into the call: `call:ringing`, then `call:accepted` until both have joined."""
        if self.call is None or self.call.over:
            return []
        if self.call.ringing:
            return self.call.events.ringing()
        return self.call.events.invitation(CallAccepted) if self.call.setup.waits_for_parties else []

    def time_left(self, max_tokens: int | None) -> Duration | None:
        """How long the fan can pay for the call, spending at most `max_tokens` in it; None while it restarts."""
        return None if self.call is None else self.call.meter.left(self.clock.now(), max_tokens)

    def meter_of_viewer(self, payer: UserId) -> Meter | None:
        """The meter of a stream's viewer; None of others, of a call, and while the stream restarts."""
        viewing = None if self.stream is None else self.stream.viewing_sessions.find(payer)
        return None if viewing is None else viewing.meter

    def why_no_access(self, user_id: UserId, is_operator: bool) -> Refusal | None:
        """Why this user may not join the stream, as far as its rules are loaded; a call answers None."""
        return None if self.stream is None else self.stream.access_policy.refuse(user_id, is_operator)

    def hidden_users(self) -> Set[UserId]:
        """The users whose chat and tips are not shown in this room."""
        return frozenset() if self.rules is None else self.rules.chat_and_tips.hidden

    def running_meters(self) -> Iterable[Meter]:
        """The meters that count time now."""
        if self.stream is not None:
            return self.stream.viewing_sessions.running()
        return (self.call.meter,) if self.call is not None and self.call.meter.clock.running else ()

    @property
    def is_restarting(self) -> bool:
        """Whether the room has crashed, and its rules are not loaded again yet."""
        return self.rules is None

    def disown(self) -> None:
        """Note that another server owns the room; its task stops before it handles or publishes anything more."""
        self.ownership.lost = True
        self.inbox.deliver(inputs.Fenced())

    def abandon_tips(self) -> None:
        """Answer the tips whose commit was in flight when the room crashed."""
        for answer in [] if self.rules is None else self.rules.chat_and_tips.abandon():
            answer.reply.deliver(answer.result)

    def refuse_waiting(self) -> None:
        """Refuse the commands that still wait in a room that is over, since no task handles them."""
        for waiting in self.inbox.take_all():
            if isinstance(waiting.given, inputs.Request) and not waiting.is_rejoin:
                waiting.given.reply.deliver(RESTARTING)

    def restore_members(self) -> None:
        """Add the members that were to rejoin to their audiences, so that they receive the end of the room."""
        for audience, members in self.returning.items():
            for member_id in members:
                self.audiences[audience].add(member_id)
        for joining in self.inbox.rejoins():
            audience = Audience.MEMBERS if isinstance(joining, inputs.Joined) else Audience.OVERLAYS
            self.audiences[audience].add(joining.member_id)

    def close(self, reason: str) -> None:
        """End the room on this server: send `room:closed` with this reason, and refuse waiting commands."""
        self.restore_members()
        self.audiences.close(self.clock.now(), reason)
        self.refuse_waiting()

    @property
    def fanout(self) -> Fanout:
        """The fan-out to the room's members."""
        return self.audiences[Audience.MEMBERS]
