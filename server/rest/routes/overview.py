"""Operators: the business figures."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

import msgspec

from domain.billing.posting import Kind
from domain.refusals import Code
from server.config.packs import PayoutSettings
from server.config.time_zones import UTC_NAME, start_of_day
from server.rest.periods import ZoneName, zone_of
from server.rest.request import Request
from server.rest.route import Needs, Routes
from storage.market.business_figures import (
    Advances,
    Calls,
    CashOut,
    Figures,
    NetVolume,
    OpenDebts,
    Sales,
    TipsPerStream,
    Volume,
    read_figures,
    sum_up,
)

EARNINGS = (Kind.BLOCK, Kind.TIP, Kind.RELEASE)  # a ticket is earned when it leaves escrow

routes = Routes("/api/admin/overview")


class OverviewQuery(msgspec.Struct, frozen=True, rename="camel"):
    """The number of days, including today, and the time zone that they are days of."""

    days: Annotated[int, msgspec.Meta(ge=1, le=92)] = 30
    tz: ZoneName = UTC_NAME


class Sums(msgspec.Struct, frozen=True, rename="camel"):
    """Sales, payments between users, and payouts. `calls` counts ended calls; money is in cents.

    A ticket counts on the day of its sale, regardless of when its creator is credited. Refunds of tips, blocks and
    tickets count on the day of the refund.
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


class Overview(msgspec.Struct, frozen=True, rename="camel"):
    """The figures of a period; tips, blocks and tickets are counted up to `through`.

    `tz` is the time zone of the days.
    `currency` is that of the packs, `payoutCurrency` that of `cashOutCents` and `centsPerToken`.
    `cashOutRate` is the share of the creators' earnings in the period, net of refunds, that was cashed out in it.
    `openDebts` and `openPayouts` are those open now, regardless of their age.
    """

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
    through = await sum_up(request.context.postgres)
    today = through.astimezone(zone).date()
    days = [today - timedelta(days=n) for n in range(query.days)]
    since = start_of_day(days[-1], zone)
    figures = await read_figures(request.context.postgres, through, since, zone.key, settings.packs.currency)
    total, tips = _sums(figures, days, cents), figures.tips_per_stream
    return Overview(
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
    )


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
