"""Tickets to streams, which are paid into escrow."""

from functools import partial
from uuid import UUID

import msgspec

from domain.billing.payment_refusal import why_not_paid
from domain.billing.posting import Kind, Posting
from domain.ids import ESCROW, PostingKey, RoomId, UserId, content_digest
from domain.refusals import Code, Refusal, unfit
from server.ids import new_uuid
from server.rest.request import Request
from server.rest.route import Routes
from server.rest.routes.wallet import Balance
from storage.idempotency import FirstUse, find_first_use
from storage.rooms.streams import StoredStream, find_standing, find_stream

routes = Routes("/api/streams")


class Ticket(msgspec.Struct, frozen=True, rename="camel"):
    """A ticket and its price."""

    ticket_id: UUID
    stream_id: RoomId
    price_tokens: int


class TicketBought(msgspec.Struct, frozen=True, rename="camel"):
    """The ticket, and the buyer's wallet right after the payment."""

    ticket: Ticket
    wallet: Balance


@routes.post(
    "/{streamId}/tickets",
    status=201,
    takes_key=True,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.INSUFFICIENT_TOKENS,
        Code.SELF_PAYMENT,
        Code.FORBIDDEN,
        Code.NOT_FOUND,
        Code.CREATOR_UNAVAILABLE,
        Code.ALREADY_PURCHASED,
        Code.STREAM_ENDED,
        Code.SPEND_LIMIT,
        Code.IDEMPOTENCY_CONFLICT,
    ),
    serves_while_draining="repeats",
)
async def buy(request: Request, stream_id: RoomId) -> TicketBought | Refusal:
    """Buy a ticket, once; it gives its buyer access at once.

    The tokens stay in escrow until the creator has been live and present for `streams.ticket_release_seconds` in total.
    They are refunded if the stream ends before that or is not started within `streams.stream_expiry_days`. A buyer whom
    the creator removes or blocks is always refunded.
    """
    stored = await find_stream(request.context.postgres, stream_id)
    match await find_first_use(request.context.postgres, request.user_key, _content(stream_id)):
        case FirstUse() as first:
            assert stored is not None, "its ticket was sold"
            return _bought(stored, first.ref_id, first.debit_after)
        case Refusal() as conflict:
            return conflict
    if stored is None:
        return Refusal(Code.NOT_FOUND, "No such stream")
    price = stored.facts.ticket_price_tokens
    refusal = await _why_not_sell(request, stored)
    if refusal is not None or price is None:
        return refusal or unfit(("streamId", "is of a stream that needs no ticket"))
    return await _book(request, stored, _posting(request.posting_key(), request.user_id, stored, price))


async def _why_not_sell(request: Request, stored: StoredStream) -> Refusal | None:
    """Return why the caller may not buy a ticket, apart from its price."""
    if stored.facts.owner_id == request.user_id:
        return Refusal(Code.SELF_PAYMENT, "Nobody can buy a ticket from themselves")
    if stored.record.status == "ended":
        return Refusal(Code.STREAM_ENDED, "The stream has ended")
    return await _why_evicted(request, stored)


async def _why_evicted(request: Request, stored: StoredStream) -> Refusal | None:
    """Return why the creator keeps the caller out of the stream: by a removal or by a block."""
    room = request.context.registry.find(stored.facts.id)  # its state has a removal before the database does
    live = None if room is None else room.stream
    removed = stored.record.removed if live is None else tuple(live.access_policy.removed)
    standing = await find_standing(request.context.postgres, stored.facts, removed, request.user_id)
    if request.user_id in removed:
        return Refusal(Code.FORBIDDEN, "You were removed from this stream")
    if standing.is_banned:
        return Refusal(Code.CREATOR_UNAVAILABLE, "The creator is not available")
    return None


def _posting(key: PostingKey, buyer: UserId, stored: StoredStream, price: int) -> Posting:
    return Posting(
        key=key,
        kind=Kind.TICKET,
        debit=buyer,
        credit=ESCROW,
        tokens=price,
        room_id=stored.facts.id,
        ref_id=new_uuid(),
        content=_content(stored.facts.id),
    )


async def _book(request: Request, stored: StoredStream, posting: Posting) -> TicketBought | Refusal:
    return await request.background_tasks.run(partial(_sell, request, stored, posting))


async def _sell(request: Request, stored: StoredStream, posting: Posting) -> TicketBought | Refusal:
    """Book the ticket, and refund it at once if its buyer was removed or blocked meanwhile.

    The room stores a removal before it looks for a ticket to refund, so either this function or the room refunds it.
    """
    receipt = (await request.context.actor.post([posting]))[0]
    if not receipt.paid:
        return why_not_paid(receipt, "to buy the ticket", request.context.clock.now())
    now = await find_stream(request.context.postgres, stored.facts.id)
    if now is not None and (refusal := await _why_evicted(request, now)) is not None:
        await request.context.actor.refund([posting.key], "removed from the stream")
        return refusal
    return _bought(stored, receipt.ref_id, receipt.debit_after)


def _content(stream_id: RoomId) -> bytes:
    return content_digest("ticket", str(stream_id))


def _bought(stored: StoredStream, ticket_id: UUID | None, balance: int | None) -> TicketBought:
    price = stored.facts.ticket_price_tokens
    assert ticket_id is not None and balance is not None and price is not None, "a sold ticket is in the journal"
    return TicketBought(Ticket(ticket_id, stored.facts.id, price), Balance(balance))
