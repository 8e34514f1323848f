"""The wallet of who asks, and its statement."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.amounts import MAX_BALANCE_TOKENS
from domain.billing.posting import Kind
from domain.instant import next_day, rfc3339
from domain.refusals import Code
from server.rest.query import Listed, PeriodPaging
from server.rest.request import Request
from server.rest.route import Routes
from storage.ledger.spend_limits import find_spend_limit, set_spend_limit
from storage.ledger.statements import Entry, EntryFilter, statement
from storage.ledger.wallets import find_wallet
from storage.market.payouts import cashable_tokens

routes = Routes("/api/wallet")


class ComingLimit(msgspec.Struct, frozen=True, rename="camel"):
    """A looser limit that waits for its day to come; null is no limit any more."""

    daily_spend_limit: int | None
    at: str


class Limits(msgspec.Struct, frozen=True, rename="camel"):
    """What the user allows themselves to spend in a UTC day, null is no limit; what is spent of it, and what comes."""

    daily_spend_limit: int | None = None
    spent: int | UnsetType = UNSET
    resets_at: str | UnsetType = UNSET
    next: ComingLimit | UnsetType = UNSET


class LimitsWanted(msgspec.Struct, frozen=True, rename="camel"):
    daily_spend_limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_BALANCE_TOKENS)] | None


class WalletCard(msgspec.Struct, frozen=True, rename="camel"):
    """A balance and what of it is `promotional` (it can be spent, never cashed out), what can be cashed out now
    (`cashable`), and what is earned but `held` for a while. `owed` is repaid by the next earnings: what was advanced to
    refund this user's payers, and blocks that are to be given back to them. Lifetime sums are less refunds, without
    credits and purchases. `frozen`: nothing can be spent or cashed out until a refund or chargeback is cleared up."""

    balance: int
    promotional: int
    cashable: int
    held: int
    owed: int
    lifetime_earned: int
    lifetime_spent: int
    limits: Limits
    frozen: bool


class Balance(msgspec.Struct, frozen=True, rename="camel"):
    """What a wallet holds right after something was booked."""

    balance: int


class LedgerQuery(PeriodPaging, frozen=True, rename="camel"):
    """Which entries."""

    kind: Literal["block", "tip", "ticket", "purchase", "credit", "refund", "payout", "release", "repayment"] | None = (
        None
    )


@routes.get()
async def show_wallet(request: Request) -> WalletCard:
    """Balance, lifetime sums and limits."""
    return await wallet_card(request)


@routes.put("/limits", refuses=(Code.VALIDATION_FAILED,))
async def change_limits(request: Request, body: LimitsWanted) -> Limits:
    """What may be spent in a day: less counts at once, more, or no limit at all, after 24 hours."""
    await set_spend_limit(request.context.postgres, request.user_id, body.daily_spend_limit)
    return await _limits(request)


@routes.get("/ledger", refuses=(Code.VALIDATION_FAILED,))
async def list_entries(request: Request, query: LedgerQuery) -> Listed[Entry]:
    """Every entry with the balance after it, in the order in which it was booked, newest first."""
    kind = None if query.kind is None else Kind[query.kind.upper()]
    wanted = EntryFilter(kind=kind, since=query.since, until=query.until)
    return request.listed(await statement(request.context.postgres, request.user_id, wanted, query.page), query)


async def wallet_card(request: Request) -> WalletCard:
    wallet = await find_wallet(request.context.postgres, request.user_id)
    assert wallet is not None, "a trigger gives every user a wallet"
    limits = await _limits(request) if wallet.limited else Limits()
    cashable = await cashable_tokens(
        request.context.postgres, request.user_id, request.context.settings.payouts.holding_days
    )
    return WalletCard(
        wallet.balance,
        wallet.promotional,
        cashable.tokens,
        cashable.held,
        wallet.owed + cashable.due,
        wallet.lifetime_earned,
        wallet.lifetime_spent,
        limits,
        wallet.frozen,
    )


async def _limits(request: Request) -> Limits:
    limit = await find_spend_limit(request.context.postgres, request.user_id)
    if limit is None:
        return Limits()
    coming = UNSET if limit.next is None else ComingLimit(limit.next.tokens, rfc3339(limit.next.at))
    return Limits(limit.tokens, limit.spent, rfc3339(next_day(request.context.clock.now())), coming)
