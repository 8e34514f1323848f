"""The data of a stream: the facts that never change, the record that is stored, and the view that clients see."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec

from domain.billing.block import BlockPrice
from domain.billing.meter import SetBack
from domain.ids import RoomId, UserId
from domain.instant import Duration, Instant, rfc3339, rfc3339_or_none
from domain.protocol.events import HistoryTip, Person

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
StreamType = Literal["public", "private"]
StreamStatus = Literal["scheduled", "live", "ended"]


class StreamRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The durations and limits of streams (contract.md, Metered streams and Tickets): the settings `[streams]`."""

    members: Annotated[int, msgspec.Meta(ge=2, le=1_000_000)] = 10_000
    connections_per_viewer: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4
    connections_per_payer: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2
    drop_grace_seconds: Seconds = 10
    payee_end_seconds: Seconds = 10
    silenced: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    viewer_events_per_second: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 200
    viewer_events_burst: Annotated[int, msgspec.Meta(ge=2, le=5000)] = 500
    stream_drop_limit_seconds: Seconds = 300
    storage_grace_seconds: Seconds = 60
    ticket_release_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 300
    stream_expiry_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7


class StreamFacts(msgspec.Struct, frozen=True):
    """The facts that never change after the stream was created; `price` is that of a block in a metered stream."""

    id: RoomId
    channel: str
    creator: Person
    title: str
    type: StreamType
    ticket_price_tokens: int | None
    price: BlockPrice | None
    created_at: Instant

    @property
    def owner_id(self) -> UserId:
        """The user who streams and is paid."""
        return UserId(self.creator.user_id)


class StreamRecord(msgspec.Struct, frozen=True):
    """The state that changes, as it is stored: muted and removed users, and active time of clocks that have stopped."""

    status: StreamStatus = "scheduled"
    started_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: str | None = None
    muted: tuple[UserId, ...] = ()
    removed: tuple[UserId, ...] = ()
    viewing_sessions: tuple[tuple[UserId, Duration], ...] = ()  # payer and active time of clocks stopped since
    set_backs: tuple[SetBack, ...] = ()  # of the same clocks, in the same order
    present: Duration = 0  # how long the creator was live and present, in total
    released: bool = False  # tickets are credited to the creator; the release itself stores this


class StreamHistory(NamedTuple):
    """Rows of the database for a stream that goes live or restarts: tickets, blocks, income and tips."""

    tickets: Mapping[UserId, UUID] = {}  # reason: nobody writes to it
    blocked: Iterable[UserId] = ()
    earned: int = 0  # tokens of all blocks so far
    tips: Iterable[HistoryTip] = ()


class StreamView(msgspec.Struct, frozen=True, rename="camel"):
    """A stream as anybody may see it, from the live room or from the database; `viewers` counts connections."""

    id: RoomId
    channel: str
    creator: Person
    title: str
    type: StreamType
    ticket_price_tokens: int | None
    rate_tokens_per_min: int | None
    block_seconds: int | None
    status: StreamStatus
    viewers: int
    created_at: str
    started_at: str | None
    ended_at: str | None
    end_reason: str | None


def view_stream(facts: StreamFacts, record: StreamRecord, viewers: int = 0) -> StreamView:
    """Build the view; live rooms and stored rows have the same shape."""
    price = facts.price
    return StreamView(
        id=facts.id,
        channel=facts.channel,
        creator=facts.creator,
        title=facts.title,
        type=facts.type,
        ticket_price_tokens=facts.ticket_price_tokens,
        rate_tokens_per_min=None if price is None else price.rate_tokens_per_min,
        block_seconds=None if price is None else price.block_seconds,
        status=record.status,
        viewers=viewers,
        created_at=rfc3339(facts.created_at),
        started_at=rfc3339_or_none(record.started_at),
        ended_at=rfc3339_or_none(record.ended_at),
        end_reason=record.end_reason,
    )
