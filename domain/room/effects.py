"""What a room asks of the world, to be carried out in order by the room's task."""

from enum import Enum
from typing import Any

import msgspec

from domain.billing.posting import Posting
from domain.ids import MemberId, PostingKey, UserId
from domain.protocol.events import SequencedEvent
from domain.refusals import Refusal
from domain.room.inputs import Reply


class Audience(Enum):
    """Who hears of an event; each audience has numbers of its own."""

    MEMBERS = "members"
    OVERLAYS = "overlays"


class Post(msgspec.Struct, frozen=True):
    """Commit this posting, after those posted before it."""

    posting: Posting


class Withdraw(msgspec.Struct, frozen=True):
    """Forget the postings that were not handed to the books yet; each gets a receipt that says so.

    With a payer, only that payer's blocks.
    """

    payer: UserId | None = None


class Refund(msgspec.Struct, frozen=True):
    """Give back what this user paid for a ticket to the room, if they hold one."""

    user_id: UserId


class GiveBack(msgspec.Struct, frozen=True):
    """Refund these blocks of the room to their payer, once those of them that are under way are booked."""

    blocks: tuple[PostingKey, ...]


class Release(msgspec.Struct, frozen=True):
    """Credit the stream's tickets to its creator from here on: those in escrow, and later ones as they are sold."""


class Save(msgspec.Struct, frozen=True):
    """Store this record once the postings before it are in; a later record replaces an earlier one."""

    record: Any


class Publish(msgspec.Struct, frozen=True):
    """To everybody in one audience of the room, in the order of its `seq`."""

    event: SequencedEvent
    audience: Audience = Audience.MEMBERS


class Send(msgspec.Struct, frozen=True):
    """To all sessions of one user, in the room or not; those named in `but` are left out.

    With an event that tells a balance, `n` is the wallet's posting number after which it was so; 0 with others.
    """

    user_id: UserId
    event: msgspec.Struct
    n: int = 0
    but: frozenset[MemberId] = frozenset()


class SendToMember(msgspec.Struct, frozen=True):
    """To one connection in the room."""

    member_id: MemberId
    event: msgspec.Struct


class Admit(msgspec.Struct, frozen=True):
    """A connection is in this audience from here on; `event` answers its join, before any later event of the room."""

    member_id: MemberId
    reply: Reply
    event: msgspec.Struct
    audience: Audience = Audience.MEMBERS


class Remove(msgspec.Struct, frozen=True):
    """A connection is in this audience no longer."""

    member_id: MemberId
    audience: Audience = Audience.MEMBERS


class Disconnect(msgspec.Struct, frozen=True):
    """A silent connection has given its place to a newer one of its user: close it. A live client comes back."""

    member_id: MemberId


class Answer(msgspec.Struct, frozen=True):
    """What came of a command: the fields of its `ok`, or a refusal."""

    reply: Reply
    result: dict[str, Any] | Refusal


class Close(msgspec.Struct, frozen=True):
    """The room is over: nobody is in it any more. Where its rules did not end it, `moved` tells its members so."""

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
