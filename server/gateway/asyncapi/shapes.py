"""The shapes of message fields that the structs leave open, because other modules build their values."""

from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from domain.call.record import CallView
from domain.stream.record import StreamView


class SentTip(msgspec.Struct, frozen=True, rename="camel"):
    """A tip that is in the ledger."""

    tip_id: UUID
    to_creator_id: UUID
    amount_tokens: int
    message: str | None
    channel: str | None


class Balance(msgspec.Struct, frozen=True):
    """The giver's wallet right after the tip."""

    balance: int


class IceServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server as `RTCPeerConnection` takes it; the password belongs to the user and expires."""

    urls: list[str]
    username: str | UnsetType = UNSET
    credential: str | UnsetType = UNSET


class Missed(msgspec.Struct, frozen=True):
    """The number of missed events of a room that follow."""

    channel: str
    count: int


class CallRoom(CallView, frozen=True, rename="camel", tag_field="kind", tag="call"):
    """A call's room: the call as it is now."""


class StreamRoom(StreamView, frozen=True, rename="camel", tag_field="kind", tag="stream"):
    """A stream's room: the stream as it is now."""


class You(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The role of this connection in the room; only a payer gets the figures about balance and time."""

    role: Literal["fan", "creator", "owner", "operator", "viewer", "overlay"]
    paid_through: str | UnsetType | None = UNSET
    balance: int | UnsetType = UNSET
    seconds_left: float | UnsetType = UNSET
