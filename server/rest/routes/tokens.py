"""Token packs: list them and buy them. The buyer pays on a page of the payment provider."""

from decimal import Decimal
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.ids import content_digest
from domain.refusals import Code, Refusal
from server.config.packs import Pack
from server.ids import new_uuid
from server.money.payments.provider import ProviderUnavailable
from server.rest.query import Listed, PeriodPaging
from server.rest.request import Request
from server.rest.responses import time_text
from server.rest.route import Needs, Routes
from storage.market.purchases import (
    NewPurchase,
    Purchase,
    PurchaseFilter,
    find_purchase,
    find_purchase_by_key,
    list_purchases,
    make_purchase,
)
from storage.paging import Paged

NOTHING_FOR_SALE = Refusal(Code.PAYMENTS_UNAVAILABLE, "No payment provider is configured")
PROVIDER_UNAVAILABLE = Refusal(
    Code.PAYMENTS_UNAVAILABLE, "The payment provider does not answer; the same key tries again"
)
NO_SUCH_PURCHASE = Refusal(Code.NOT_FOUND, "No such purchase")

routes = Routes("/api/tokens")


class PackCard(msgspec.Struct, frozen=True, rename="camel"):
    """A pack; `price` and `costPerToken` are decimal amounts of the currency, as text so that they are exact."""

    pack_id: str
    tokens: int
    price: str
    price_cents: int
    currency: str
    cost_per_token: str


class Packs(msgspec.Struct, frozen=True, rename="camel"):
    """All packs on offer, the smallest first."""

    items: list[PackCard]


class PurchaseWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The id of the pack to buy, as `GET /api/tokens/packs` lists it."""

    pack_id: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class PurchaseCard(msgspec.Struct, frozen=True, rename="camel"):
    """A purchase: `pending` until it is `paid`, `failed` or `expired`; in `review` it waits for an operator."""

    purchase_id: UUID
    status: str
    checkout_url: str | None
    pack_id: str
    tokens: int
    price: str
    price_cents: int
    currency: str
    created_at: str
    paid_at: str | None


class OwnPurchasesQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of purchases by status and the time at which they were begun."""

    status: Literal["pending", "paid", "failed", "expired", "review"] | None = None


@routes.get("/packs", needs=Needs.ANYONE)
async def list_packs(request: Request) -> Packs:
    """The packs on offer and their prices."""
    packs = request.context.settings.packs
    offers = sorted(packs.offers.items(), key=lambda offer: offer[1].tokens)
    return Packs([_pack(pack_id, pack, packs.currency) for pack_id, pack in offers])


@routes.post(
    "/purchases",
    status=201,
    takes_key=True,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.NOT_FOUND,
        Code.IDEMPOTENCY_CONFLICT,
        Code.PAYMENTS_UNAVAILABLE,
    ),
    serves_while_draining="repeats",
)
async def buy(request: Request, body: PurchaseWanted) -> PurchaseCard | Refusal:
    """Begin to buy a pack: the buyer pays at `checkoutUrl`. The same key returns the same purchase.

    The tokens are credited when the provider reports the payment; the buyer's sessions then receive `wallet:changed`.
    """
    found = await request.background_tasks.run(partial(_begin, request, body.pack_id))
    return found if isinstance(found, Refusal) else card_of(found)


@routes.get("/purchases", refuses=(Code.VALIDATION_FAILED,))
async def list_own(request: Request, query: OwnPurchasesQuery) -> Listed[PurchaseCard]:
    """The caller's purchases, newest first."""
    wanted = PurchaseFilter(request.user_id, query.status, query.since, query.until)
    found = await list_purchases(request.context.postgres, query.page, wanted)
    return request.listed(Paged([card_of(purchase) for purchase in found.items], *found[1:]), query)


@routes.get("/purchases/{purchaseId}", refuses=(Code.NOT_FOUND,))
async def show_purchase(request: Request, purchase_id: UUID) -> PurchaseCard | Refusal:
    """A purchase, for its buyer."""
    purchase = await find_purchase(request.context.postgres, purchase_id)
    return NO_SUCH_PURCHASE if purchase is None or purchase.user_id != request.user_id else card_of(purchase)


def in_units(cents: int) -> str:
    """Return cents as decimal text of the currency: 699 as `6.99`."""
    return f"{cents // 100}.{cents % 100:02d}"


async def _begin(request: Request, pack_id: str) -> Purchase | Refusal:
    """Store the purchase first, so that a payment of its checkout always finds it, and then make the checkout."""
    purchase = await _find_or_make(request, pack_id)
    if isinstance(purchase, Refusal):
        return purchase
    try:
        return await request.context.payments.check_out(purchase)
    except ProviderUnavailable:
        return PROVIDER_UNAVAILABLE


async def _find_or_make(request: Request, pack_id: str) -> Purchase | Refusal:
    """Find the purchase of this key, even if its pack is no longer on offer; else create one."""
    context, content = request.context, content_digest("purchase", pack_id)
    if (known := await find_purchase_by_key(context.postgres, request.user_key, content)) is not None:
        return known
    pack, provider = context.settings.packs.offers.get(pack_id), context.payments.provider
    if pack is None:
        return Refusal(Code.NOT_FOUND, "No such pack")
    if provider is None:
        return NOTHING_FOR_SALE
    new = NewPurchase(
        id=new_uuid(),
        user_id=request.user_id,
        pack_id=pack_id,
        tokens=pack.tokens,
        price_cents=pack.price_cents,
        currency=context.settings.packs.currency,
        provider=provider.name,
        key=request.user_key,
        content=content,
    )
    return await make_purchase(context.postgres, new, most_pending=context.settings.limits.purchases_pending)


def _pack(pack_id: str, pack: Pack, currency: str) -> PackCard:
    """Describe a pack, with the price of one token to six decimals."""
    per_token = (Decimal(pack.price_cents) / 100 / pack.tokens).quantize(Decimal("0.000001"))
    cost = f"{per_token:f}".rstrip("0")
    return PackCard(pack_id, pack.tokens, in_units(pack.price_cents), pack.price_cents, currency, cost)


def card_of(purchase: Purchase) -> PurchaseCard:
    """Return a purchase as its buyer sees it."""
    return PurchaseCard(
        purchase.id,
        purchase.status,
        purchase.checkout_url,
        purchase.pack_id,
        purchase.tokens,
        in_units(purchase.price_cents),
        purchase.price_cents,
        purchase.currency,
        time_text(purchase.created_at),
        time_text(purchase.paid_at),
    )
