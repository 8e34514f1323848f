"""Accountants, fans and creators: the statement of one wallet for a month."""

from calendar import monthrange
from datetime import date, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from domain.ids import WalletId
from domain.instant import rfc3339_of
from domain.refusals import Code, Refusal
from server.config.time_zones import UTC_NAME, start_of_day
from server.rest.periods import DateRange, ZoneName, zone_of
from server.rest.request import Request
from server.rest.route import Needs, Routes
from server.rest.routes.exports import end_of_period
from server.rest.routes.wallet_exports import begin_wallet_read
from storage.accounting.wallet_sums import WalletSums, sum_entries
from storage.ledger.cutoff import cut_off
from storage.ledger.statements import find_range

routes = Routes("/api")


class StatementQuery(msgspec.Struct, frozen=True, rename="camel"):
    """A month of a time zone."""

    month: Annotated[
        Annotated[str, Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")] | None,
        Meta(description="The month, as `YYYY-MM`; the default is the present one.", examples=["2026-10"]),
    ] = None
    tz: ZoneName = UTC_NAME


class MonthStatement(WalletSums, frozen=True, rename="camel"):
    """A wallet's month: the opening balance plus the tokens of all lines is the closing balance."""

    wallet_id: Annotated[WalletId, Meta(description="The wallet: its user's id, or that of a system wallet.")]
    month: Annotated[str, Meta(description="The month in the time zone `tz`, as `YYYY-MM`.", examples=["2026-10"])]
    tz: Annotated[str, Meta(description="The time zone whose month it is.")]
    since: Annotated[str, Meta(description="The start of the month.")] = msgspec.field(name="from")
    through: Annotated[str, Meta(description="The end of the month, or the time of the request if that is earlier.")]
    complete: Annotated[bool, Meta(description="Whether the month is over, so that the statement is final.")]


@routes.get("/wallet/statement", refuses=(Code.VALIDATION_FAILED,))
async def show_own_statement(request: Request, query: StatementQuery) -> MonthStatement:
    """The caller's month: opening balance, tokens by kind with refunds apart, and closing balance."""
    return await _statement(request, request.user_id, query)


@routes.get(
    "/admin/wallets/{walletId}/statement",
    needs=Needs.OPERATOR,
    refuses=(Code.VALIDATION_FAILED, Code.NOT_FOUND),
)
async def show_statement(request: Request, wallet_id: WalletId, query: StatementQuery) -> MonthStatement | Refusal:
    """The month of one user's wallet, or of a system wallet: balances, and tokens by kind with refunds apart."""
    return await begin_wallet_read(request, wallet_id) or await _statement(request, wallet_id, query)


async def _statement(request: Request, wallet_id: WalletId, query: StatementQuery) -> MonthStatement:
    zone = await zone_of(query.tz, request.context.time_zones)
    cutoff = await cut_off(request.context.postgres)
    month = query.month or f"{cutoff.astimezone(zone):%Y-%m}"
    first = date.fromisoformat(f"{month}-01")
    after = first + timedelta(days=monthrange(first.year, first.month)[1])
    since, until = start_of_day(first, zone), start_of_day(after, zone)
    through = end_of_period(DateRange(since, until, zone), cutoff)
    span = await find_range(request.context.postgres, wallet_id, since, through)
    sums = await sum_entries(request.context.postgres, wallet_id, span)
    return MonthStatement(
        **msgspec.structs.asdict(sums),
        wallet_id=wallet_id,
        month=month,
        tz=zone.key,
        since=rfc3339_of(since),
        through=rfc3339_of(through),
        complete=through == until,
    )
