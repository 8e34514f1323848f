"""Rows of calls: stores the state of a call, reads single calls and lists of them, and sums a user's calls.

`call_creation.py` inserts calls.
"""

from datetime import datetime
from typing import Any

import msgspec

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds, Paid, SetBack
from domain.call.record import CallFacts, CallRecord, CallView, view_call
from domain.ids import CallId, UserId
from domain.instant import as_datetime_or_none, from_datetime, from_datetime_or_none
from domain.protocol.events import Person
from storage.paging import Listing, Page, Paged
from storage.postgres import PgUUID, Postgres, Row


class StoredCall(msgspec.Struct, frozen=True):
    """The stored state of a call; enough to adopt it. `fan_funds` is the fan's current balance."""

    facts: CallFacts
    record: CallRecord
    epoch: int
    paid: Paid
    fan_funds: Funds

    @property
    def view(self) -> CallView:
        """The call as its parties see it over REST."""
        return view_call(self.facts, self.record, self.paid)


class CallFilter(msgspec.Struct, frozen=True):
    """Selects a user's calls by role ("fan" or "creator"), status and creation time: from `since`, before `until`."""

    role: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


CALLS = Listing(
    columns="""c.*, r.channel, r.epoch, f.display_name AS fan_name, o.display_name AS creator_name,
               w.balance AS fan_balance, w.n AS fan_n, m.*""",
    source="""calls c,
              LATERAL (SELECT channel, epoch FROM rooms WHERE id = c.id LIMIT 1) r,
              LATERAL (SELECT display_name FROM users WHERE supabase_id = c.fan_id LIMIT 1) f,
              LATERAL (SELECT display_name FROM users WHERE supabase_id = c.creator_id LIMIT 1) o,
              LATERAL (SELECT balance, n FROM wallets WHERE id = c.fan_id LIMIT 1) w,
              LATERAL (SELECT last_block, tokens, refunded_blocks, refunded_tokens, active_us, set_backs, set_back_block
                         FROM meters WHERE room_id = c.id AND payer_id = c.fan_id LIMIT 1) m""",
    table="calls c",
    at="c.created_at",
    id="c.id",
)


async def find_call(postgres: Postgres, call_id: CallId) -> StoredCall | None:
    """Return a call, live or ended, or None. Raises StorageUnavailable."""
    # Read the call with its room, its parties, its meter and the fan's balance.
    row = await postgres.fetchrow(f"SELECT {CALLS.columns} FROM {CALLS.source} WHERE c.id = $1", call_id)
    return None if row is None else stored_call(row)


async def find_call_in(postgres: Postgres, channel: str) -> StoredCall | None:
    """Return the call of a channel, live or ended, or None. Raises StorageUnavailable."""
    # Read the call whose room has this channel.
    row = await postgres.fetchrow(
        f"SELECT {CALLS.columns} FROM {CALLS.source} WHERE c.id = (SELECT id FROM rooms WHERE channel = $1)", channel
    )
    return None if row is None else stored_call(row)


async def save_call(postgres: Postgres, call_id: CallId, epoch: int, record: CallRecord) -> bool:
    """Store a call's state; the record of an ended call also ends its room.

    Queues the blocks of `record.given_back` for a refund, in the same transaction. False, with nothing stored, if the
    room has a later epoch or has ended. Takes the write lock, then the room's row. Raises StorageUnavailable.
    """
    # Check the epoch and store the record in one function.
    rows = await postgres.fetch(
        "SELECT save_call($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16::uuid[])",
        call_id,
        epoch,
        record.status,
        as_datetime_or_none(record.accepted_at),
        as_datetime_or_none(record.started_at),
        as_datetime_or_none(record.ended_at),
        record.end_reason,
        list(record.holds),
        as_datetime_or_none(record.fan_paused_at),
        as_datetime_or_none(record.creator_paused_at),
        record.fan_paused,
        record.creator_paused,
        record.active,
        *record.set_back,
        [PgUUID(key) for key in record.given_back],
    )
    return bool(rows[0][0])


async def list_calls(postgres: Postgres, user_id: UserId, wanted: CallFilter, page: Page) -> Paged[CallView]:
    """Return a page of a user's calls, newest first. Raises BadCursor, StorageUnavailable."""
    conditions, args = _conditions(user_id, wanted)
    return await CALLS.page(postgres, page, conditions, args, lambda row: stored_call(row).view)


