"""The parts of messages that structs leave open, because they are put together elsewhere."""

from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from domain.call.record import CallView
from domain.stream.record import StreamView


class SentTip(msgspec.Struct, frozen=True, rename="camel"):
    """A tip that the books have."""

    tip_id: UUID
    to_creator_id: UUID
    amount_tokens: int
    message: str | None
    channel: str | None


class Balance(msgspec.Struct, frozen=True):
    """The giver's wallet, right after the tip."""

    balance: int


class IceServer(msgspec.Struct, frozen=True, kw_only=True):
    """As `RTCPeerConnection` takes it; the password is the user's own, and good for a while."""

    urls: list[str]
    username: str | UnsetType = UNSET
    credential: str | UnsetType = UNSET


class Missed(msgspec.Struct, frozen=True):
    """How many events of a room follow, that were missed."""

    channel: str
    count: int


class CallRoom(CallView, frozen=True, rename="camel", tag_field="kind", tag="call"):
    """A call's room: the call as it is now."""


class StreamRoom(StreamView, frozen=True, rename="camel", tag_field="kind", tag="stream"):
    """A stream's room: the stream as it is now."""


class You(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a connection is in the room; how long the money lasts is told to who pays alone."""

    role: Literal["fan", "creator", "owner", "operator", "viewer", "overlay"]
    paid_through: str | UnsetType | None = UNSET
    balance: int | UnsetType = UNSET
    seconds_left: float | UnsetType = UNSET
