"""Operators: the business figures."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from domain.billing.posting import Kind
from domain.refusals import Code
from server.config.packs import PayoutSettings
from server.config.time_zones import UTC_NAME, start_of_day
from server.rest.periods import ZoneName, zone_of
from server.rest.request import Request
from server.rest.route import Needs, Routes
from server.rest.strict_json import FieldError, InvalidRequest
from storage.accounting.balances import Balances, balances_at
from storage.market.business_figures import (
    Advances,
    Calls,
    CashOut,
    Figures,
    NetVolume,
    OpenDebts,
    Sales,
    Span,
    TipsPerStream,
    Volume,
    read_figures,
    sum_up,
)

SPENDING = (Kind.BLOCK, Kind.TIP, Kind.TICKET)
EARNINGS = (Kind.BLOCK, Kind.TIP, Kind.RELEASE)  # a ticket is earned when it leaves escrow

routes = Routes("/api/admin/overview")


DAYS_MAX = 366  # of one overview
FIRST_YEAR, LAST_YEAR = 2000, 2199  # within which every instant of every zone can be computed


class OverviewQuery(msgspec.Struct, frozen=True, rename="camel"):
    """The days of a time zone: the latest `days` of them, or those of a period."""

    days: Annotated[int, Meta(ge=1, le=92)] = 30
    since: Annotated[date | None, Meta(description="The first day, instead of the latest `days`.")] = msgspec.field(
        default=None, name="from"
    )
    until: Annotated[date | None, Meta(description="The day behind the last one; the default is tomorrow.")] = (
        msgspec.field(default=None, name="to")
    )
    tz: ZoneName = UTC_NAME


class Sums(msgspec.Struct, frozen=True, rename="camel"):
    """Sales, payments between users, and payouts. `calls` counts ended calls; money is in cents.

    A ticket counts on the day of its sale, regardless of when its creator is credited. Refunds of tips, blocks and
    tickets count on the day of the refund. `tokenSales` and `cashOut` are from purchases and payouts; `purchases`,
    `credits` and `payouts` are what the journal has of them.
    """

    token_sales: Sales
    ticket_sales: NetVolume
    tips: NetVolume
    blocks: NetVolume
    calls: Calls
    average_call_seconds: float | None  # of answered calls
    cash_out: CashOut
    cash_out_cents: int
    losses: Advances
    purchases: NetVolume
    credits: NetVolume
    payouts: NetVolume
    refunds: Annotated[
        Volume,
        Meta(description="The refunds of blocks, tips and tickets together, and the tokens that payers got back."),
    ]


class Day(Sums, frozen=True, rename="camel"):
    """One day of the time zone `tz`."""

    day: str


class Margin(msgspec.Struct, frozen=True, rename="camel"):
    """The revenue of packs beyond the payout value of their tokens, in total and per buyer.

    Amounts are in the currency of the packs; payouts in another one are converted at `payouts.exchange_rate`.
    """

    buyers: int
    revenue_cents: int
    payout_value_cents: int
    margin_cents: int
    margin_cents_per_buyer: float | None


class Overview(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The figures of a period; tips, blocks and tickets are counted up to `through`.

    `tz` is the time zone of the days.
    `currency` is that of the packs, `payoutCurrency` that of `cashOutCents` and `centsPerToken`.
    `cashOutRate` is the share of the creators' earnings in the period, net of refunds, that was cashed out in it.
    `openDebts` and `openPayouts` are those open now, regardless of their age.
    """

    since: Annotated[str, Meta(description="The first day.", examples=["2026-10-01"])] = msgspec.field(name="from")
    until: Annotated[str, Meta(description="The day behind the last one.", examples=["2026-11-01"])] = msgspec.field(
        name="to"
    )
    opening: Annotated[Balances, Meta(description="The balances at the start of the first day.")]
    closing: Annotated[Balances, Meta(description="The balances at the end of the last day, or at `through`.")]
    through: str
    tz: str
    currency: str
    payout_currency: str
    total: Sums
    days: list[Day]
    tips_per_stream: TipsPerStream
    average_stream_tips: float | None
    open_payouts: Volume
    open_debts: OpenDebts
    cents_per_token: int
    cash_out_rate: float | None
    margin: Margin


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def show_overview(request: Request, query: OverviewQuery) -> Overview:
    """Sales, tickets, tips, calls, cash-out and margin, by day of the time zone `tz`, latest first.

    Sums of the past are stored, and the request adds what was booked since they were stored last. Days have 23 or 25
    hours where the clocks of the zone change.
    """
    settings = request.context.settings
    cents = settings.payouts.cents_per_token
    zone = await zone_of(query.tz, request.context.time_zones)
    postgres = request.context.postgres
    through = await sum_up(postgres)
    first, after = _period(query, through.astimezone(zone).date())
    days = [after - timedelta(days=n) for n in range(1, (after - first).days + 1)]
    span = Span(start_of_day(first, zone), start_of_day(after, zone))
    figures = await read_figures(postgres, through, span, zone.key, settings.packs.currency)
    total, tips = _sums(figures, days, cents), figures.tips_per_stream
    return Overview(
        since=first.isoformat(),
        until=after.isoformat(),
        opening=await balances_at(postgres, min(span.since, through)),
        closing=await balances_at(postgres, min(span.until, through)),
        through=figures.through,
        tz=zone.key,
        currency=settings.packs.currency,
        payout_currency=settings.payouts.currency,
        total=total,
        days=[Day(**msgspec.structs.asdict(_sums(figures, [day], cents)), day=day.isoformat()) for day in days],
        tips_per_stream=tips,
        average_stream_tips=_ratio(tips.tokens, tips.streams),
        open_payouts=figures.open_payouts,
        open_debts=figures.open_debts,
        cents_per_token=cents,
        cash_out_rate=_ratio(total.cash_out.tokens, sum(_volume(figures, days, kind).tokens for kind in EARNINGS)),
        margin=_margin(total.token_sales, figures.buyers, settings.payouts),
    )


