"""The events of the websocket as tagged structs; `type` is the tag, keys are camelCase (contract.md, Messages)."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """An event to one connection or one user: private, and without a sequence number."""


class Ok(Event, frozen=True, kw_only=True, tag="ok"):
    """A command succeeded; the other fields are its result."""

    ref: str | UnsetType = UNSET


class Pong(Event, frozen=True, kw_only=True, tag="pong"):
    """The answer to a `ping`."""

    ref: str | UnsetType = UNSET


class SessionReady(Event, frozen=True, kw_only=True, tag="session:ready"):
    """The session is open. Missed events follow in order; rooms in `lost` must be joined again."""

    ref: str | UnsetType = UNSET
    session_id: UUID
    user_id: UUID
    heartbeat_seconds: float
    token_expires_at: str
    resumed: bool
    missed: list[dict[str, Any]]
    lost: list[str]


class TokenExpiring(Event, frozen=True, kw_only=True, tag="token:expiring"):
    """The token expires within a minute; without `token:refresh` the connection is then closed."""

    expires_at: str


class RoomJoined(Event, frozen=True, kw_only=True, tag="room:joined"):
    """The answer to a join; also sent after the room was restarted, with its new epoch."""

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
    """A user as others in the room see them."""

    user_id: UUID
    display_name: str


class CallRinging(Event, frozen=True, kw_only=True, tag="call:ringing"):
    """A fan calls a creator: to all sessions of both parties, and to those that open while it rings."""

    call_id: UUID
    channel: str
    fan: Person
    creator: Person
    rate_tokens_per_min: int
    expires_at: str


class Invitation(Event, frozen=True, kw_only=True):
    """The outcome of the ringing, to all sessions of both parties."""

    call_id: UUID
    channel: str


class CallAccepted(Invitation, frozen=True, kw_only=True, tag="call:accepted"):
    """The creator accepted the call on one device; the others stop ringing."""


class CallDeclined(Invitation, frozen=True, kw_only=True, tag="call:declined"):
    """The creator declined the call."""


class CallMissed(Invitation, frozen=True, kw_only=True, tag="call:missed"):
    """Nobody accepted the call before `expiresAt`."""


class CallCancelled(Invitation, frozen=True, kw_only=True, tag="call:cancelled"):
    """The fan stopped ringing."""


class CallEndedOutside(Event, frozen=True, kw_only=True, tag="call:ended"):
    """The call has ended: to sessions of its parties that are not in its room; members get the room's event.

    An end with an event of its own (`call:declined`, `call:missed`, `call:cancelled`) is sent as that event only.
    Each is sent again after a resume, if it may have been lost with the previous connection.
    """

    call_id: UUID
    channel: str
    reason: str
    blocks: int
    tokens: int
    active_seconds: float


class WalletChanged(Event, frozen=True, kw_only=True, tag="wallet:changed"):
    """Tokens have moved and are booked; `tokens` is what this wallet gained, negative if it lost them."""

    balance: int
    cause: str
    tokens: int  # signed: what this wallet gained or lost
    ref: dict[str, Any]
    seconds_left: float | UnsetType = UNSET
    earned: int | UnsetType = UNSET


class BalanceLow(Event, frozen=True, kw_only=True, tag="balance:low"):
    """The next block cannot be paid; the call ends at `endsAt` without a top-up, null while its clock is stopped."""

    channel: str
    balance: int
    required: int
    seconds_left: float
    ends_at: str | None


class BalanceOk(Event, frozen=True, kw_only=True, tag="balance:ok"):
    """The next block can be paid again."""

    channel: str
    balance: int
    required: int
    seconds_left: float
    ends_at: str | None = None


class ViewerBlockCharged(Event, frozen=True, kw_only=True, tag="block:charged"):
    """A block of one viewer of a metered stream was paid and booked: to that viewer and to the stream's owner.

    The event of a call with the same `type` has a `callId` and goes to the room; this one has a `streamId`.
    """

    stream_id: UUID
    user_id: UUID  # the payer
    block_no: int
    tokens: int
    paid_through: str | None
    next_at: str | None


class ViewerChanged(Event, frozen=True, kw_only=True):
    """One connection of a viewer changed: to the sessions of a metered stream's owner, whatever the size of the room.

    A session of the owner that opens or is resumed receives all present viewers. Of quick changes back and forth only
    the last one is sent.
    """

    channel: str
    member_id: UUID
    user_id: UUID


class ViewerJoined(ViewerChanged, frozen=True, kw_only=True, tag="viewer:joined"):
    """A viewer's connection joined a metered stream of yours; its clock runs while you are present."""


