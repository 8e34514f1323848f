"""The wallet of who asks, and its statement."""

from typing import Literal

import msgspec

from domain.posting import Kind
from domain.refusals import Code
from server.rest.query import Listed, PeriodPaging
from server.rest.request import Ask
from server.rest.route import Routes
from storage.statements import Entry, EntryFilter, statement
from storage.wallets import find_wallet

routes = Routes("/api/wallet")


class Limits(msgspec.Struct, frozen=True, rename="camel"):
    """What the user allows themselves; null is no limit."""

    daily_spend_limit: int | None = None


class WalletCard(msgspec.Struct, frozen=True, rename="camel"):
    balance: int
    lifetime_earned: int
    lifetime_spent: int
    limits: Limits


class LedgerQuery(PeriodPaging, frozen=True, rename="camel"):
    """Which entries."""

    kind: Literal["block", "tip", "ticket", "purchase", "credit", "refund", "payout"] | None = None


@routes.get()
async def show_wallet(ask: Ask) -> WalletCard:
    """Balance, lifetime sums and limits."""
    return await wallet_card(ask)


@routes.get("/ledger", refuses=(Code.VALIDATION_FAILED,))
async def list_entries(ask: Ask, query: LedgerQuery) -> Listed[Entry]:
    """Every entry with the balance after it, in the order in which it was booked, newest first."""
    kind = None if query.kind is None else Kind[query.kind.upper()]
    wanted = EntryFilter(kind=kind, since=query.since, until=query.until)
    return ask.listed(await statement(ask.house.postgres, ask.user_id, wanted, query.page), query)


async def wallet_card(ask: Ask) -> WalletCard:
    wallet = await find_wallet(ask.house.postgres, ask.user_id)
    assert wallet is not None, "a trigger gives every user a wallet"
    return WalletCard(wallet.balance, wallet.lifetime_earned, wallet.lifetime_spent, Limits())
