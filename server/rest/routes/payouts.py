"""Payouts: creators cash out earned tokens, and operators settle the requests."""

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.amounts import MAX_POSTING_TOKENS
from domain.ids import UserId
from domain.refusals import FROZEN, Code, Refusal
from domain.text import clean
from server.money.payouts import Payouts
from server.rest.query import Listed, OperatorLimit, PeriodPaging
from server.rest.request import Request
from server.rest.responses import time_text
from server.rest.route import Needs, Routes
from server.rest.routes.tokens import in_units
from server.rest.routes.wallet import Balance
from storage.market.payouts import Payout, cashable_tokens, list_payouts, settle_payout
from storage.paging import Paged
from storage.postgres import Postgres

NO_SUCH_PAYOUT = Refusal(Code.NOT_FOUND, "No such payout")
OWN_PAYOUT = Refusal(Code.FORBIDDEN, "Nobody settles their own payout")

routes = Routes("/api")


class PayoutWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The number of tokens to cash out."""

    tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_POSTING_TOKENS)]


class PayoutTerms(msgspec.Struct, frozen=True, rename="camel"):
    """The value of a token as a payout, and how many earned tokens the caller may cash out now."""

    cents_per_token: int
    currency: str
    min_tokens: int
    holding_days: int
    cashable_tokens: int
    held_tokens: int


class PayoutCard(msgspec.Struct, frozen=True, rename="camel"):
    """A payout: `requested` until an operator marks it `paid` or `rejected`; a rejection returns the tokens.

    A refund that the creator's balance does not cover takes `returnedTokens` out of the payout, which is `cancelled`
    if nothing is left. `amount` is the value of the rest.
    """

    payout_id: UUID
    creator_id: UserId
    status: str
    tokens: int
    returned_tokens: int
    amount: str
    amount_cents: int
    currency: str
    note: str
    created_at: str
    settled_at: str | None


class PayoutBooked(PayoutCard, frozen=True, rename="camel"):
    """The payout, and the wallet's balance right after it."""

    wallet: Balance


class PayoutSettled(msgspec.Struct, frozen=True, rename="camel"):
    """The operator's decision; the note is shown to the creator.

    `amountCents` is the amount that was paid. If a refund has changed the amount of the payout meanwhile, the decision
    is refused and the payout stays as it is.
    """

    status: Literal["paid", "rejected"]
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""
    amount_cents: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None


class PayoutsQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of payouts by status and the time at which they were requested."""

    status: Literal["requested", "paid", "rejected", "cancelled"] | None = None


class UserPayoutsQuery(PayoutsQuery, frozen=True, rename="camel"):
    """A filter of one creator's payouts, for operators."""

    limit: OperatorLimit = 20


class AllPayoutsQuery(UserPayoutsQuery, frozen=True, rename="camel"):
    """A filter of the payouts of all creators, or of one."""

    user_id: UserId | None = None


@routes.post(
    "/payouts",
    status=201,
    takes_key=True,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.INSUFFICIENT_TOKENS,
        Code.NOT_A_CREATOR,
        Code.IDEMPOTENCY_CONFLICT,
    ),
    serves_while_draining="repeats",
)
async def cash_out(request: Request, body: PayoutWanted) -> PayoutBooked | Refusal:
    """Cash out earned tokens, as a creator. Bought and promotional tokens can only be spent.

    The tokens leave the wallet at once. An operator then pays the creator outside of this server, or rejects the
    request, which returns the tokens. Refused below `payouts.min_tokens` and beyond the cashable tokens.
    """
    work = partial(request.context.payouts.request, request.user_id, body.tokens, request.posting_key())
    payout = await request.background_tasks.run(work)
    if isinstance(payout, Refusal):
        return payout
    assert payout.balance_after is not None, "it is booked"
    return PayoutBooked(**msgspec.structs.asdict(_card(payout)), wallet=Balance(payout.balance_after))