class ViewerPaused(ViewerChanged, frozen=True, kw_only=True, tag="viewer:paused"):
    """The viewer's clock is stopped, since they are silent: send them no media. Signals are `NOT_PRESENT`."""


class ViewerResumed(ViewerChanged, frozen=True, kw_only=True, tag="viewer:resumed"):
    """The viewer is back, and their clock runs while you are present."""


class ViewerLeft(ViewerChanged, frozen=True, kw_only=True, tag="viewer:left"):
    """The viewer's connection is not in the stream any more."""


class AccessRevoked(Event, frozen=True, kw_only=True, tag="access:revoked"):
    """A user is evicted from a room: `insufficient_funds`, `ticket_refunded`, `banned`, `removed`, `token_expired`."""

    channel: str
    reason: str


class SignalNew(Event, frozen=True, kw_only=True, tag="signal:new"):
    """Data that another member of the room sent to this connection only."""

    channel: str
    from_: UUID = msgspec.field(name="from")
    data: Any


class SequencedEvent(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    """An event to every member of a room, byte-identical; `seq` has no gaps per channel and epoch."""

    channel: str
    seq: int
    at: str


class CallStateChanged(SequencedEvent, frozen=True, kw_only=True):
    """The reasons for which the clock is stopped, and until when the paid blocks last; null while it is stopped."""

    call_id: UUID
    holds: list[str]
    paid_through: str | None


class CallStarted(CallStateChanged, frozen=True, kw_only=True, tag="call:started"):
    """Both parties are present and the first block is paid."""


class CallPaused(CallStateChanged, frozen=True, kw_only=True, tag="call:paused"):
    """The clock is stopped, for the reasons in `holds`; clients stop sending media."""


class CallResumed(CallStateChanged, frozen=True, kw_only=True, tag="call:resumed"):
    """No hold is left and the clock runs again; the rest of the paid block was kept."""


class CallBlockCharged(SequencedEvent, frozen=True, kw_only=True, tag="block:charged"):
    """A block of a call was paid and booked; to both parties.

    The event of a metered stream with the same `type` has a `streamId` and is private; this one has a `callId`.
    """

    call_id: UUID
    block_no: int
    tokens: int
    paid_through: str | None
    next_at: str | None


class CallEnded(SequencedEvent, frozen=True, kw_only=True, tag="call:ended"):
    """The room's last event: why the call ended, and what was paid in total."""

    call_id: UUID
    reason: str
    blocks: int
    tokens: int
    active_seconds: float


class MemberJoined(SequencedEvent, frozen=True, kw_only=True, tag="member:joined"):
    """A connection joined the room."""

    member_id: UUID
    user_id: UUID


class MemberLeft(SequencedEvent, frozen=True, kw_only=True, tag="member:left"):
    """A connection left the room, or its session ended."""

    member_id: UUID
    user_id: UUID


class TipNew(SequencedEvent, frozen=True, kw_only=True, tag="tip:new"):
    """A user gave tokens to the room's creator, and they are booked; a muted user's message is left out."""

    tip_id: UUID
    from_: Person = msgspec.field(name="from")
    amount_tokens: int
    message: str | None


class ChatNew(SequencedEvent, frozen=True, kw_only=True, tag="chat:new"):
    """A user sent a chat message. It is plain text: clients insert it as such."""

    from_: Person = msgspec.field(name="from")
    text: str


class RoomPresence(SequencedEvent, frozen=True, kw_only=True, tag="room:presence"):
    """The number of connections in a room that is too large to publish each join; at most once a second."""

    count: int


class StreamLive(SequencedEvent, frozen=True, kw_only=True, tag="stream:live"):
    """The stream has started: the first event of its room."""


class StreamEnded(SequencedEvent, frozen=True, kw_only=True, tag="stream:ended"):
    """The stream has ended; no further block falls due."""

    reason: str


class HistoryTip(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="tip:new"):
    """A tip from the history of the room, to a member who joins."""

    at: str
    tip_id: UUID
    from_: Person = msgspec.field(name="from")
    amount_tokens: int
    message: str | None


class HistoryChat(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type", tag="chat:new"):
    """A chat message from the history of the room, to a member who joins."""

    at: str
    from_: Person = msgspec.field(name="from")
    text: str


class RoomClosed(SequencedEvent, frozen=True, kw_only=True, tag="room:closed"):
    """The room has no members any more. With reason `moved` another server has it: join again."""

    reason: str | None = None
