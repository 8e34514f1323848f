"""Every command and event on the websocket, as tagged structs; `type` is the tag, keys are camelCase (CONTRACT §7)."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

MAX_REF = 64


class Command(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """From a client. `ref` comes back with the answer."""

    ref: str | None = None


class ResumePoint(msgspec.Struct, frozen=True, rename="camel"):
    channel: str
    epoch: int
    seq: int


class Resume(msgspec.Struct, frozen=True, rename="camel"):
    session_id: UUID
    channels: list[ResumePoint] = []


class SessionOpen(Command, frozen=True, kw_only=True, tag="session:open"):
    token: str
    resume: Resume | None = None


class TokenRefresh(Command, frozen=True, kw_only=True, tag="token:refresh"):
    token: str


class RoomJoin(Command, frozen=True, kw_only=True, tag="room:join"):
    channel: str


class RoomLeave(Command, frozen=True, kw_only=True, tag="room:leave"):
    channel: str


class CallCommand(Command, frozen=True, kw_only=True):
    """A command about one call; who may give it is the call's to say."""

    call_id: UUID


class CallAccept(CallCommand, frozen=True, kw_only=True, tag="call:accept"):
    pass


class CallDecline(CallCommand, frozen=True, kw_only=True, tag="call:decline"):
    pass


class CallCancel(CallCommand, frozen=True, kw_only=True, tag="call:cancel"):
    pass


class CallPause(CallCommand, frozen=True, kw_only=True, tag="call:pause"):
    pass


class CallResume(CallCommand, frozen=True, kw_only=True, tag="call:resume"):
    pass


class CallEnd(CallCommand, frozen=True, kw_only=True, tag="call:end"):
    pass


class Ping(Command, frozen=True, kw_only=True, tag="ping"):
    pass


AnyCommand = (
    SessionOpen
    | TokenRefresh
    | RoomJoin
    | RoomLeave
    | CallAccept
    | CallDecline
    | CallCancel
    | CallPause
    | CallResume
    | CallEnd
    | Ping
)


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """From the server to one connection or one user: private, without a number."""


class Ok(Event, frozen=True, kw_only=True, tag="ok"):
    ref: str | None = None


class Pong(Event, frozen=True, kw_only=True, tag="pong"):
    ref: str | None = None


class SessionReady(Event, frozen=True, kw_only=True, tag="session:ready"):
    ref: str | UnsetType = UNSET
    session_id: UUID
    user_id: UUID
    heartbeat_seconds: float
    token_expires_at: str
    resumed: bool
    missed: list[dict[str, Any]]
    lost: list[str]


class TokenExpiring(Event, frozen=True, kw_only=True, tag="token:expiring"):
    expires_at: str


class RoomJoined(Event, frozen=True, kw_only=True, tag="room:joined"):
    """The answer to a join, and, after the room was restarted, the news of its new epoch."""

    ref: str | UnsetType = UNSET
    channel: str
    room: dict[str, Any]
    member_id: UUID
    members: list[Any]
    history: list[Any]
    epoch: int
    seq: int
    you: dict[str, Any]
    ice_servers: list[Any]


class Person(msgspec.Struct, frozen=True, rename="camel"):
    user_id: UUID
    display_name: str


class CallRinging(Event, frozen=True, kw_only=True, tag="call:ringing"):
    call_id: UUID
    channel: str
    fan: Person
    creator: Person
    rate_tokens_per_min: int
    expires_at: str


class Invitation(Event, frozen=True, kw_only=True):
    """What became of the ringing, to all sessions of both parties."""

    call_id: UUID
    channel: str


class CallAccepted(Invitation, frozen=True, kw_only=True, tag="call:accepted"):
    pass


class CallDeclined(Invitation, frozen=True, kw_only=True, tag="call:declined"):
    pass


class CallMissed(Invitation, frozen=True, kw_only=True, tag="call:missed"):
    pass


class CallCancelled(Invitation, frozen=True, kw_only=True, tag="call:cancelled"):
    pass


class WalletChanged(Event, frozen=True, kw_only=True, tag="wallet:changed"):
    balance: int
    cause: str
    tokens: int  # signed: what this wallet gained or lost
    ref: dict[str, Any]
    seconds_left: float | UnsetType = UNSET
    earned: int | UnsetType = UNSET


class BalanceLow(Event, frozen=True, kw_only=True, tag="balance:low"):
    channel: str
    balance: int
    required: int
    seconds_left: float
    ends_at: str | None


class BalanceOk(Event, frozen=True, kw_only=True, tag="balance:ok"):
    channel: str
    balance: int
    required: int
    seconds_left: float
    ends_at: str | None = None


class SequencedEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """To every member of a room, byte-identical; `seq` has no holes per channel and epoch."""

    channel: str
    seq: int
    at: str


class CallStateChanged(SequencedEvent, frozen=True, kw_only=True):
    call_id: UUID
    holds: list[str]
    paid_through: str | None


class CallStarted(CallStateChanged, frozen=True, kw_only=True, tag="call:started"):
    pass


class CallPaused(CallStateChanged, frozen=True, kw_only=True, tag="call:paused"):
    pass


class CallResumed(CallStateChanged, frozen=True, kw_only=True, tag="call:resumed"):
    pass


class BlockCharged(SequencedEvent, frozen=True, kw_only=True, tag="block:charged"):
    call_id: UUID
    block_no: int
    tokens: int
    paid_through: str | None
    next_at: str | None


class CallEnded(SequencedEvent, frozen=True, kw_only=True, tag="call:ended"):
    call_id: UUID
    reason: str
    blocks: int
    tokens: int
    active_seconds: float


class MemberJoined(SequencedEvent, frozen=True, kw_only=True, tag="member:joined"):
    member_id: UUID
    user_id: UUID


class MemberLeft(SequencedEvent, frozen=True, kw_only=True, tag="member:left"):
    member_id: UUID
    user_id: UUID


class RoomClosed(SequencedEvent, frozen=True, kw_only=True, tag="room:closed"):
    reason: str | None = None
