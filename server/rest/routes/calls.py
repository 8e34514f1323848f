"""Calls: ring a creator, answer a call, list past calls."""

from functools import partial
from typing import Annotated, Literal

import msgspec

from domain.amounts import MAX_BALANCE_TOKENS
from domain.call.record import CallView
from domain.ids import CallId, UserId, content_digest
from domain.instant import duration
from domain.protocol.commands import CallAccept, CallCancel, CallCommand, CallDecline
from domain.refusals import Code, Refusal
from server.broadcast.replies import WaitingReply
from server.context import Context
from server.ids import new_channel, new_uuid
from server.rest.query import Listed, Period, PeriodPaging
from server.rest.request import Request
from server.rest.route import Retired, Routes
from server.sessions.call_commands import NO_SUCH_CALL
from storage.rooms.call_creation import NewCall, Rung, create_call
from storage.rooms.calls import CallFilter, CallStats, call_stats, list_calls

ANSWER_REFUSALS = (
    Code.NOT_FOUND,
    Code.FORBIDDEN,
    Code.CALL_NOT_ACTIVE,
    Code.CALL_ENDED,
    Code.OVERLOADED,
    Code.ROOM_STARTING,
    Code.DRAINING,
)
RING_REFUSALS = (
    Code.VALIDATION_FAILED,
    Code.INSUFFICIENT_TOKENS,
    Code.SELF_PAYMENT,
    Code.NOT_FOUND,
    Code.NOT_A_CREATOR,
    Code.CREATOR_UNAVAILABLE,
    Code.CREATOR_BUSY,
    Code.ALREADY_IN_CALL,
    Code.ALREADY_LIVE,
    Code.RING_COOLDOWN,
    Code.RATE_CHANGED,
    Code.IDEMPOTENCY_CONFLICT,
)
INITIATE = Retired(since=1_760_659_200, until="Fri, 31 Dec 2027 23:59:59 GMT", successor="/api/calls/init")

routes = Routes("/api/calls")


class CallWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The creator to call, the most that the call may cost, and the rate that the caller expects.

    At another rate the call is refused with RATE_CHANGED.
    """

    creator_id: UserId
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_BALANCE_TOKENS)] | None = None
    expected_rate_tokens_per_min: Annotated[int, msgspec.Meta(ge=1, le=MAX_BALANCE_TOKENS)] | None = None


class CallRung(msgspec.Struct, frozen=True, rename="camel"):
    """The ringing call and its channel; `minRequired` is the price of one block in tokens."""

    success: bool
    call_id: CallId
    channel: str
    min_required: int
    call: CallView


class CallAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The state of the call after the request."""

    call: CallView


class CallStatsByRole(msgspec.Struct, frozen=True, rename="camel"):
    """Sums over the caller's calls in each role."""

    fan: CallStats
    creator: CallStats


class HistoryQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of calls; the period refers to when they began to ring."""

    role: Literal["fan", "creator"] | None = None
    status: Literal["ringing", "active", "paused", "ended"] | None = None


@routes.post("/init", status=201, refuses=RING_REFUSALS, takes_key=True, serves_while_draining="repeats")
@routes.post(
    "/initiate", status=201, refuses=RING_REFUSALS, takes_key=True, serves_while_draining="repeats", retired=INITIATE
)
async def init_call(request: Request, body: CallWanted) -> CallRung | Refusal:
    """Ring a creator. Ringing is free; a request with the same key returns the same call.

    The creator must accept calls, be online and be in no other call or stream, and the fan must be able to pay one
    block. The rate and the length of a block are fixed now. Both parties receive the outcome over the websocket.
    """
    ringing = await request.background_tasks.run(partial(_make_and_ring, request.context, _new_call(request, body)))
    if isinstance(ringing, Refusal):
        return ringing
    facts = ringing.call.facts
    now = None if ringing.is_new else await request.context.call_commands.view(request.user_id, facts.id)
    return CallRung(
        success=True,
        call_id=facts.id,
        channel=facts.channel,
        min_required=facts.price.tokens(1),
        call=now or ringing.call.view,
    )


@routes.post("/{callId}/accept", refuses=ANSWER_REFUSALS)
async def accept_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """Accept a ringing call, as its creator; the first accept wins.

    Both parties must then join the channel within `calls.join_seconds`. Block 1 is charged once both have joined.
    """
    return await give(request, CallAccept(call_id=call_id))


@routes.post("/{callId}/decline", refuses=ANSWER_REFUSALS)
async def decline_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """Decline a ringing call, as its creator. The fan must wait before ringing this creator again."""
    return await give(request, CallDecline(call_id=call_id))


@routes.post("/{callId}/cancel", refuses=ANSWER_REFUSALS)
async def cancel_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """Cancel a ringing call, as its fan."""
    return await give(request, CallCancel(call_id=call_id))


@routes.get("/history", refuses=(Code.VALIDATION_FAILED,))
async def list_history(request: Request, query: HistoryQuery) -> Listed[CallView]:
    """The caller's calls, newest first, also those that were never answered."""
    return await calls_of(request, request.user_id, query)


async def calls_of(request: Request, user_id: UserId, query: HistoryQuery) -> Listed[CallView]:
    """Return a page of one user's calls. Raises BadCursor, StorageUnavailable."""
    wanted = CallFilter(query.role, query.status, query.since, query.until)
    return request.listed(await list_calls(request.context.postgres, user_id, wanted, query.page), query)


@routes.get("/stats", refuses=(Code.VALIDATION_FAILED,))
async def show_stats(request: Request, query: Period) -> CallStatsByRole:
    """Sums over the caller's calls, as a fan and as a creator."""
    return CallStatsByRole(*await call_stats(request.context.postgres, request.user_id, query.since, query.until))


@routes.get("/{callId}", refuses=(Code.NOT_FOUND,))
async def show_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """The present state of a call, for its parties. Other users get NOT_FOUND."""
    view = await request.context.call_commands.view(request.user_id, call_id)
    return NO_SUCH_CALL if view is None else CallAnswer(view)


async def give(request: Request, command: CallCommand) -> CallAnswer | Refusal:
    """Send a command to a call's room and wait for its answer, at most `http.answer_seconds`.

    A command that the room has accepted is carried out even if the wait times out or is cancelled.
    """
    reply = WaitingReply()
    await request.context.call_commands.submit(request.user_id, command, reply)
    result = await reply.wait(request.context.settings.http.answer_seconds)
    return result if isinstance(result, Refusal) else msgspec.convert(result, CallAnswer)


def _new_call(request: Request, body: CallWanted) -> NewCall:
    context, rules, now = request.context, request.context.settings.calls, request.context.clock.now()
    return NewCall(
        id=CallId(new_uuid()),
        channel=new_channel(),
        fan=request.user_id,
        creator=body.creator_id,
        creator_online=context.sessions.online(body.creator_id),
        max_tokens=body.max_tokens,
        key=request.user_key,
        content=_content(body),
        block_seconds=rules.block_seconds,
        block_rounding=rules.block_rounding,
        created_at=now,
        rings_until=now + duration(rules.ring_seconds),
        cooldown=duration(rules.ring_cooldown_seconds),
        expected_rate=body.expected_rate_tokens_per_min,
        server_id=context.leases.server_id,
    )


def _content(body: CallWanted) -> bytes:
    rate = body.expected_rate_tokens_per_min
    return content_digest("call", str(body.creator_id), str(body.max_tokens), *([] if rate is None else [f"at {rate}"]))


async def _make_and_ring(context: Context, new: NewCall) -> Rung | Refusal:
    """Create and ring a call in one task: one that does not ring keeps both parties busy until maintenance finds it."""
    ringing = await create_call(context.postgres, new)
    if isinstance(ringing, Rung) and ringing.is_new:
        context.call_rooms.start(ringing.call, [])
    return ringing
