"""The figures equal the journal's during concurrent bookings, and a read is fast on a large database."""

import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
import trio

from domain.billing.posting import Kind
from domain.ids import ESCROW, UserId, client_key
from server.config.time_zones import start_of_day
from server.ids import new_uuid
from storage.ledger.refunds import Advance
from storage.market.business_figures import Span, read_figures, sum_up
from storage.postgres import Postgres, open_postgres
from tests.storage.ledger_pair import OPERATOR, credit, tip
from tests.storage.old_server import FIRST_AT
from tests.support.servers import running_server

LOOK_SECONDS_MAX = 0.5  # twenty times what was measured, for a machine that is busy

QUARTER = "date_bin('15 minutes', created_at, '2000-01-01 00:00:00+00')"
OF_REFUND = QUARTER.replace("created_at", "r.created_at")
# A refund counts for the kind that it refunds, and one of a released ticket for releases as well.
IN_JOURNAL = f"""
    SELECT quarter, kind, sum(postings)::bigint, sum(tokens)::bigint, sum(refunds)::bigint, sum(refunded)::bigint FROM (
        SELECT {QUARTER} AS quarter, kind, count(*) AS postings, sum(tokens) AS tokens, 0 AS refunds, 0 AS refunded
          FROM journal WHERE created_at < $1 GROUP BY 1, 2
        UNION ALL
        SELECT {OF_REFUND}, o.kind, 0, 0, count(DISTINCT o.key), sum(r.tokens)
          FROM journal r JOIN journal o ON o.key = r.content WHERE r.kind = 6 AND r.created_at < $1 GROUP BY 1, 2
        UNION ALL
        SELECT {OF_REFUND}, 8, 0, 0, count(DISTINCT o.key), sum(r.tokens)
          FROM journal r JOIN journal o ON o.key = r.content
         WHERE r.kind = 6 AND o.kind = 3 AND r.debit_wallet <> '{ESCROW}' AND r.created_at < $1 GROUP BY 1) k
     GROUP BY 1, 2
"""
IN_SUMS = "SELECT quarter, kind, postings, tokens, refunds, refunded_tokens FROM quarter_postings"


async def check_sums(postgres: Postgres, through: datetime) -> int:
    """Check that the sums equal the journal's up to `through`, and return their number."""
    in_journal = await postgres.fetch(IN_JOURNAL, through)
    in_sums = await postgres.fetch(IN_SUMS)
    assert sorted(map(tuple, in_journal)) == sorted(map(tuple, in_sums))
    return len(in_sums)


async def test_nothing_is_counted_twice_or_left_out_while_others_book(dsn: str) -> None:
    async with running_server(dsn) as context:
        takers = [UserId(new_uuid()) for _ in range(8)]
        for taker in takers:
            await context.user_cache.ensure_user(taker)
        booking = len(takers)

        async def book(taker: UserId) -> None:
            nonlocal booking
            for i in range(40):
                key = client_key(taker, str(i))
                posting = msgspec.structs.replace(credit(taker, i + 1), key=key)
                paid = tip(taker, takers[0] if taker is not takers[0] else takers[1], 1)
                assert all(receipt.paid for receipt in await context.actor.post([posting, paid]))
                if i % 2:
                    await context.actor.refund([paid.key], "sorry", Advance(OPERATOR, None))
            booking -= 1

        async with trio.open_nursery() as nursery:
            for taker in takers:
                nursery.start_soon(book, taker)
            while booking:
                async with trio.open_nursery() as looks:
                    for _ in range(3):
                        looks.start_soon(sum_up, context.postgres)
        through = await sum_up(context.postgres)
        await check_sums(context.postgres, through)
        rows = await context.postgres.fetch(
            "SELECT kind, sum(postings)::int, sum(tokens)::int, sum(refunds)::int, sum(refunded_tokens)::int"
            " FROM quarter_postings WHERE kind IN (2, 5) GROUP BY kind ORDER BY kind"
        )
        tips, credits = (8 * 40, 8 * 40, 8 * 20, 8 * 20), (8 * 40, 8 * sum(range(1, 41)), 0, 0)
        assert [tuple(row) for row in rows] == [(Kind.TIP, *tips), (Kind.CREDIT, *credits)]


async def test_an_old_database_is_summed_up_over_several_calls_and_reads_are_cheap_then(old_server: str) -> None:
    async with open_postgres(old_server, pool_size=1) as postgres:
        await postgres.execute("DELETE FROM quarter_postings")
        await postgres.execute("UPDATE figures SET through = $1", FIRST_AT)
        began, looks = time.monotonic(), 1
        while (through := await sum_up(postgres)).date() < datetime.now(through.tzinfo).date():
            looks += 1
            assert looks < 100
        print(f"a million postings in {looks} looks, {time.monotonic() - began:.2f} s")
        assert await check_sums(postgres, through) > 300
        began = time.monotonic()
        again = await sum_up(postgres)
        since = start_of_day(again.date() - timedelta(days=91), ZoneInfo("UTC"))
        figures = await read_figures(postgres, again, Span(since, again), "UTC", "USD")
        seconds = time.monotonic() - began
        print(f"a look: {seconds * 1000:.1f} ms")
        assert again > through and len(figures.volumes[Kind.BLOCK]) <= 92
        assert seconds < LOOK_SECONDS_MAX


@pytest.mark.parametrize("name", ["America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])
async def test_the_figures_of_a_zone_are_those_of_its_days(old_server: str, name: str) -> None:
    """Offsets of 45 minutes, changes of half an hour, and days of 23 or 25 hours."""
    zone = ZoneInfo(name)
    async with open_postgres(old_server, pool_size=1) as postgres:
        await postgres.execute("DELETE FROM quarter_postings")
        await postgres.execute("UPDATE figures SET through = $1", FIRST_AT)
        while (through := await sum_up(postgres)).date() < datetime.now(through.tzinfo).date():
            pass
        since = start_of_day(FIRST_AT.date() + timedelta(days=40), zone)
        figures = await read_figures(postgres, through, Span(since, through), name, "USD")
        in_journal = await postgres.fetch(
            "SELECT (created_at AT TIME ZONE $2)::date AS day, count(*) AS n, sum(tokens)::bigint AS tokens"
            " FROM journal WHERE kind = 1 AND created_at >= $1 AND created_at < $3 GROUP BY 1",
            *(since, name, through),
        )
    blocks = figures.volumes[Kind.BLOCK]
    assert {row["day"]: (row["n"], row["tokens"]) for row in in_journal} == {
        day: (volume.count, volume.tokens + volume.refunded_tokens) for day, volume in blocks.items() if volume.count
    }
    assert len(in_journal) > 200


@pytest.mark.parametrize("back", [timedelta(0), timedelta(days=1), timedelta(days=40)])
async def test_the_sums_go_no_further_than_the_fence(dsn: str, back: timedelta) -> None:
    async with open_postgres(dsn, pool_size=1) as postgres:
        await postgres.execute("UPDATE figures SET through = through - $1::interval", back)
        through = await sum_up(postgres)
        rows = await postgres.fetch("SELECT booked_at FROM fence")
        assert through == rows[0]["booked_at"]
        assert await sum_up(postgres) > through
