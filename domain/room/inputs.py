"""Inputs: everything that a room's rules receive. The sender stamps each with the time of its arrival."""

from typing import Any, Protocol
from uuid import UUID

import msgspec

from domain.billing.meter import Funds, StoredMeter
from domain.billing.posting import Posting, Receipt
from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol.commands import CallCommand, MemberCommand
from domain.protocol.events import HistoryTip, Person


class Reply(Protocol):
    """Receives the answer of a command: a websocket command with its `ref`, or a waiting HTTP request.

    The rules only pass it on, in an `Answer` or `Admit`.
    """

    def deliver(self, result: Any) -> None: ...


class Elapsed(msgspec.Struct, frozen=True, gc=False):
    """Nothing happened but a deadline."""


class CallAction(msgspec.Struct, frozen=True):
    """A user gives a command about a call."""

    user_id: UserId
    command: CallCommand
    reply: Reply


class RoomAction(msgspec.Struct, frozen=True):
    """A user sends chat, a tip or a signal, or moderates: as a member, or over HTTP with `member_id` None."""

    person: Person
    member_id: MemberId | None
    command: MemberCommand
    new_id: UUID  # the id of the tip or message that results
    reply: Reply
    is_operator: bool = False


class Joined(msgspec.Struct, frozen=True):
    """A connection asks to become a member."""

    member_id: MemberId
    user_id: UserId
    reply: Reply
    is_operator: bool = False
    viewing: StoredMeter | None = None  # this payer's blocks in a metered stream, from the database


class RightsChanged(msgspec.Struct, frozen=True):
    """The newest token of a connection's user makes it an operator's connection, or it is one no longer.

    `viewing`: for a user who would pay in a metered stream, their blocks in the database; None if unknown.
    """

    member_id: MemberId
    is_operator: bool
    viewing: StoredMeter | None = None


class OverlayJoined(msgspec.Struct, frozen=True):
    """An overlay of this creator asks to receive tips; `missed` are the tips in the database as of `asked_at`."""

    member_id: MemberId
    creator_id: UserId
    missed: tuple[HistoryTip, ...]
    asked_at: Instant
    reply: Reply


class Left(msgspec.Struct, frozen=True):
    """A connection left the room, or its session ended."""

    member_id: MemberId


class ConnectionSilent(msgspec.Struct, frozen=True):
    """Nothing was received from a connection for longer than `presence_seconds`, or it was lost.

    `last_received_at` is when its last byte was received, by the room's clock; None: as this input arrived.
    """

    member_id: MemberId
    last_received_at: Instant | None = None


class ConnectionResponsive(msgspec.Struct, frozen=True):
    """Bytes are received from a silent connection again."""

    member_id: MemberId


class OwnerConnected(msgspec.Struct, frozen=True):
    """A session of the stream's owner was opened or resumed, member or not: send it the present viewers."""

    member_id: MemberId


class PayerResumed(msgspec.Struct, frozen=True):
    """A session of this user was resumed: send `balance:low` or `balance:ok` if the user pays in this room."""

    user_id: UserId


class Stalled(msgspec.Struct, frozen=True, gc=False):
    """The server process was suspended or blocked from the time of this input until `until`, and received nothing.

    `all_silent`: the stall lasted for `presence_seconds` or longer, so every member counts as silent since it began.
    Members from which bytes are received afterwards are reported with `ConnectionResponsive`.
    """

    until: Instant
    all_silent: bool


class Receipts(msgspec.Struct, frozen=True, gc=False):
    """The outcomes of postings, in the order in which they were posted; every posting gets one receipt."""

    receipts: tuple[Receipt, ...]


class BlockRefunded(msgspec.Struct, frozen=True):
    """A block of the room was refunded to its payer, or a part of it."""

    refund: Posting


class GivenBack(msgspec.Struct, frozen=True):
    """The blocks of a `GiveBack` are refunded, as far as they can be."""


class Saved(msgspec.Struct, frozen=True):
    """A record is stored."""

    record: Any


class Fenced(msgspec.Struct, frozen=True):
    """A record was refused by the database, since a later epoch owns the room."""


class FundsChanged(msgspec.Struct, frozen=True):
    """A wallet's balance changed, for whatever reason."""

    user_id: UserId
    funds: Funds


class TicketSold(msgspec.Struct, frozen=True):
    """A user bought a ticket to the stream."""

    user_id: UserId
    ticket_id: UUID


class TicketRefunded(msgspec.Struct, frozen=True):
    """A payment with this id was refunded to a user; it may be their ticket."""

    user_id: UserId
    ticket_id: UUID


class UserBlocked(msgspec.Struct, frozen=True):
    """A creator blocked a user, or unblocked them; in a call, one party blocked the other."""

    user_id: UserId
    blocked: bool = True


class MessagesHidden(msgspec.Struct, frozen=True):
    """Hide what this user wrote from everybody who joins from now on."""

    user_id: UserId


class SettleDueBlocks(msgspec.Struct, frozen=True):
    """Answer once every due block has its receipt."""

    reply: Reply


class EndNow(msgspec.Struct, frozen=True):
    """The server or an operator ends the room."""

    reason: str


class Drain(msgspec.Struct, frozen=True):
    """The server shuts down: stop the clocks and store the state to continue from."""


Request = CallAction | RoomAction | Joined | OverlayJoined | SettleDueBlocks  # inputs whose sender waits for an answer

Input = (
    Elapsed
    | CallAction
    | RoomAction
    | Joined
    | RightsChanged
    | OverlayJoined
    | Left
    | ConnectionSilent
    | ConnectionResponsive
    | OwnerConnected
    | PayerResumed
    | Stalled
    | Receipts
    | BlockRefunded
    | GivenBack
    | Saved
    | Fenced
    | FundsChanged
    | TicketSold
    | TicketRefunded
    | UserBlocked
    | MessagesHidden
    | SettleDueBlocks
    | EndNow
    | Drain
)
