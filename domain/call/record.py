"""The data of a call: the facts that never change, the record that is stored, and the view that clients see."""

from typing import Annotated, Literal

import msgspec

from domain.billing.block import BlockPrice, Rounding
from domain.billing.meter import Paid, SetBack
from domain.ids import CallId, PostingKey, UserId
from domain.instant import Duration, Instant, rfc3339, rfc3339_or_none, seconds
from domain.protocol.events import Person

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Status = Literal["ringing", "active", "paused", "ended"]


class CallRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The durations and limits of calls (contract.md, Ringing and later): the section `[calls]` of the settings."""

    block_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 30
    block_rounding: Rounding = "up"
    ring_seconds: Seconds = 30
    ring_cooldown_seconds: Seconds = 60
    join_seconds: Seconds = 20
    drop_grace_seconds: Seconds = 10
    drop_limit_seconds: Seconds = 60
    pause_limit_seconds: Seconds = 600
    resumes_per_second: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1
    resumes_burst: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 30
    payee_end_seconds: Seconds = 10
    storage_grace_seconds: Seconds = 60
    connections_per_party: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8  # a user has a few devices


class CallFacts(msgspec.Struct, frozen=True):
    """The facts that never change after the call was created: the parties and the fixed price."""

    id: CallId
    channel: str
    fan: Person
    creator: Person
    price: BlockPrice
    max_tokens: int | None
    created_at: Instant
    rings_until: Instant

    @property
    def fan_id(self) -> UserId:
        """The user who calls and pays."""
        return UserId(self.fan.user_id)

    @property
    def creator_id(self) -> UserId:
        """The user who is called and paid."""
        return UserId(self.creator.user_id)

    @property
    def parties(self) -> tuple[UserId, UserId]:
        """The fan and the creator."""
        return self.fan_id, self.creator_id


class CallRecord(msgspec.Struct, frozen=True):
    """The state that changes, as it is stored. Blocks and tokens are not here, since the ledger has them."""

    status: Status = "ringing"
    accepted_at: Instant | None = None
    started_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: str | None = None
    fan_paused_at: Instant | None = None
    creator_paused_at: Instant | None = None
    fan_paused: Duration = 0  # the sum of the fan's ended pauses
    creator_paused: Duration = 0
    holds: tuple[str, ...] = ()
    active: Duration = 0
    set_back: SetBack = SetBack()
    given_back: tuple[PostingKey, ...] = ()  # of an ended call: the blocks to refund to its payer


class CallView(msgspec.Struct, frozen=True, rename="camel"):
    """A call as its parties see it, from the live room or from the database."""

    id: CallId
    channel: str
    status: Status
    holds: tuple[str, ...]
    fan: Person
    creator: Person
    rate_tokens_per_min: int
    block_seconds: int
    block_rounding: Rounding
    max_tokens: int | None
    created_at: str
    accepted_at: str | None
    started_at: str | None
    ended_at: str | None
    end_reason: str | None
    expires_at: str | None
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int
    active_seconds: float
    paid_through: str | None


def view_call(facts: CallFacts, record: CallRecord, paid: Paid, paid_through: Instant | None = None) -> CallView:
    """Build the view; live rooms and stored rows have the same shape.

    `blocks` were charged; `tokens` is what was charged less what was refunded.
    """
    return CallView(
        id=facts.id,
        channel=facts.channel,
        status=record.status,
        holds=record.holds,
        fan=facts.fan,
        creator=facts.creator,
        rate_tokens_per_min=facts.price.rate_tokens_per_min,
        block_seconds=facts.price.block_seconds,
        block_rounding=facts.price.rounding,
        max_tokens=facts.max_tokens,
        created_at=rfc3339(facts.created_at),
        accepted_at=rfc3339_or_none(record.accepted_at),
        started_at=rfc3339_or_none(record.started_at),
        ended_at=rfc3339_or_none(record.ended_at),
        end_reason=record.end_reason,
        expires_at=rfc3339(facts.rings_until) if record.status == "ringing" else None,
        blocks=paid.blocks,
        tokens=paid.kept_tokens,
        refunded_blocks=paid.refunded_blocks,
        refunded_tokens=paid.refunded_tokens,
        active_seconds=seconds(record.active),
        paid_through=rfc3339_or_none(paid_through),
    )
