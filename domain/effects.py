"""What a room asks of the world, to be carried out in order by the room's task."""

from typing import Any

import msgspec

from domain.ids import MemberId, UserId
from domain.inputs import Reply
from domain.messages import SequencedEvent
from domain.posting import Posting
from domain.refusals import Refusal


class Post(msgspec.Struct, frozen=True):
    """Commit this posting, after those posted before it."""

    posting: Posting


class Withdraw(msgspec.Struct, frozen=True):
    """Forget the postings that were not handed to the books yet; each gets a receipt that says so."""


class Save(msgspec.Struct, frozen=True):
    """Store this record once the postings before it are in; a later record replaces an earlier one."""

    record: Any


class Publish(msgspec.Struct, frozen=True):
    """To every member of the room, in the order of its `seq`."""

    event: SequencedEvent


class Tell(msgspec.Struct, frozen=True):
    """To all sessions of one user, in the room or not."""

    user_id: UserId
    event: msgspec.Struct


class Admit(msgspec.Struct, frozen=True):
    """A connection is a member from here on; `event` answers its join, before any later event of the room."""

    member_id: MemberId
    reply: Reply
    event: msgspec.Struct


class Remove(msgspec.Struct, frozen=True):
    """A connection is a member no longer."""

    member_id: MemberId


class Answer(msgspec.Struct, frozen=True):
    """What came of a command: the fields of its `ok`, or a refusal."""

    reply: Reply
    result: dict[str, Any] | Refusal


class Close(msgspec.Struct, frozen=True):
    """The room is over: nobody is a member any more."""


Effect = Post | Withdraw | Save | Publish | Tell | Admit | Remove | Answer | Close
