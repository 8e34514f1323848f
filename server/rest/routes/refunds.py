"""Refunds: operators return payments to their payers."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated
from uuid import UUID

import msgspec
import structlog

from domain.billing.posting import Kind, Receipt
from domain.ids import ESCROW, LOSSES, CallId, PostingKey, RoomId, UserId, content_digest
from domain.refusals import Code, Refusal, losses_limit
from domain.text import clean
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Needs, Routes
from server.rest.strict_json import FieldError
from storage.idempotency import claim, find_first_use
from storage.ledger.refunds import Advance, booked_by, find_paid, find_paid_in_call, find_paid_in_stream, find_parties
from storage.postgres import Postgres

OWN = Refusal(Code.SELF_PAYMENT, "Operators cannot refund payments that they made or received")
NOTHING_PAID = Refusal(Code.NOT_FOUND, "Nothing was paid for that")
TARGETS = ({"tipId"}, {"ticketId"}, {"callId"}, {"streamId", "userId"})

log = structlog.get_logger(__name__)

routes = Routes("/api/admin/refunds")


class RefundWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The payment to refund (a tip, a ticket, a whole call, or all that a viewer paid for a stream), and the reason."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    tip_id: UUID | None = None
    ticket_id: UUID | None = None
    call_id: CallId | None = None
    stream_id: RoomId | None = None
    user_id: UserId | None = None
    confirm: bool = False  # that `losses` may advance more than its daily limit

    @property
    def target(self) -> dict[str, UUID]:
        """Return the ids that the body names, by their wire names."""
        named = {
            "tipId": self.tip_id,
            "ticketId": self.ticket_id,
            "callId": self.call_id,
            "streamId": self.stream_id,
            "userId": self.user_id,
        }
        return {name: value for name, value in named.items() if value is not None}


class Refund(msgspec.Struct, frozen=True, rename="camel"):
    """The refunded tokens, of this and earlier requests, their receiver, and where they came from.

    They come from escrow, from the creator, or from `losses`; an advance of `losses` is a debt of the creator.
    """

    user_id: UserId
    tokens: int
    from_escrow: int
    from_creator: int
    from_losses: int


@routes.post(
    needs=Needs.OPERATOR,
    status=201,
    takes_key=True,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.SELF_PAYMENT,
        Code.NOT_FOUND,
        Code.LOSSES_LIMIT,
        Code.IDEMPOTENCY_CONFLICT,
    ),
    serves_while_draining="none",
)
async def give_back(request: Request, body: RefundWanted) -> Refund | Refusal:
    """Refund payments, each of them once.

    The tokens come from escrow or from the creator, whose open payouts are reduced if the balance does not suffice.
    The rest is advanced by `losses` and becomes the creator's debt, up to a daily limit; more is refused with
    LOSSES_LIMIT unless the request has `confirm`.
    """
    reason = clean(body.reason)
    if not reason:
        return invalid(FieldError("reason", "must have a visible character"))
    if body.target.keys() not in TARGETS:
        return invalid(FieldError("body", "must name a tipId, a ticketId, a callId, or a streamId and a userId"))
    content = content_digest("refund", *map(str, body.target.values()), *body.target, reason)
    known = await find_first_use(request.context.postgres, request.user_key, content)
    if isinstance(known, Refusal):
        return known
    paid = await _find(request.context.postgres, body)
    if not paid:
        return NOTHING_PAID
    if request.user_id in await find_parties(request.context.postgres, paid):
        return OWN
    return await request.background_tasks.run(partial(_refund, request, body, paid, content, reason))


async def _refund(
    request: Request, body: RefundWanted, paid: Sequence[PostingKey], content: bytes, reason: str
) -> Refund | Refusal:
    """Refund the payments; with a key, only those made before its first use, so that a repeat refunds no later ones."""
    first = await claim(request.context.postgres, request.user_key, content, next(iter(body.target.values())))
    if isinstance(first, Refusal):
        return first
    if first is not None:
        paid = await booked_by(request.context.postgres, paid, first.at)
    limit = request.context.settings.payouts.losses_limit_tokens
    advance = Advance(request.user_id, None if body.confirm else limit)
    refunded = await request.context.actor.refund(paid, reason, advance)
    if refunded.missing:
        log.warning("refund.beyond_losses_limit", missing=refunded.missing, limit=limit)
        request.context.metrics.losses_limit_reached()
        return losses_limit(refunded.missing, limit)
    return _sum(refunded.receipts) if refunded.receipts else NOTHING_PAID


async def _find(postgres: Postgres, body: RefundWanted) -> list[PostingKey]:
    """Return the posting keys of the payments that the body names; none if nothing was paid."""
    if body.tip_id is not None:
        return await find_paid(postgres, Kind.TIP, body.tip_id)
    if body.ticket_id is not None:
        return await find_paid(postgres, Kind.TICKET, body.ticket_id)
    if body.call_id is not None:
        return await find_paid_in_call(postgres, body.call_id)
    assert body.stream_id is not None and body.user_id is not None, "there is no other target"
    return await find_paid_in_stream(postgres, body.stream_id, body.user_id)


def _sum(receipts: Sequence[Receipt]) -> Refund:
    """Add up refunds of one payer, by the wallet that each of them was taken from."""
    tokens = sum(receipt.posting.tokens for receipt in receipts)
    from_escrow, from_losses = (
        sum(receipt.posting.tokens for receipt in receipts if receipt.posting.debit == wallet)
        for wallet in (ESCROW, LOSSES)
    )
    return Refund(receipts[0].posting.credit, tokens, from_escrow, tokens - from_escrow - from_losses, from_losses)
