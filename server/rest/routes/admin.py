"""Operators: credits, the audit of the ledger, and the live rooms."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
import trio

from domain.amounts import MAX_POSTING_TOKENS
from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.call.record import CallView
from domain.ids import PROMOTIONS, PostingKey, RoomId, UserId, content_digest
from domain.refusals import KEY_IN_USE, Code, Refusal, insufficient_tokens
from domain.stream.record import StreamView
from domain.text import clean
from server.ids import new_uuid
from server.rest.query import Listed, OperatorPaging, page_of
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Needs, Routes
from server.rest.routes.wallet import Balance
from server.rest.strict_json import FieldError
from server.rooms.room import LiveRoom
from storage.idempotency import FirstUse, find_first_use
from storage.ledger.audit import audit
from storage.paging import Paged
from storage.people.users import find_user

routes = Routes("/api/admin")


class CreditWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The tokens to credit, or to take back if negative, and the reason, which is stored with the operator's action."""

    user_id: UserId
    tokens: Annotated[int, msgspec.Meta(ge=-MAX_POSTING_TOKENS, le=MAX_POSTING_TOKENS)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Credit(msgspec.Struct, frozen=True, rename="camel"):
    """A booked credit, and the wallet's balance right after it."""

    credit_id: UUID
    user_id: UserId
    tokens: int
    reason: str
    wallet: Balance


class ProofResult(msgspec.Struct, frozen=True, rename="camel"):
    """One invariant of the ledger, and the first rows that violate it."""

    proof: str
    holds: bool
    rows: list[dict[str, Any]]


class AuditResult(msgspec.Struct, frozen=True, rename="camel"):
    """The result of an audit: whether every invariant holds, and each of them."""

    holds: bool
    proofs: list[ProofResult]


class RoomCard(msgspec.Struct, frozen=True, rename="camel"):
    """A live room; `call` or `stream` is null while the room restarts after a crash."""

    room_id: RoomId
    kind: str
    channel: str
    call: CallView | None = None
    stream: StreamView | None = None


@routes.post(
    "/credits",
    needs=Needs.OPERATOR,
    status=201,
    takes_key=True,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.INSUFFICIENT_TOKENS,
        Code.SELF_PAYMENT,
        Code.NOT_FOUND,
        Code.IDEMPOTENCY_CONFLICT,
    ),
    serves_while_draining="repeats",
)
async def credit(request: Request, body: CreditWanted) -> Credit | Refusal:
    """Credit promotional tokens, or correct a balance with a negative amount, which never exceeds the balance.

    Promotional tokens can be spent and never cashed out. Operators cannot credit themselves.
    """
    reason = clean(body.reason)
    if not reason:
        return invalid(FieldError("reason", "must have a visible character"))
    if body.user_id == request.user_id:
        return Refusal(Code.SELF_PAYMENT, "Operators cannot credit themselves")
    if body.tokens == 0:
        return invalid(FieldError("tokens", "must not be 0"))
    posting = _posting(request.posting_key(), body, reason, request.user_id)
    match await find_first_use(request.context.postgres, request.user_key, posting.content):
        case FirstUse() as first:  # returned before any other check
            return _credit(first, body, reason)
        case Refusal() as conflict:
            return conflict
    if await find_user(request.context.postgres, body.user_id) is None:
        return Refusal(Code.NOT_FOUND, "No such user")
    return await _book(request, posting, body, reason)


@routes.get("/audit", needs=Needs.OPERATOR, refuses=(Code.OVERLOADED,))
async def show_audit(request: Request) -> AuditResult | Refusal:
    """Verify every invariant of the ledger against one snapshot. Only one audit runs at a time.

    The audit reads the whole ledger. A second request meanwhile is refused with OVERLOADED.
    """
    try:
        _one_audit.acquire_nowait()
    except trio.WouldBlock:
        return Refusal(Code.OVERLOADED, "Another audit is under way")
    try:
        proofs = [
            ProofResult(found.sentence, not found.rows, found.rows) async for found in audit(request.context.postgres)
        ]
    finally:
        _one_audit.release()
    request.context.metrics.ledger_proved({proof.proof: len(proof.rows) for proof in proofs})
    return AuditResult(all(proof.holds for proof in proofs), proofs)


@routes.get("/rooms", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def list_rooms(request: Request, query: OperatorPaging) -> Listed[RoomCard]:
    """The live rooms of this server, newest first. Other servers on the same database list their own."""
    await request.note_read()
    found = page_of(request.context.registry, query, lambda room: room.id)
    return request.listed(Paged([_card(room) for room in found.items], *found[1:]), query)


def _posting(key: PostingKey, body: CreditWanted, reason: str, operator_id: UserId) -> Posting:
    giver, taker = (PROMOTIONS, body.user_id) if body.tokens > 0 else (body.user_id, PROMOTIONS)
    return Posting(
        key=key,
        kind=Kind.CREDIT,
        debit=giver,
        credit=taker,
        tokens=abs(body.tokens),
        ref_id=new_uuid(),
        content=content_digest("credit", str(body.user_id), str(body.tokens), reason),
        operator_id=operator_id,
        memo=reason,
    )


async def _book(request: Request, posting: Posting, body: CreditWanted, reason: str) -> Credit | Refusal:
    """Post the credit in a background task, so that a client that disconnects does not cancel it."""
    receipt = (await request.background_tasks.run(partial(request.context.actor.post, [posting])))[0]
    match receipt.outcome:
        case Outcome.COMMITTED | Outcome.ALREADY:  # already, if the same request ran concurrently
            return _credit(receipt, body, reason)
        case Outcome.CONFLICT:
            return KEY_IN_USE
        case Outcome.INSUFFICIENT:
            return insufficient_tokens(posting.tokens, receipt.debit_after or 0, "to take them back")
    return invalid(FieldError("tokens", "are more than the wallet can hold"))


def _credit(booked: FirstUse | Receipt, body: CreditWanted, reason: str) -> Credit:
    balance = booked.credit_after if body.tokens > 0 else booked.debit_after
    assert booked.ref_id is not None, "a credit has an id"
    assert balance is not None, "a posting that is booked has balances"
    return Credit(booked.ref_id, body.user_id, body.tokens, reason, Balance(balance))


def _card(room: LiveRoom) -> RoomCard:
    if not room.parties:
        return RoomCard(room.id, "stream", room.channel, stream=None if room.stream is None else room.stream.view())
    call = room.call
    return RoomCard(room.id, "call", room.channel, None if call is None else call.view(room.clock.now()))


_one_audit = trio.Lock()  # an audit reads the whole journal
