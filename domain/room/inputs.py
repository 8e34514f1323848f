"""What reaches a room. Each is stamped with its arrival by whoever brings it."""

from typing import Any, Protocol
from uuid import UUID

import msgspec

from domain.billing.meter import Funds, StoredMeter
from domain.billing.posting import Posting, Receipt
from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol.commands import CallCommand, MemberCommand
from domain.protocol.events import PastTip, Person


class Reply(Protocol):
    """Where an answer goes: a websocket command with its `ref`, or a waiting HTTP request. Rules only pass it on."""

    def deliver(self, result: Any) -> None: ...


class Elapsed(msgspec.Struct, frozen=True, gc=False):
    """Nothing but time: a deadline was reached."""


class CallAction(msgspec.Struct, frozen=True):
    """A user gave a command."""

    user_id: UserId
    command: CallCommand
    reply: Reply


class RoomAction(msgspec.Struct, frozen=True):
    """A user says or gives something in the room, over one of its members, or over HTTP."""

    person: Person
    member_id: MemberId | None
    command: MemberCommand
    new_id: UUID  # of what comes of it
    reply: Reply
    is_operator: bool = False


class Joined(msgspec.Struct, frozen=True):
    """A connection asks to be a member."""

    member_id: MemberId
    user_id: UserId
    reply: Reply
    is_operator: bool = False
    viewing: StoredMeter | None = None  # what the books say of this payer's blocks in a metered stream


class RightsChanged(msgspec.Struct, frozen=True):
    """The latest token of a connection's user makes it an operator's connection, or no longer does.

    `viewing`: of somebody who would pay in a metered stream, what the database says of their blocks; None if unknown.
    """

    member_id: MemberId
    is_operator: bool
    viewing: StoredMeter | None = None


class OverlayJoined(msgspec.Struct, frozen=True):
    """An overlay of this creator's asks to hear of tips; `missed` are those that the books have, as of `asked_at`."""

    member_id: MemberId
    creator_id: UserId
    missed: tuple[PastTip, ...]
    asked_at: Instant
    reply: Reply


class Left(msgspec.Struct, frozen=True):
    """A connection left, or is gone for good."""

    member_id: MemberId


class ConnectionSilent(msgspec.Struct, frozen=True):
    """A connection fell silent for longer than `presence_seconds`, or was lost.

    `last_received_at` is when its last byte came in, by the room's clock; None: as the input arrived.
    """

    member_id: MemberId
    last_received_at: Instant | None = None


class ConnectionResponsive(msgspec.Struct, frozen=True):
    """A silent connection was heard again."""

    member_id: MemberId


class OwnerConnected(msgspec.Struct, frozen=True):
    """A session of the stream's owner was opened or resumed, whether or not it is a member: tell it of the viewers."""

    member_id: MemberId


class Stalled(msgspec.Struct, frozen=True, gc=False):
    """The server did nothing from the moment at which this input is stamped until `until`: nobody could be heard.

    `all_silent`: the stall lasted for `presence_seconds` or longer, so every member counts as silent since it began.
    Members that are heard afterwards are reported with `ConnectionResponsive`.
    """

    until: Instant
    all_silent: bool


class Receipts(msgspec.Struct, frozen=True, gc=False):
    """What came of postings, in the order in which they were posted; every posting gets one receipt."""

    receipts: tuple[Receipt, ...]


class BlockRefunded(msgspec.Struct, frozen=True):
    """A block of the room was given back to its payer, or a part of it."""

    refund: Posting


class GivenBack(msgspec.Struct, frozen=True):
    """What can be given back of the blocks for which the room asked that is given back."""


class Saved(msgspec.Struct, frozen=True):
    """A record is stored."""

    record: Any


class Fenced(msgspec.Struct, frozen=True):
    """A record was not stored, since the room has a later owner."""


class FundsChanged(msgspec.Struct, frozen=True):
    """A wallet's balance changed, by whatever means."""

    user_id: UserId
    funds: Funds


class TicketSold(msgspec.Struct, frozen=True):
    """A user has bought a ticket to the stream."""

    user_id: UserId
    ticket_id: UUID


class TicketRefunded(msgspec.Struct, frozen=True):
    """A user was given something back for what has this id, be it their ticket."""

    user_id: UserId
    ticket_id: UUID


class UserBlocked(msgspec.Struct, frozen=True):
    """A creator has blocked a user, or allowed them again; in a call, one party has blocked the other."""

    user_id: UserId
    blocked: bool = True


class MessagesHidden(msgspec.Struct, frozen=True):
    """Nobody who joins from here on is shown what this user wrote."""

    user_id: UserId


class SettleDueBlocks(msgspec.Struct, frozen=True):
    """Answer once every due block has its receipt."""

    reply: Reply


class EndNow(msgspec.Struct, frozen=True):
    """The server, or an operator, ends it."""

    reason: str


class Drain(msgspec.Struct, frozen=True):
    """The server shuts down: stop the clocks and store what is to go on from."""


Request = CallAction | RoomAction | Joined | OverlayJoined | SettleDueBlocks  # who sent it waits for an answer

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
