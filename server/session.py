"""A user's stay: who they are and which rooms they are in, while connections come and go."""

from typing import NamedTuple, Protocol

import msgspec

from domain import inputs
from domain.commands import ResumePoint
from domain.effects import Audience
from domain.ids import MemberId, SessionId, UserId
from domain.messages import Person, WalletChanged
from domain.meter import Funds
from domain.pace import Pace
from server.auth import Identity
from server.fanout import Fanout, Outlet
from server.history import Broadcast
from server.ids import new_uuid
from server.live_room import LiveRoom

NOTHING_TOLD = Funds(0, 0)


class Line(Outlet, Protocol):
    """The connection that a session is spoken through."""

    @property
    def heard_at(self) -> float:
        """When the peer's last byte came in, by trio's clock."""
        ...

    @property
    def pinged_at(self) -> float:
        """When it was last asked whether it is there."""
        ...

    def check(self, now: float) -> None: ...

    def ping_soon(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    async def wait_closed(self) -> None: ...


class Seat(NamedTuple):
    """Where a session is: in a room, among its members or as an overlay."""

    room: LiveRoom
    audience: Audience = Audience.MEMBERS

    @property
    def fanout(self) -> Fanout:
        return self.room.audiences[self.audience]


class Backlog(NamedTuple):
    """What a session has missed in one room."""

    channel: str
    seat: Seat
    events: list[Broadcast]


class Session:
    """It outlives its connection for a while, and stays a member of its rooms; a later connection may resume it."""

    __slots__ = (
        "_seats",
        "id",
        "identity",
        "line",
        "lost_at",
        "member_id",
        "missed_news",
        "pace",
        "person",
        "unheard",
        "user_id",
        "wallet",
    )

    def __init__(self, identity: Identity, person: Person, pace: Pace) -> None:
        self.id = SessionId(new_uuid())
        self.member_id = MemberId(new_uuid())
        self.identity = identity  # as of its latest token
        self.person = person  # as others see them
        self.user_id = identity.user_id
        self.line: Line | None = None
        self.lost_at = 0.0  # when its last connection was lost, by trio's clock
        self.unheard = False  # for longer than presence_seconds, or without a connection
        self.missed_news = False  # of its own, while it had no connection
        self.wallet = NOTHING_TOLD
        self.pace = pace  # of what it sends, whatever the connection
        self._seats: dict[str, Seat] = {}

    @property
    def creator_id(self) -> UserId:
        """Its user; or the creator whose overlay it is."""
        return self.identity.overlay_of or self.user_id

    # Its connections

    def attach(self, line: Line) -> Line | None:
        """Speak through this connection from here on; returns the one that it replaces, which is still open."""
        replaced, self.line = self.line, line
        if replaced is not None:
            self._suspend()
        return replaced

    def detach(self, line: Line, now: float) -> None:
        """This connection is gone, if it is still this session's."""
        if self.line is line:
            self.line = None
            self.lost_at = now
            self._suspend()
            self.note_silence(True)

    def _suspend(self) -> None:
        for seat in self._seats.values():
            seat.fanout.suspend(self.member_id)

    def tell(self, event: msgspec.Struct) -> None:
        """To this session alone."""
        if self.line is None:
            self.missed_news = True
        else:
            self.line.outbox.push(self.line.encoding.frame(event))

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

    def note_silence(self, unheard: bool) -> None:
        """Rooms hear of it when it changes: the silence of who pays or is paid stops a clock."""
        if unheard is not self.unheard:
            self.unheard = unheard
            for seat in self.live_seats().values():
                seat.room.inbox.deliver(inputs.Unheard(self.member_id) if unheard else inputs.Heard(self.member_id))

    # Its rooms

    def live_seats(self) -> dict[str, Seat]:
        """Those in rooms that have not ended."""
        return {channel: seat for channel, seat in self._seats.items() if not seat.room.settled.is_set()}

    def enter(self, seat: Seat) -> None:
        self._seats = self.live_seats()
        self._seats[seat.room.channel] = seat

    def has(self, seat: Seat) -> bool:
        """It has not left since it entered."""
        return self._seats.get(seat.room.channel) is seat

    def counts(self) -> bool:
        """Whether some room counts its presence: it pays there, is paid, or the room waits for it."""
        return any(
            seat.audience is Audience.MEMBERS and seat.room.counts_presence_of(self.user_id, self.identity.is_operator)
            for seat in self.live_seats().values()
        )

    def sits_in(self, fanout: Fanout) -> bool:
        """It has a seat in the room, and in the audience, that this fan-out serves."""
        return any(seat.fanout is fanout for seat in self._seats.values())

    def give_up(self, seat: Seat) -> None:
        """It was not let in; but who was in before, and asked once more, still is."""
        if self.has(seat) and not seat.fanout.knows(self.member_id):
            del self._seats[seat.room.channel]

    def leave(self, channel: str) -> None:
        seat = self._seats.pop(channel, None)
        if seat is not None:
            seat.fanout.remove(self.member_id)
            seat.room.inbox.deliver(inputs.Left(self.member_id))

    def leave_all(self) -> None:
        for channel in list(self._seats):
            self.leave(channel)

    def backlogs(self, points: list[ResumePoint]) -> list[Backlog]:
        """What was missed, for each room where all of it is still known; the session leaves every other room."""
        known = []
        for point in {point.channel: point for point in points}.values():
            seat = self._seats.get(point.channel)
            events = None if seat is None else seat.fanout.missed(self.member_id, point.epoch, point.seq)
            if seat is not None and events is not None:
                known.append(Backlog(point.channel, seat, events))
        for channel in self._seats.keys() - {backlog.channel for backlog in known}:
            self.leave(channel)
        return known

    def resume(self, backlogs: list[Backlog]) -> None:
        """Catch up in each of these rooms, and go on there."""
        for backlog in backlogs:
            backlog.seat.fanout.resume(self.member_id, backlog.events)
        self.note_silence(False)
