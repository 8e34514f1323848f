"""The caller's wallet, its spend limit and its statement."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from domain.amounts import MAX_BALANCE_TOKENS
from domain.billing.posting import Kind
from domain.ids import UserId
from domain.instant import next_day, rfc3339
from domain.refusals import Code
from server.rest.query import Listed, PeriodPaging
from server.rest.request import Request
from server.rest.route import Routes
from storage.ledger.spend_limits import find_spend_limit, set_spend_limit
from storage.ledger.statements import Entry, EntryFilter, statement
from storage.market.accounts import find_account
from storage.people.users import User

routes = Routes("/api/wallet")


class ComingLimit(msgspec.Struct, frozen=True, rename="camel"):
    """A looser limit that takes effect later; null means no limit."""

    daily_spend_limit: int | None
    at: str


class Limits(msgspec.Struct, frozen=True, rename="camel"):
    """The user's own spend limit for a UTC day (null: no limit), the spent part of it, and the limit that follows."""

    daily_spend_limit: int | None = None
    spent: int | UnsetType = UNSET
    resets_at: str | UnsetType = UNSET
    next: ComingLimit | UnsetType = UNSET


class LimitsWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The tokens that may be spent in a UTC day; null removes the limit."""

    daily_spend_limit: Annotated[int, msgspec.Meta(ge=0, le=MAX_BALANCE_TOKENS)] | None


class WalletCard(msgspec.Struct, frozen=True, rename="camel"):
    """The balance of a wallet and its parts, in tokens.

    `promotional` tokens can be spent and never cashed out. `cashable` ones can be cashed out now; `held` ones are
    earned and become cashable later. `owed` is repaid by the next earnings: advances for refunds to this user's payers,
    and blocks due for refund. Lifetime sums are net of refunds and exclude credits and purchases. While the wallet is
    `frozen` by a refund or chargeback at the provider, nothing can be spent or cashed out.
    """

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
    """The balance of a wallet right after a posting."""

    balance: int


class LedgerQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of entries by kind and period."""

    kind: Literal["block", "tip", "ticket", "purchase", "credit", "refund", "payout", "release", "repayment"] | None = (
        None
    )


@routes.get()
async def show_wallet(request: Request) -> WalletCard:
    """The caller's balance and its parts, lifetime sums and limits."""
    _, card = await read_account(request, request.user_id)
    return card


@routes.put("/limits", refuses=(Code.VALIDATION_FAILED,))
async def change_limits(request: Request, body: LimitsWanted) -> Limits:
    """Set the daily spend limit. A lower one takes effect at once, a higher or no limit after 24 hours.

    Payments beyond it are refused with SPEND_LIMIT, and a call ends with `budget_reached`.
    """
    await set_spend_limit(request.context.postgres, request.user_id, body.daily_spend_limit)
    return await _limits(request, request.user_id)


@routes.get("/ledger", refuses=(Code.VALIDATION_FAILED,))
async def list_entries(request: Request, query: LedgerQuery) -> Listed[Entry]:
    """Every entry with the balance after it, in booking order, newest first."""
    return await entries_of(request, request.user_id, query)


async def entries_of(request: Request, user_id: UserId, query: LedgerQuery) -> Listed[Entry]:
    """Return a page of one user's entries. Raises BadCursor, StorageUnavailable."""
    kind = None if query.kind is None else Kind[query.kind.upper()]
    wanted = EntryFilter(kind=kind, since=query.since, until=query.until)
    return request.listed(await statement(request.context.postgres, user_id, wanted, query.page), query)


async def read_account(request: Request, user_id: UserId) -> tuple[User, WalletCard]:
    """Read a user who exists, and their wallet. Raises StorageUnavailable."""
    context = request.context
    account = await find_account(context.postgres, user_id, context.settings.payouts.holding_days)
    assert account is not None, "a trigger gives every user a wallet"
    user, wallet, cashable = account
    limits = await _limits(request, user_id) if wallet.limited else Limits()
    card = WalletCard(
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
    return user, card


async def _limits(request: Request, user_id: UserId) -> Limits:
    """Read a user's spend limit, and how much of it is spent today."""
    limit = await find_spend_limit(request.context.postgres, user_id)
    if limit is None:
        return Limits()
    coming = UNSET if limit.next is None else ComingLimit(limit.next.tokens, rfc3339(limit.next.at))
    return Limits(limit.tokens, limit.spent, rfc3339(next_day(request.context.clock.now())), coming)