class CallStats(msgspec.Struct, frozen=True, rename="camel"):
    """The sums of a user's calls in one role: of the calls that were created in the period, with all their refunds.

    `blocks` are those that were charged; `tokens` is net of `refundedTokens`.
    """

    role: str
    calls: int
    answered: int
    blocks: int
    tokens: int
    refunded_blocks: int
    refunded_tokens: int
    active_seconds: float


async def call_stats(
    postgres: Postgres, user_id: UserId, since: datetime | None, until: datetime | None
) -> list[CallStats]:
    """Return the sums of a user's calls, first as fan and then as creator. Raises StorageUnavailable."""
    return [await _stats_as(postgres, user_id, CallFilter(role, None, since, until)) for role in ("fan", "creator")]


async def _stats_as(postgres: Postgres, user_id: UserId, wanted: CallFilter) -> CallStats:
    (where,), args = _conditions(user_id, wanted)
    # Sum the calls and their meters.
    rows = await postgres.fetch(
        "SELECT count(*) AS calls, count(c.started_at) AS answered, coalesce(sum(m.last_block), 0)::bigint AS blocks,"
        " coalesce(sum(m.tokens - m.refunded_tokens), 0)::bigint AS tokens,"
        " coalesce(sum(m.refunded_blocks), 0)::bigint AS refunded_blocks,"
        " coalesce(sum(m.refunded_tokens), 0)::bigint AS refunded_tokens,"
        " coalesce(sum(m.active_us), 0)::bigint AS active_us"
        " FROM calls c, LATERAL (SELECT last_block, tokens, refunded_blocks, refunded_tokens, active_us FROM meters"
        f" WHERE room_id = c.id AND payer_id = c.fan_id LIMIT 1) m WHERE {where}",
        *args,
    )
    row = rows[0]
    assert wanted.role is not None
    return CallStats(
        role=wanted.role,
        calls=row["calls"],
        answered=row["answered"],
        blocks=row["blocks"],
        tokens=row["tokens"],
        refunded_blocks=row["refunded_blocks"],
        refunded_tokens=row["refunded_tokens"],
        active_seconds=row["active_us"] // 1000 / 1000,
    )


def _conditions(user_id: UserId, wanted: CallFilter) -> tuple[list[str], list[Any]]:
    """Return one SQL condition for each wanted role, and their parameters; nobody has both roles in one call."""
    args: list[Any] = [user_id]
    more = ""
    for condition, value in (
        ("c.status = ", wanted.status),
        ("c.created_at >= ", wanted.since),
        ("c.created_at < ", wanted.until),
    ):
        if value is not None:
            args.append(value)
            more += f" AND {condition}${len(args)}"
    roles = ("fan", "creator") if wanted.role is None else (wanted.role,)
    return [f"c.{role}_id = $1{more}" for role in roles], args


def stored_call(row: Row) -> StoredCall:
    """Convert a row of CALLS."""
    return StoredCall(
        facts=CallFacts(
            id=row["id"],
            channel=row["channel"],
            fan=Person(row["fan_id"], row["fan_name"]),
            creator=Person(row["creator_id"], row["creator_name"]),
            price=BlockPrice(row["rate_tokens_per_min"], row["block_seconds"], row["block_rounding"]),
            max_tokens=row["max_tokens"],
            created_at=from_datetime(row["created_at"]),
            rings_until=from_datetime(row["rings_until"]),
        ),
        record=CallRecord(
            status=row["status"],
            accepted_at=from_datetime_or_none(row["accepted_at"]),
            started_at=from_datetime_or_none(row["started_at"]),
            ended_at=from_datetime_or_none(row["ended_at"]),
            end_reason=row["end_reason"],
            fan_paused_at=from_datetime_or_none(row["fan_paused_at"]),
            creator_paused_at=from_datetime_or_none(row["creator_paused_at"]),
            fan_paused=row["fan_paused_us"],
            creator_paused=row["creator_paused_us"],
            holds=tuple(row["holds"]),
            active=row["active_us"],
            set_back=SetBack(row["set_backs"], row["set_back_block"]),
        ),
        epoch=row["epoch"],
        paid=Paid(row["last_block"], row["tokens"], row["refunded_blocks"], row["refunded_tokens"]),
        fan_funds=Funds(row["fan_balance"], row["fan_n"]),
    )
