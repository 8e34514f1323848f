"""The business figures: sums by UTC day that are kept up to date, so that looking costs the same in any year."""

from datetime import date, datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec
import trio
from msgspec import Meta

from domain.billing.posting import Kind
from domain.ids import RoomId
from domain.instant import from_datetime, rfc3339
from storage import wall_clock
from storage.postgres import Postgres

SUM_UP_SECONDS = 2.0  # at one go: a house that has never summed up does so over several looks
STREAMS_SHOWN = 20

Days = dict[date, "NetVolume"]


class Volume(msgspec.Struct, frozen=True, rename="camel"):
    """How many, and the tokens they moved."""

    count: int = 0
    tokens: int = 0


class NetVolume(msgspec.Struct, frozen=True, rename="camel"):
    """How many, and the tokens they moved, less what was given back."""

    count: Annotated[int, Meta(description="All that were booked in the period, also those that were given back.")] = 0
    tokens: Annotated[
        int,
        Meta(
            description="What they moved less `refundedTokens`. A refund counts on its own day, so that a day's figure"
            " is negative where more was given back than came in."
        ),
    ] = 0
    refunds: Annotated[int, Meta(description="How many were given back in the period, whenever they were booked.")] = 0
    refunded_tokens: Annotated[
        int, Meta(description="What was given back in the period, on the day of the refund.")
    ] = 0

    def __add__(self, other: "NetVolume") -> "NetVolume":
        return NetVolume(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class CashOut(msgspec.Struct, frozen=True, rename="camel"):
    """Payouts by the day on which they were asked for, without the rejected and cancelled ones."""

    count: int = 0
    tokens: Annotated[int, Meta(description="Less what refunds took out of them while they were open.")] = 0
    returned_tokens: Annotated[int, Meta(description="What refunds took out of these payouts.")] = 0

    def __add__(self, other: "CashOut") -> "CashOut":
        return CashOut(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class Advances(msgspec.Struct, frozen=True, rename="camel"):
    """What the system wallet `losses` paid for refunds that their payees could not cover, and got back."""

    advanced: Annotated[int, Meta(description="Tokens, on the day of the refund.")] = 0
    repaid: Annotated[int, Meta(description="Tokens of debtors' earnings, on the day on which they were earned.")] = 0

    def __add__(self, other: "Advances") -> "Advances":
        return Advances(self.advanced + other.advanced, self.repaid + other.repaid)


class OpenDebts(msgspec.Struct, frozen=True, rename="camel"):
    """What `losses` has advanced and not got back, whenever that was. `writtenOffTokens` has no debtor: it was advanced
    before debts were kept."""

    count: int
    tokens: int
    written_off_tokens: int


class Sales(msgspec.Struct, frozen=True, rename="camel"):
    """Packs sold for money."""

    count: int = 0
    tokens: int = 0
    revenue_cents: int = 0


class Calls(msgspec.Struct, frozen=True, rename="camel"):
    """Calls that ended, how many of them were answered, and the active time of these."""

    ended: int = 0
    answered: int = 0
    active_seconds: int = 0


class StreamTips(msgspec.Struct, frozen=True, rename="camel"):
    """Tips in one stream; `tokens` is less `refundedTokens`, what was given back in the period."""

    stream_id: RoomId
    tips: int
    tokens: int
    refunds: int
    refunded_tokens: int


class TipsPerStream(msgspec.Struct, frozen=True, rename="camel"):
    """Streams that were tipped: how many, their tokens together less `refundedTokens`, and the best of them."""

    streams: int
    tokens: int
    refunded_tokens: int
    best: list[StreamTips]


class Figures(NamedTuple):
    """Everything from the first of some days on; postings are counted up to `through`."""

    first_day: date
    through: str
    sales: dict[date, Sales]
    buyers: int
    volumes: dict[Kind, Days]
    cash_out: dict[date, CashOut]
    open_payouts: Volume
    advances: dict[date, Advances]
    open_debts: OpenDebts
    calls: dict[date, Calls]
    tips_per_stream: TipsPerStream


async def sum_up(postgres: Postgres) -> datetime:
    """Add to the sums what was booked since the last time, for SUM_UP_SECONDS at most; how far they go now.

    Raises StorageUnavailable.
    """
    # Whatever is booked after this has this date or a later one, so what comes before it is complete.
    row = await postgres.fetchrow(
        "UPDATE fence SET booked_at = greatest(booked_at, clock_timestamp()) WHERE one AND check_clock($1)"
        " RETURNING booked_at",
        wall_clock.now(),
    )
    assert row is not None, "there is one fence"
    enough_at = trio.current_time() + SUM_UP_SECONDS
    while True:
        step = await postgres.fetchrow("SELECT sum_up_postings($1)", row["booked_at"])
        assert step is not None, "a function returns a row"
        through: datetime = step[0]
        if through >= row["booked_at"] or trio.current_time() >= enough_at:
            return through


async def read_figures(postgres: Postgres, through: datetime, days: int, currency: str) -> Figures:
    """The figures of so many days, the present one included. Raises StorageUnavailable."""
    first_day = through.date() - timedelta(days=days - 1)
    volumes = await _volumes(postgres, first_day)
    return Figures(
        first_day=first_day,
        through=rfc3339(from_datetime(through)),
        sales=await _sales(postgres, first_day, currency),
        buyers=await _buyers(postgres, first_day, currency),
        volumes=volumes,
        cash_out=await _cash_out(postgres, first_day),
        open_payouts=await _open_payouts(postgres),
        advances=await _advances(postgres, first_day, through, volumes[Kind.REPAYMENT]),
        open_debts=await _open_debts(postgres),
        calls=await _calls(postgres, first_day),
        tips_per_stream=await _tips_per_stream(postgres, first_day),
    )


_PAID_SINCE = "FROM purchases WHERE status = 'paid' AND paid_at >= $1::date AND currency = $2"
_BOOKED = "(SELECT true FROM journal WHERE key = posting_key)"


async def _sales(postgres: Postgres, first_day: date, currency: str) -> dict[date, Sales]:
    rows = await postgres.fetch(
        "SELECT paid_at::date AS day, count(*), sum(tokens)::bigint, sum(price_cents)::bigint"
        f" {_PAID_SINCE} GROUP BY 1",
        *(first_day, currency),
    )
    return {row["day"]: Sales(*tuple(row)[1:]) for row in rows}


async def _buyers(postgres: Postgres, first_day: date, currency: str) -> int:
    rows = await postgres.fetch(f"SELECT count(DISTINCT user_id) {_PAID_SINCE}", first_day, currency)
    return int(rows[0][0])


async def _volumes(postgres: Postgres, first_day: date) -> dict[Kind, Days]:
    volumes: dict[Kind, Days] = {kind: {} for kind in Kind}
    rows = await postgres.fetch(
        "SELECT kind, day, postings, tokens - refunded_tokens AS tokens, refunds, refunded_tokens FROM day_postings"
        " WHERE day >= $1",
        first_day,
    )
    for row in rows:
        volumes[Kind(row["kind"])][row["day"]] = NetVolume(*tuple(row)[2:])
    return volumes


async def _cash_out(postgres: Postgres, first_day: date) -> dict[date, CashOut]:
    """Payouts that were asked for, without those that were rejected or cancelled."""
    rows = await postgres.fetch(
        "SELECT created_at::date AS day, count(*), sum(tokens - cut_tokens)::bigint, sum(cut_tokens)::bigint"
        f" FROM payouts WHERE created_at >= $1::date AND (settled_as IS NULL OR settled_as = 'paid') AND {_BOOKED}"
        " GROUP BY 1",
        first_day,
    )
    return {row["day"]: CashOut(*tuple(row)[1:]) for row in rows}


async def _open_payouts(postgres: Postgres) -> Volume:
    rows = await postgres.fetch(
        "SELECT count(*), coalesce(sum(tokens - cut_tokens), 0)::bigint FROM payouts"
        f" WHERE settled_as IS NULL AND {_BOOKED}"
    )
    return Volume(*rows[0])


async def _advances(postgres: Postgres, first_day: date, through: datetime, repaid: Days) -> dict[date, Advances]:
    """`losses` advances at most its daily limit, and more only where an operator confirms it: there are few rows."""
    rows = await postgres.fetch(
        "SELECT created_at::date AS day, sum(tokens)::bigint AS tokens FROM debts"
        " WHERE created_at >= $1::date AND created_at < $2 GROUP BY 1",
        *(first_day, through),
    )
    advanced = {row["day"]: row["tokens"] for row in rows}
    return {
        day: Advances(advanced.get(day, 0), repaid[day].tokens if day in repaid else 0) for day in {*advanced, *repaid}
    }


async def _open_debts(postgres: Postgres) -> OpenDebts:
    rows = await postgres.fetch(
        "SELECT count(debtor), coalesce(sum(tokens - repaid) FILTER (WHERE debtor IS NOT NULL), 0)::bigint,"
        " coalesce(sum(tokens - repaid) FILTER (WHERE debtor IS NULL), 0)::bigint FROM debts WHERE repaid < tokens"
    )
    return OpenDebts(*rows[0])


async def _calls(postgres: Postgres, first_day: date) -> dict[date, Calls]:
    rows = await postgres.fetch(
        "SELECT day, calls, answered, active_us / 1000000 FROM day_calls WHERE day >= $1", first_day
    )
    return {row["day"]: Calls(*tuple(row)[1:]) for row in rows}


async def _tips_per_stream(postgres: Postgres, first_day: date) -> TipsPerStream:
    rows = await postgres.fetch(
        f"""
        SELECT t.room_id, t.tips, t.tokens, t.refunds, t.refunded_tokens, count(*) OVER () AS streams,
               sum(t.tokens) OVER ()::bigint AS all_tokens, sum(t.refunded_tokens) OVER ()::bigint AS all_refunded
          FROM (SELECT room_id, sum(tips)::bigint AS tips, sum(tokens - refunded_tokens)::bigint AS tokens,
                       sum(refunds)::bigint AS refunds, sum(refunded_tokens)::bigint AS refunded_tokens
                  FROM day_room_tips WHERE day >= $1 GROUP BY room_id) t
         WHERE (SELECT r.kind FROM rooms r WHERE r.id = t.room_id) = 'stream'
         ORDER BY t.tokens DESC, t.room_id LIMIT {STREAMS_SHOWN}
        """,
        first_day,
    )
    if not rows:
        return TipsPerStream(0, 0, 0, [])
    first = rows[0]
    best = [StreamTips(*tuple(row)[:5]) for row in rows]
    return TipsPerStream(first["streams"], first["all_tokens"], first["all_refunded"], best)
