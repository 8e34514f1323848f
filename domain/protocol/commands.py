"""Every command on the websocket, as tagged structs; `type` is the tag, keys are camelCase (CONTRACT §7)."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from domain.amounts import MAX_POSTING_TOKENS

MAX_REF = 64
MAX_TEXT = 500  # characters of a tip's message, and of a line of chat: a few lines on a phone
MAX_KEY = 255  # characters of an idempotency key, as over HTTP
MAX_CHANNEL = 64  # characters; ours have 22
MAX_TOKEN = 8 * 1024  # characters; a JWT with many claims has some 2,000
MAX_RESUMED = 1000  # rooms: as many as a session may be in by any setting

# In Python `$` also matches before a newline at the end; the lookahead refuses that one too.
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY, pattern=r"^[ -~]*(?!\n)$")]
Ref = Annotated[str, msgspec.Meta(max_length=MAX_REF, pattern=r"^[^\u0000-\u001f\u007f]*(?!\n)$")]
Channel = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHANNEL, pattern=r"^[A-Za-z0-9_-]*(?!\n)$")]
Token = Annotated[str, msgspec.Meta(max_length=MAX_TOKEN, pattern=r"^[!-~]*(?!\n)$")]
Amount = Annotated[int, msgspec.Meta(ge=1, le=MAX_POSTING_TOKENS)]


class Command(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """From a client. `ref` comes back with the answer."""

    ref: Ref | None = None


class ResumePoint(msgspec.Struct, frozen=True, rename="camel"):
    """The last event of a room that the client has read."""

    channel: Channel
    epoch: int
    seq: int


class Resume(msgspec.Struct, frozen=True, rename="camel"):
    """The session to go on with, and how far the client has read in each of its rooms."""

    session_id: UUID
    channels: Annotated[list[ResumePoint], msgspec.Meta(max_length=MAX_RESUMED)] = []


class SessionOpen(Command, frozen=True, kw_only=True, tag="session:open"):
    """The first message, unless the handshake carried a token; with `resume` a lost session goes on."""

    token: Token
    resume: Resume | None = None


class TokenRefresh(Command, frozen=True, kw_only=True, tag="token:refresh"):
    """A new token of the same user's, before the old one expires."""

    token: Token


class RoomCommand(Command, frozen=True, kw_only=True):
    """A command about one room."""

    channel: Channel


class RoomJoin(RoomCommand, frozen=True, kw_only=True, tag="room:join"):
    """Become a member of a room, or an overlay of it, which hears of tips alone and may have missed some.

    Whoever may not know of a room is told that there is none.
    """

    as_: Literal["member", "overlay"] = msgspec.field(default="member", name="as")
    since_tip_id: UUID | None = None


class RoomLeave(RoomCommand, frozen=True, kw_only=True, tag="room:leave"):
    """Be a member no longer. A party's last connection that leaves a call is absent, and has not hung up."""


class TipSend(RoomCommand, frozen=True, kw_only=True, tag="tip:send"):
    """Give tokens to the creator of the room. The same key again returns the first result and moves nothing."""

    amount_tokens: Amount
    message: Text | None = None
    key: Key


class ChatSend(RoomCommand, frozen=True, kw_only=True, tag="chat:send"):
    """Say something to the room."""

    text: Text


class SignalSend(RoomCommand, frozen=True, kw_only=True, tag="signal:send"):
    """Pass something on to one other member, for WebRTC; what it is, is between the two."""

    to: UUID
    data: Any


class MemberMute(RoomCommand, frozen=True, kw_only=True, tag="member:mute"):
    """The room's owner lets a user say nothing more here; their tips stand, without words."""

    user_id: UUID


class MemberRemove(RoomCommand, frozen=True, kw_only=True, tag="member:remove"):
    """The room's owner puts a user out for as long as the room lives; a ticket is refunded."""

    user_id: UUID


class CallCommand(Command, frozen=True, kw_only=True):
    """A command about one call; who may give it is the call's to say."""

    call_id: UUID


class CallAccept(CallCommand, frozen=True, kw_only=True, tag="call:accept"):
    """The creator takes the call; both parties then join its room."""


class CallDecline(CallCommand, frozen=True, kw_only=True, tag="call:decline"):
    """The creator does not take the call."""


class CallCancel(CallCommand, frozen=True, kw_only=True, tag="call:cancel"):
    """The fan stops ringing."""


class CallPause(CallCommand, frozen=True, kw_only=True, tag="call:pause"):
    """Either party stops the clock; nothing is charged until whoever paused resumes."""


class CallResume(CallCommand, frozen=True, kw_only=True, tag="call:resume"):
    """Lift a pause of one's own."""


class CallEnd(CallCommand, frozen=True, kw_only=True, tag="call:end"):
    """Either party hangs up; while it rings, the fan cancels by it and the creator declines."""


class Ping(Command, frozen=True, kw_only=True, tag="ping"):
    """Ask for a sign of life, where websocket pings are out of the client's reach."""


MemberCommand = TipSend | ChatSend | SignalSend | MemberMute | MemberRemove

AnyCommand = (
    SessionOpen
    | TokenRefresh
    | RoomJoin
    | RoomLeave
    | TipSend
    | ChatSend
    | SignalSend
    | MemberMute
    | MemberRemove
    | CallAccept
    | CallDecline
    | CallCancel
    | CallPause
    | CallResume
    | CallEnd
    | Ping
)
