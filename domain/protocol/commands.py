"""The commands of the websocket as tagged structs; `type` is the tag, keys are camelCase (contract.md, Messages)."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from domain.amounts import MAX_POSTING_TOKENS

MAX_REF = 64
MAX_TEXT = 500  # characters of a tip's message and of a chat message: a few lines on a phone
MAX_KEY = 255  # characters of an idempotency key, as over HTTP
MAX_CHANNEL = 64  # characters; ours have 22
MAX_TOKEN = 8 * 1024  # characters; a JWT with many claims has some 2,000
MAX_RESUMED = 1000  # rooms: the most that any setting allows a session to be in

# In Python `$` also matches before a final newline; the lookahead refuses that one too.
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_KEY, pattern=r"^[ -~]*(?!\n)$")]
Ref = Annotated[str, msgspec.Meta(max_length=MAX_REF, pattern=r"^[^\u0000-\u001f\u007f]*(?!\n)$")]
Channel = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHANNEL, pattern=r"^[A-Za-z0-9_-]*(?!\n)$")]
Token = Annotated[str, msgspec.Meta(max_length=MAX_TOKEN, pattern=r"^[!-~]*(?!\n)$")]
Amount = Annotated[int, msgspec.Meta(ge=1, le=MAX_POSTING_TOKENS)]


class Command(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """A command of a client. `ref` comes back with the answer."""

    ref: Ref | None = None


class ResumePoint(msgspec.Struct, frozen=True, rename="camel"):
    """The last event of a room that the client has received."""

    channel: Channel
    epoch: int
    seq: int


class Resume(msgspec.Struct, frozen=True, rename="camel"):
    """The session to resume, and the last event that the client has received of each of its rooms."""

    session_id: UUID
    channels: Annotated[list[ResumePoint], msgspec.Meta(max_length=MAX_RESUMED)] = []


class SessionOpen(Command, frozen=True, kw_only=True, tag="session:open"):
    """The first message, unless the handshake carried a token; with `resume` a lost session continues."""

    token: Token
    resume: Resume | None = None


class TokenRefresh(Command, frozen=True, kw_only=True, tag="token:refresh"):
    """A new token of the same user, before the old one expires."""

    token: Token


class RoomCommand(Command, frozen=True, kw_only=True):
    """A command about one room."""

    channel: Channel


class RoomJoin(RoomCommand, frozen=True, kw_only=True, tag="room:join"):
    """Become a member of a room, or an overlay of it, which receives tips only, and those since `sinceTipId`.

    A user who may not know of a room gets `NOT_FOUND`.
    """

    as_: Literal["member", "overlay"] = msgspec.field(default="member", name="as")
    since_tip_id: UUID | None = None


class RoomLeave(RoomCommand, frozen=True, kw_only=True, tag="room:leave"):
    """Be a member no longer. In a call, a party whose last connection leaves is absent, and has not ended the call."""


class TipSend(RoomCommand, frozen=True, kw_only=True, tag="tip:send"):
    """Give tokens to the creator of the room. The same key again returns the first result and moves nothing."""

    amount_tokens: Amount
    message: Text | None = None
    key: Key


class ChatSend(RoomCommand, frozen=True, kw_only=True, tag="chat:send"):
    """Send a chat message to the room."""

    text: Text


class SignalSend(RoomCommand, frozen=True, kw_only=True, tag="signal:send"):
    """Send data to one other member, for WebRTC; the server does not interpret it."""

    to: UUID
    data: Any


class MemberMute(RoomCommand, frozen=True, kw_only=True, tag="member:mute"):
    """The room's owner refuses further chat of a user; their tips are still published, without the message."""

    user_id: UUID


class MemberRemove(RoomCommand, frozen=True, kw_only=True, tag="member:remove"):
    """The room's owner removes a user for as long as the room lives; a ticket is refunded."""

    user_id: UUID


class CallCommand(Command, frozen=True, kw_only=True):
    """A command about one call; the rules of the call decide which party may give it and when."""

    call_id: UUID


class CallAccept(CallCommand, frozen=True, kw_only=True, tag="call:accept"):
    """The creator accepts the call; both parties then join its room."""


class CallDecline(CallCommand, frozen=True, kw_only=True, tag="call:decline"):
    """The creator does not accept the call."""


class CallCancel(CallCommand, frozen=True, kw_only=True, tag="call:cancel"):
    """The fan stops ringing."""


class CallPause(CallCommand, frozen=True, kw_only=True, tag="call:pause"):
    """Either party stops the clock; nothing is charged until the same party resumes."""


class CallResume(CallCommand, frozen=True, kw_only=True, tag="call:resume"):
    """Lift the party's own pause."""


class CallEnd(CallCommand, frozen=True, kw_only=True, tag="call:end"):
    """Either party ends the call; while it rings, it cancels for the fan and declines for the creator."""


class Ping(Command, frozen=True, kw_only=True, tag="ping"):
    """Request a `pong`, for clients that cannot send websocket pings."""


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