def _period(query: OverviewQuery, today: date) -> tuple[date, date]:
    """Return the first day of the overview, and the day behind its last one. Raises InvalidRequest."""
    for name, day in (("from", query.since), ("to", query.until)):
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise InvalidRequest(FieldError(name, f"must be within the years {FIRST_YEAR} to {LAST_YEAR}"))
    after = query.until or today + timedelta(days=1)
    first = query.since or after - timedelta(days=query.days)
    if not 0 < (after - first).days <= DAYS_MAX:
        raise InvalidRequest(FieldError("to", f"must be 1 to {DAYS_MAX} days after `from`"))
    return first, after


def _sums(figures: Figures, days: Iterable[date], cents_per_token: int) -> Sums:
    """Add up the figures of these days; a day without any is absent from the figures."""
    days = list(days)
    calls = _calls([figures.calls[day] for day in days if day in figures.calls])
    cash_out = sum((figures.cash_out[day] for day in days if day in figures.cash_out), CashOut())
    return Sums(
        token_sales=_sales([figures.sales[day] for day in days if day in figures.sales]),
        ticket_sales=_volume(figures, days, Kind.TICKET),
        tips=_volume(figures, days, Kind.TIP),
        blocks=_volume(figures, days, Kind.BLOCK),
        calls=calls,
        average_call_seconds=_ratio(calls.active_seconds, calls.answered),
        cash_out=cash_out,
        losses=sum((figures.advances[day] for day in days if day in figures.advances), Advances()),
        cash_out_cents=cash_out.tokens * cents_per_token,
        purchases=_volume(figures, days, Kind.PURCHASE),
        credits=_volume(figures, days, Kind.CREDIT),
        payouts=_volume(figures, days, Kind.PAYOUT),
        refunds=_refunds([_volume(figures, days, kind) for kind in SPENDING]),
    )


def _refunds(volumes: list[NetVolume]) -> Volume:
    return Volume(sum(each.refunds for each in volumes), sum(each.refunded_tokens for each in volumes))


def _volume(figures: Figures, days: Iterable[date], kind: Kind) -> NetVolume:
    return sum((figures.volumes[kind][day] for day in days if day in figures.volumes[kind]), NetVolume())


def _sales(sales: list[Sales]) -> Sales:
    return Sales(
        sum(each.count for each in sales),
        sum(each.tokens for each in sales),
        sum(each.revenue_cents for each in sales),
    )


def _calls(calls: list[Calls]) -> Calls:
    return Calls(
        sum(each.ended for each in calls),
        sum(each.answered for each in calls),
        sum(each.active_seconds for each in calls),
    )


def _margin(sales: Sales, buyers: int, payouts: PayoutSettings) -> Margin:
    """Return what remains of the revenue if every sold token is cashed out."""
    worth = payouts.in_packs_currency(sales.tokens * payouts.cents_per_token)
    margin = sales.revenue_cents - worth
    return Margin(buyers, sales.revenue_cents, worth, margin, _ratio(margin, buyers))


def _ratio(part: int, whole: int) -> float | None:
    return None if whole <= 0 else round(part / whole, 4)  # refunds may exceed the payments of a period
