"""Effects: what a room's rules decide, for the room's task to carry out in order."""

from enum import Enum
from typing import Any

import msgspec

from domain.billing.posting import Posting
from domain.ids import MemberId, PostingKey, UserId
from domain.protocol.events import SequencedEvent
from domain.refusals import Refusal
from domain.room.inputs import Reply


class Audience(Enum):
    """The receivers of a published event; each audience has a sequence of its own."""

    MEMBERS = "members"
    OVERLAYS = "overlays"


class Post(msgspec.Struct, frozen=True):
    """Commit this posting, after those posted before it."""

    posting: Posting


class Withdraw(msgspec.Struct, frozen=True):
    """Drop the postings that are not sent to the ledger yet; each gets a receipt that says so.

    With `payer`, only that payer's blocks.
    """

    payer: UserId | None = None


class Refund(msgspec.Struct, frozen=True):
    """Refund the ticket that this user bought for the room, if they have one."""

    user_id: UserId


class GiveBack(msgspec.Struct, frozen=True):
    """Refund these blocks of the room to their payer, once those of them that are under way are booked."""

    blocks: tuple[PostingKey, ...]


class Release(msgspec.Struct, frozen=True):
    """Credit the stream's tickets to its creator from here on: those in escrow, and later ones as they are sold."""


class Save(msgspec.Struct, frozen=True):
    """Store this record once the postings before it are booked; a later record replaces an earlier one."""

    record: Any


class Publish(msgspec.Struct, frozen=True):
    """Send an event to everybody in one audience of the room, in the order of its `seq`."""

    event: SequencedEvent
    audience: Audience = Audience.MEMBERS


class Send(msgspec.Struct, frozen=True):
    """Send an event to all sessions of one user, members of the room or not, except those in `but`.

    With an event that contains a balance, `n` is the number of the wallet's posting that led to it; 0 with others.
    """

    user_id: UserId
    event: msgspec.Struct
    n: int = 0
    but: frozenset[MemberId] = frozenset()


class SendToMember(msgspec.Struct, frozen=True):
    """Send an event to one connection."""

    member_id: MemberId
    event: msgspec.Struct


class Admit(msgspec.Struct, frozen=True):
    """Add a connection to this audience; `event` answers its join, before any later event of the room."""

    member_id: MemberId
    reply: Reply
    event: msgspec.Struct
    audience: Audience = Audience.MEMBERS


class Remove(msgspec.Struct, frozen=True):
    """Remove a connection from this audience."""

    member_id: MemberId
    audience: Audience = Audience.MEMBERS


class Disconnect(msgspec.Struct, frozen=True):
    """Close a silent connection that a newer one of its user replaces; a client that still runs reconnects."""

    member_id: MemberId


class Answer(msgspec.Struct, frozen=True):
    """Answer a command: with the fields of its `ok`, or with a refusal."""

    reply: Reply
    result: dict[str, Any] | Refusal


class Close(msgspec.Struct, frozen=True):
    """The room is over and has no members any more.

    `moved`: its rules did not end it, another server has it; the room's task tells its members so.
    """

    moved: bool = False


Effect = (
    Post
    | Withdraw
    | Refund
    | GiveBack
    | Release
    | Save
    | Publish
    | Send
    | SendToMember
    | Admit
    | Remove
    | Disconnect
    | Answer
    | Close
)