@routes.get("/payouts", refuses=(Code.VALIDATION_FAILED,))
async def list_own(request: Request, query: PayoutsQuery) -> Listed[PayoutCard]:
    """The caller's payouts, newest first."""
    return await payouts_of(request, request.user_id, query)


async def payouts_of(request: Request, creator_id: UserId | None, query: PayoutsQuery) -> Listed[PayoutCard]:
    """Return a page of one creator's payouts, or of all creators'. Raises BadCursor, StorageUnavailable."""
    found = await list_payouts(
        request.context.postgres,
        query.page,
        creator_id=creator_id,
        status=query.status,
        since=query.since,
        until=query.until,
    )
    return request.listed(Paged([_card(payout) for payout in found.items], *found[1:]), query)


@routes.get("/payouts/terms")
async def show_terms(request: Request) -> PayoutTerms:
    """The value of a token as a payout, and how many tokens the caller may cash out."""
    terms = request.context.settings.payouts
    found = await cashable_tokens(request.context.postgres, request.user_id, terms.holding_days)
    return PayoutTerms(
        terms.cents_per_token, terms.currency, terms.min_tokens, terms.holding_days, found.tokens, found.held
    )


@routes.get("/admin/payouts", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_all(request: Request, query: AllPayoutsQuery) -> Listed[PayoutCard]:
    """The payouts of all creators, or of one, newest first."""
    await request.note_read(query.user_id)
    return await payouts_of(request, query.user_id, query)


@routes.post(
    "/admin/payouts/{payoutId}",
    needs=Needs.OPERATOR,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.FORBIDDEN,
        Code.NOT_FOUND,
        Code.PAYOUT_SETTLED,
        Code.PAYOUT_CHANGED,
    ),
    serves_while_draining="none",
)
async def settle(request: Request, payout_id: UUID, body: PayoutSettled) -> PayoutCard | Refusal:
    """Mark a payout as paid, or reject it and return its remaining tokens. Repeating a decision changes nothing.

    Operators cannot settle their own payouts, and no payout is paid while its creator's wallet is frozen. A payout
    that was settled the other way is refused with PAYOUT_SETTLED.
    """
    payout = await request.background_tasks.run(
        partial(_settle, request.context.postgres, request.context.payouts, payout_id, body, request.user_id)
    )
    return payout if isinstance(payout, Refusal) else _card(payout)


async def _settle(
    postgres: Postgres, payouts: Payouts, payout_id: UUID, body: PayoutSettled, operator_id: UserId
) -> Payout | Refusal:
    """Store the decision, then return the tokens of a rejected payout; maintenance returns them after a crash."""
    note, cents = clean(body.note), body.amount_cents
    payout = await settle_payout(postgres, payout_id, body.status, operator_id, note, cents)
    if payout is None:
        return NO_SUCH_PAYOUT
    if payout.creator_id == operator_id:
        return OWN_PAYOUT
    if payout.settled_as is None:
        return FROZEN if cents in (None, payout.open_cents) else _changed(payout)
    if payout.settled_as != body.status:
        return Refusal(Code.PAYOUT_SETTLED, f"The payout is {payout.settled_as} already")
    if body.status == "paid" and cents not in (None, payout.open_cents):
        return _changed(payout)
    if body.status == "rejected" and not payout.given_back:
        await payouts.give_back(payout)
    return payout


def _changed(payout: Payout) -> Refusal:
    return Refusal(
        Code.PAYOUT_CHANGED, f"The payout brings {in_units(payout.open_cents)} {payout.currency}: refunds reduced it"
    )


def _card(payout: Payout) -> PayoutCard:
    return PayoutCard(
        payout.id,
        payout.creator_id,
        payout.status,
        payout.tokens,
        payout.cut_tokens,
        in_units(payout.open_cents),
        payout.open_cents,
        payout.currency,
        payout.note,
        time_text(payout.created_at),
        time_text(payout.settled_at),
    )
