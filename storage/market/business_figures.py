"""The business figures by days of a time zone: from sums of each quarter of an hour, which are updated incrementally.

A read therefore costs the same in any year. The offsets of all zones are multiples of a quarter of an hour.
"""

from datetime import date, datetime
from typing import Annotated, NamedTuple

import msgspec
import trio
from msgspec import Meta

from domain.billing.posting import Kind
from domain.ids import RoomId
from domain.instant import rfc3339_of
from storage.ledger.cutoff import cut_off
from storage.postgres import Postgres

SUM_UP_SECONDS = 2.0  # for one update: the first update of an old database takes several calls
STREAMS_SHOWN = 20

Days = dict[date, "NetVolume"]


class Volume(msgspec.Struct, frozen=True, rename="camel"):
    """A number of postings, and the sum of their tokens."""

    count: int = 0
    tokens: int = 0


class NetVolume(msgspec.Struct, frozen=True, rename="camel"):
    """A number of postings, and the sum of their tokens net of refunds."""

    count: Annotated[int, Meta(description="All postings of the period, refunded ones included.")] = 0
    tokens: Annotated[
        int,
        Meta(
            description="Their tokens less `refundedTokens`. A refund counts on its own day, so that the figure of a"
            " day is negative where more was refunded than booked."
        ),
    ] = 0
    refunds: Annotated[int, Meta(description="The refunds in the period, whenever the posting was booked.")] = 0
    refunded_tokens: Annotated[
        int, Meta(description="The tokens refunded in the period, counted on the day of the refund.")
    ] = 0

    def __add__(self, other: "NetVolume") -> "NetVolume":
        return NetVolume(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class CashOut(msgspec.Struct, frozen=True, rename="camel"):
    """Payouts by the day of their request, without rejected and cancelled ones."""

    count: int = 0
    tokens: Annotated[int, Meta(description="Their tokens without those that refunds took out.")] = 0
    returned_tokens: Annotated[int, Meta(description="The tokens that refunds took out of these payouts.")] = 0

    def __add__(self, other: "CashOut") -> "CashOut":
        return CashOut(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class Advances(msgspec.Struct, frozen=True, rename="camel"):
    """The tokens that the system wallet `losses` advanced for refunds that payees could not cover, and their return."""

    advanced: Annotated[int, Meta(description="Tokens, counted on the day of the refund.")] = 0
    repaid: Annotated[
        int, Meta(description="Tokens repaid from debtors' earnings, counted on the day of the earning.")
    ] = 0

    def __add__(self, other: "Advances") -> "Advances":
        return Advances(self.advanced + other.advanced, self.repaid + other.repaid)


class OpenDebts(msgspec.Struct, frozen=True, rename="camel"):
    """All open debts to `losses`, of any period.

    `writtenOffTokens` has no debtor: it was advanced before debts were recorded.
    """

    count: int
    tokens: int
    written_off_tokens: int


class Sales(msgspec.Struct, frozen=True, rename="camel"):
    """Packs sold for money."""

    count: int = 0
    tokens: int = 0
    revenue_cents: int = 0


class Calls(msgspec.Struct, frozen=True, rename="camel"):
    """Calls that ended, how many of them were answered, and the sum of their active time."""

    ended: int = 0
    answered: int = 0
    active_seconds: int = 0


class StreamTips(msgspec.Struct, frozen=True, rename="camel"):
    """The tips in one stream; `tokens` is net of `refundedTokens`, the refunds of the period."""

    stream_id: RoomId
    tips: int
    tokens: int
    refunds: int
    refunded_tokens: int


class TipsPerStream(msgspec.Struct, frozen=True, rename="camel"):
    """The streams with tips: their number, the sum of their tokens net of `refundedTokens`, and the best of them."""

    streams: int
    tokens: int
    refunded_tokens: int
    best: list[StreamTips]


class Figures(NamedTuple):
    """All figures of a period by day; postings are counted up to the time `through`."""

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
    """Add the postings since the last call to the sums, and return the time up to which the sums are complete.

    Takes SUM_UP_SECONDS at most, in several transactions. The first one takes the write lock; each other one locks the
    row of `figures`. Cancelling leaves the sums complete up to an earlier time. Raises StorageUnavailable, also while
    the clocks of server and database disagree.
    """
    booked_at = await cut_off(postgres)
    enough_at = trio.current_time() + SUM_UP_SECONDS
    while True:
        # Sum one portion of the postings before that date.
        step = await postgres.fetchrow("SELECT sum_up_postings($1)", booked_at)
        assert step is not None, "a function returns a row"
        through: datetime = step[0]
        if through >= booked_at or trio.current_time() >= enough_at:
            return through


class Span(NamedTuple):
    """A period: from the start of one day in a time zone, and before the start of another."""

    since: datetime
    until: datetime


async def read_figures(postgres: Postgres, through: datetime, span: Span, zone: str, currency: str) -> Figures:
    """Return the figures of a period by days of the IANA zone `zone`. `currency` selects the sales.

    Several queries without a common snapshot. Raises StorageUnavailable.
    """
    volumes = await _volumes(postgres, span, zone)
    return Figures(
        through=rfc3339_of(through),
        sales=await _sales(postgres, span, zone, currency),
        buyers=await _buyers(postgres, span, currency),
        volumes=volumes,
        cash_out=await _cash_out(postgres, span, zone),
        open_payouts=await _open_payouts(postgres),
        advances=await _advances(postgres, span, through, zone, volumes[Kind.REPAYMENT]),
        open_debts=await _open_debts(postgres),
        calls=await _calls(postgres, span, zone),
        tips_per_stream=await _tips_per_stream(postgres, span),
    )


_PAID_IN = "FROM purchases WHERE status = 'paid' AND paid_at >= $1 AND paid_at < $2 AND currency = $3"
_BOOKED = "(SELECT true FROM journal WHERE key = posting_key)"


async def _sales(postgres: Postgres, span: Span, zone: str, currency: str) -> dict[date, Sales]:
    # Sum the paid purchases by day.
    rows = await postgres.fetch(
        "SELECT (paid_at AT TIME ZONE $4)::date AS day, count(*), sum(tokens)::bigint, sum(price_cents)::bigint"
        f" {_PAID_IN} GROUP BY 1",
        *(*span, currency, zone),
    )
    return {row["day"]: Sales(*tuple(row)[1:]) for row in rows}


async def _buyers(postgres: Postgres, span: Span, currency: str) -> int:
    # Count the distinct buyers.
    rows = await postgres.fetch(f"SELECT count(DISTINCT user_id) {_PAID_IN}", *span, currency)
    return int(rows[0][0])


async def _volumes(postgres: Postgres, span: Span, zone: str) -> dict[Kind, Days]:
    volumes: dict[Kind, Days] = {kind: {} for kind in Kind}
    # Add up the sums by kind and day.
    rows = await postgres.fetch(
        "SELECT kind, (quarter AT TIME ZONE $3)::date AS day, sum(postings)::bigint,"
        " sum(tokens - refunded_tokens)::bigint, sum(refunds)::bigint, sum(refunded_tokens)::bigint"
        " FROM quarter_postings WHERE quarter >= $1 AND quarter < $2 GROUP BY 1, 2",
        *(*span, zone),
    )
    for row in rows:
        volumes[Kind(row["kind"])][row["day"]] = NetVolume(*tuple(row)[2:])
    return volumes


async def _cash_out(postgres: Postgres, span: Span, zone: str) -> dict[date, CashOut]:
    # Sum the booked payouts by day, without rejected and cancelled ones.
    rows = await postgres.fetch(
        "SELECT (created_at AT TIME ZONE $3)::date AS day, count(*), sum(tokens - cut_tokens)::bigint,"
        " sum(cut_tokens)::bigint FROM payouts"
        " WHERE created_at >= $1 AND created_at < $2 AND (settled_as IS NULL OR settled_as = 'paid')"
        f" AND {_BOOKED} GROUP BY 1",
        *(*span, zone),
    )
    return {row["day"]: CashOut(*tuple(row)[1:]) for row in rows}


async def _open_payouts(postgres: Postgres) -> Volume:
    # Sum the booked payouts that are not settled.
    rows = await postgres.fetch(
        "SELECT count(*), coalesce(sum(tokens - cut_tokens), 0)::bigint FROM payouts"
        f" WHERE settled_as IS NULL AND {_BOOKED}"
    )
    return Volume(*rows[0])


async def _advances(postgres: Postgres, span: Span, through: datetime, zone: str, repaid: Days) -> dict[date, Advances]:
    # Sum the debts by day; there are few, since advances have a daily limit that only an operator can exceed.
    rows = await postgres.fetch(
        "SELECT (created_at AT TIME ZONE $3)::date AS day, sum(tokens)::bigint AS tokens FROM debts"
        " WHERE created_at >= $1 AND created_at < $2 GROUP BY 1",
        *(span.since, min(span.until, through), zone),
    )
    advanced = {row["day"]: row["tokens"] for row in rows}
    return {
        day: Advances(advanced.get(day, 0), repaid[day].tokens if day in repaid else 0) for day in {*advanced, *repaid}
    }


async def _open_debts(postgres: Postgres) -> OpenDebts:
    # Sum the open debts, with and without a debtor.
    rows = await postgres.fetch(
        "SELECT count(debtor), coalesce(sum(tokens - repaid) FILTER (WHERE debtor IS NOT NULL), 0)::bigint,"
        " coalesce(sum(tokens - repaid) FILTER (WHERE debtor IS NULL), 0)::bigint FROM debts WHERE repaid < tokens"
    )
    return OpenDebts(*rows[0])


async def _calls(postgres: Postgres, span: Span, zone: str) -> dict[date, Calls]:
    # Add up the sums of ended calls by day.
    rows = await postgres.fetch(
        "SELECT (quarter AT TIME ZONE $3)::date AS day, sum(calls)::bigint, sum(answered)::bigint,"
        " sum(active_us)::bigint / 1000000 FROM quarter_calls WHERE quarter >= $1 AND quarter < $2 GROUP BY 1",
        *(*span, zone),
    )
    return {row["day"]: Calls(*tuple(row)[1:]) for row in rows}


async def _tips_per_stream(postgres: Postgres, span: Span) -> TipsPerStream:
    # Sum the tips by stream, and rank the streams; each row also holds the sums over all streams.
    rows = await postgres.fetch(
        f"""
        SELECT t.room_id, t.tips, t.tokens, t.refunds, t.refunded_tokens, count(*) OVER () AS streams,
               sum(t.tokens) OVER ()::bigint AS all_tokens, sum(t.refunded_tokens) OVER ()::bigint AS all_refunded
          FROM (SELECT room_id, sum(tips)::bigint AS tips, sum(tokens - refunded_tokens)::bigint AS tokens,
                       sum(refunds)::bigint AS refunds, sum(refunded_tokens)::bigint AS refunded_tokens
                  FROM quarter_room_tips WHERE quarter >= $1 AND quarter < $2 GROUP BY room_id) t
         WHERE (SELECT r.kind FROM rooms r WHERE r.id = t.room_id) = 'stream'
         ORDER BY t.tokens DESC, t.room_id LIMIT {STREAMS_SHOWN}
        """,
        *span,
    )
    if not rows:
        return TipsPerStream(0, 0, 0, [])
    first = rows[0]
    best = [StreamTips(*tuple(row)[:5]) for row in rows]
    return TipsPerStream(first["streams"], first["all_tokens"], first["all_refunded"], best)
