"""The business figures: sums by UTC day that are kept up to date, so that looking costs the same in any year."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec
import trio

from domain.ids import RoomId
from domain.instant import from_datetime, rfc3339
from domain.posting import Kind
from storage import wall_clock
from storage.postgres import Postgres

SUM_UP_SECONDS = 2.0  # at one go: a house that has never summed up does so over several looks
STREAMS_SHOWN = 20

Days = dict[date, "Volume"]


class Volume(msgspec.Struct, frozen=True, rename="camel"):
    """How many, and the tokens they moved."""

    count: int = 0
    tokens: int = 0


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
    stream_id: RoomId
    tips: int
    tokens: int


class TipsPerStream(msgspec.Struct, frozen=True, rename="camel"):
    """Streams that were tipped: how many, their tokens together, and the best of them."""

    streams: int
    tokens: int
    best: list[StreamTips]


class Figures(NamedTuple):
    """Everything from the first of some days on; postings are counted up to `through`."""

    first_day: date
    through: str
    sales: dict[date, Sales]
    buyers: int
    volumes: dict[Kind, Days]
    cash_out: Days
    open_payouts: Volume
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
    return Figures(
        first_day=first_day,
        through=rfc3339(from_datetime(through)),
        sales=await _sales(postgres, first_day, currency),
        buyers=await _buyers(postgres, first_day, currency),
        volumes=await _volumes(postgres, first_day),
        cash_out=await _cash_out(postgres, first_day),
        open_payouts=await _open_payouts(postgres),
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
    for row in await postgres.fetch("SELECT kind, day, postings, tokens FROM day_postings WHERE day >= $1", first_day):
        volumes[Kind(row["kind"])][row["day"]] = Volume(row["postings"], row["tokens"])
    return volumes


async def _cash_out(postgres: Postgres, first_day: date) -> Days:
    """Payouts that were asked for, without the rejected ones."""
    rows = await postgres.fetch(
        "SELECT created_at::date AS day, count(*), sum(tokens)::bigint FROM payouts"
        f" WHERE created_at >= $1::date AND settled_as IS DISTINCT FROM 'rejected' AND {_BOOKED} GROUP BY 1",
        first_day,
    )
    return {row["day"]: Volume(*tuple(row)[1:]) for row in rows}


async def _open_payouts(postgres: Postgres) -> Volume:
    rows = await postgres.fetch(
        f"SELECT count(*), coalesce(sum(tokens), 0)::bigint FROM payouts WHERE settled_as IS NULL AND {_BOOKED}"
    )
    return Volume(*rows[0])


async def _calls(postgres: Postgres, first_day: date) -> dict[date, Calls]:
    rows = await postgres.fetch(
        "SELECT day, calls, answered, active_us / 1000000 FROM day_calls WHERE day >= $1", first_day
    )
    return {row["day"]: Calls(*tuple(row)[1:]) for row in rows}


async def _tips_per_stream(postgres: Postgres, first_day: date) -> TipsPerStream:
    rows = await postgres.fetch(
        f"""
        SELECT t.room_id, t.tips, t.tokens, count(*) OVER () AS streams, sum(t.tokens) OVER ()::bigint AS all_tokens
          FROM (SELECT room_id, sum(tips)::bigint AS tips, sum(tokens)::bigint AS tokens
                  FROM day_room_tips WHERE day >= $1 GROUP BY room_id) t
         WHERE (SELECT r.kind FROM rooms r WHERE r.id = t.room_id) = 'stream'
         ORDER BY t.tokens DESC, t.room_id LIMIT {STREAMS_SHOWN}
        """,
        first_day,
    )
    best = [StreamTips(row["room_id"], row["tips"], row["tokens"]) for row in rows]
    return TipsPerStream(rows[0]["streams"] if rows else 0, rows[0]["all_tokens"] if rows else 0, best)
