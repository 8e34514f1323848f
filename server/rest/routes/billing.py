"""Billing for payers and payees: the blocks of a call, and pausing, resuming and ending its clock."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec
import trio
from msgspec import UNSET, UnsetType

from domain.billing.posting import Kind
from domain.call.record import CallView
from domain.ids import CallId, PostingKey, RoomId, UserId, block_key
from domain.instant import rfc3339_or_none, seconds
from domain.protocol.commands import CallEnd, CallPause, CallResume
from domain.refusals import Code, Refusal, room_starting
from domain.stream.record import StreamView
from server.rest.periods import DayPeriod, range_of
from server.rest.query import Listed, Paging, PeriodPaging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Routes
from server.rest.routes.calls import ANSWER_REFUSALS, CallAnswer, give
from server.rest.routes.streams import NO_SUCH_STREAM
from server.rest.strict_json import FieldError
from server.sessions.call_commands import NO_SUCH_CALL
from storage.ledger.statements import Entry, EntryFilter, statement
from storage.paging import Paged
from storage.rooms.billing_stats import BillingStats, billing_stats
from storage.rooms.block_entries import list_block_entries
from storage.rooms.charged_blocks import (
    Block,
    find_charged_blocks,
    find_paid_time,
    find_refunded_tokens,
    find_streams_among,
)
from storage.rooms.streams import find_stream

routes = Routes("/api/billing")


class Totals(msgspec.Struct, frozen=True, rename="camel"):
    """`blocks` counts the charged blocks, `refundedBlocks` those of them that were refunded for any reason.

    `tokens` is net of `refundedTokens`.
    """

    blocks: int
    tokens: int
    active_seconds: float
    refunded_blocks: int
    refunded_tokens: int


class CallBilling(msgspec.Struct, frozen=True, rename="camel"):
    """A call, its last 1,000 blocks in order, and how long it can continue.

    `secondsLeft` is how long the fan's tokens last, null while the call has no server; only the fan receives it.
    """

    call: CallView
    blocks: list[Block]
    totals: Totals
    paid_through: str | None
    seconds_left: float | UnsetType | None = UNSET


class StreamBilling(msgspec.Struct, frozen=True, rename="camel"):
    """A metered stream as one viewer pays for it: the viewer's last 1,000 blocks in order, and how long they can watch.

    `secondsLeft` is how long the viewer's tokens last, null while it is not known: before the viewer joins, and while
    the stream has no server.
    """

    stream: StreamView
    blocks: list[Block]
    totals: Totals
    paid_through: str | None
    seconds_left: float | None


class BilledBlock(msgspec.Struct, frozen=True, rename="camel"):
    """One block as an entry of a wallet: paid as a fan or earned as a creator, with its refund.

    It is a block of a call or of a stream; the other id is null.
    """

    call_id: UUID | None
    stream_id: UUID | None
    role: Literal["fan", "creator"]
    block_no: int | None
    tokens: int
    counterparty: str
    balance_after: int
    charged_at: str
    refunded_tokens: int
    refunded_at: str | None


class BillingStatsByRole(msgspec.Struct, frozen=True, rename="camel"):
    """Sums of both roles, by days of the time zone `tz`."""

    tz: str
    fan: BillingStats
    creator: BillingStats


class BlocksQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of blocks: of one call or stream, paid or earned."""

    call_id: UUID | None = None
    stream_id: UUID | None = None
    role: Literal["fan", "creator"] | None = None


@routes.post("/{callId}/pause", refuses=ANSWER_REFUSALS)
async def pause_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """Pause the clock of a call; the rest of the paid block is kept. Idempotent.

    The pause is a hold of the caller. The sum of one party's pauses is limited by `calls.pause_limit_seconds`.
    """
    return await give(request, CallPause(call_id=call_id))


@routes.post("/{callId}/resume", refuses=ANSWER_REFUSALS)
async def resume_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """Lift the caller's own hold; each party can only lift its own. Idempotent.

    The clock runs again once no hold is left: the other party may have paused as well, or be absent.
    """
    return await give(request, CallResume(call_id=call_id))


@routes.post("/{callId}/stop", refuses=(Code.NOT_FOUND, Code.OVERLOADED, Code.ROOM_STARTING, Code.DRAINING))
async def stop_call(request: Request, call_id: CallId) -> CallAnswer | Refusal:
    """End a call. Answers once all its blocks are booked; an ended call is returned as it is.

    While the call rings, this cancels it for the fan and declines it for the creator.
    """
    context = request.context
    room = context.registry.find(call_id)
    ended = await give(request, CallEnd(call_id=call_id))
    if isinstance(ended, Refusal) and ended.code is not Code.CALL_ENDED:
        return ended
    if room is not None:
        with trio.move_on_after(context.settings.http.answer_seconds):
            await room.settled.wait()
    view = await context.call_commands.view(request.user_id, call_id)
    if view is None:
        return NO_SUCH_CALL
    return CallAnswer(view) if view.status == "ended" else room_starting()  # its room crashed before it could end


@routes.get("/history", refuses=(Code.VALIDATION_FAILED,))
async def list_blocks(request: Request, query: BlocksQuery) -> Listed[BilledBlock] | Refusal:
    """The blocks that the caller paid or earned, newest first; refunds are separate entries of the ledger.

    `callId` and `streamId` exclude each other. The period refers to the time at which a block was charged.
    """
    return await blocks_of(request, request.user_id, query)


async def blocks_of(request: Request, user_id: UserId, query: BlocksQuery) -> Listed[BilledBlock] | Refusal:
    """Return a page of one user's blocks. Refuses two rooms at once. Raises BadCursor, StorageUnavailable."""
    if query.call_id is not None and query.stream_id is not None:
        return invalid(FieldError("streamId", "cannot be given together with callId"))
    wanted = EntryFilter(
        kind=Kind.BLOCK,
        since=query.since,
        until=query.until,
        room_id=query.call_id or query.stream_id,
        side=None if query.role is None else _SIDES[query.role],
    )
    if await _is_other_kind(request, query):
        return request.listed(Paged([], 0, False, None), query)
    return await block_page(request, user_id, wanted, query)


async def block_page(request: Request, user_id: UserId, wanted: EntryFilter, query: Paging) -> Listed[BilledBlock]:
    """Return a page of the blocks of one wallet that a filter selects. Raises BadCursor, StorageUnavailable."""
    read = statement if wanted.room_id is None else list_block_entries
    found = await read(request.context.postgres, user_id, wanted, query.page)
    blocks = await _billed_blocks(request, user_id, found.items)
    return request.listed(Paged(blocks, *found[1:]), query)


@routes.get("/stats", refuses=(Code.VALIDATION_FAILED,))
async def show_stats(request: Request, query: DayPeriod) -> BillingStatsByRole:
    """Blocks paid as a fan and earned as a creator, by day and by counterparty, net of refunds.

    Days are those of the IANA zone `tz`, with 23 or 25 hours where its clocks change. `from` and `to` are instants, or
    dates, which mean the start of that day: `to` is the day after the last one.
    """
    since, until, zone = await range_of(query, request.context.time_zones)
    stats = await billing_stats(request.context.postgres, request.user_id, since, until, zone.key)
    return BillingStatsByRole(zone.key, *stats)


@routes.get("/{callId}", refuses=(Code.NOT_FOUND,))
async def show_billing(request: Request, call_id: CallId) -> CallBilling | Refusal:
    """A call and its blocks, for its parties. Other users get NOT_FOUND."""
    view = await request.context.call_commands.view(request.user_id, call_id)
    if view is None:
        return NO_SUCH_CALL
    fan = UserId(view.fan.user_id)
    return CallBilling(
        call=view,
        # As many as the call had when it was read: all of them are in the ledger, and later ones are not shown.
        blocks=await find_charged_blocks(request.context.postgres, RoomId(call_id), fan, view.blocks),
        totals=Totals(view.blocks, view.tokens, view.active_seconds, view.refunded_blocks, view.refunded_tokens),
        paid_through=view.paid_through,
        seconds_left=_seconds_left(request, view) if request.user_id == fan else UNSET,
    )


@routes.get("/streams/{streamId}", refuses=(Code.NOT_FOUND,))
async def show_stream_billing(request: Request, stream_id: RoomId) -> StreamBilling | Refusal:
    """A metered stream and the caller's own blocks in it. Users who never watched it as payers get NOT_FOUND.

    The owner finds the blocks of all viewers in `/api/billing/history?streamId=`.
    """
    postgres, user_id = request.context.postgres, request.user_id
    stored = await find_stream(postgres, stream_id)
    paid_time = None if stored is None else await find_paid_time(postgres, stream_id, user_id)
    if stored is None or paid_time is None:
        return NO_SUCH_STREAM
    room = request.context.registry.find(stream_id)
    meter = None if room is None else room.meter_of_viewer(user_id)
    paid, active = paid_time
    paid_through, left = None, 0 if stored.record.status == "ended" else None
    if room is not None and meter is not None:
        now = room.clock.now()
        active, paid_through, left = meter.billed_active(now), meter.paid_through(), meter.left(now)
    return StreamBilling(
        stream=stored.view if room is None or room.stream is None else room.stream.view(),
        blocks=await find_charged_blocks(postgres, stream_id, user_id, paid.blocks),
        totals=Totals(paid.blocks, paid.kept_tokens, seconds(active), paid.refunded_blocks, paid.refunded_tokens),
        paid_through=rfc3339_or_none(paid_through),
        seconds_left=None if left is None else seconds(left),
    )


async def _is_other_kind(request: Request, query: BlocksQuery) -> bool:
    """Return whether the id of a call was given as that of a stream, or the reverse."""
    room_id = query.call_id or query.stream_id
    if room_id is None:
        return False
    is_stream = bool(await find_streams_among(request.context.postgres, [room_id]))
    return is_stream is not (query.stream_id is not None)


def _seconds_left(request: Request, view: CallView) -> float | None:
    """Return how long the fan's tokens last; None while no server owns the call and the time is unknown."""
    if view.status == "ended":
        return 0.0
    room = request.context.registry.find(view.id)
    left = None if room is None else room.time_left(view.max_tokens)
    return None if left is None else seconds(left)


async def _billed_blocks(request: Request, user_id: UserId, entries: Sequence[Entry]) -> list[BilledBlock]:
    """Complete entries of blocks by their refunds and the kinds of their rooms, each read by one query for all."""
    keys = {entry.n: _key(user_id, entry) for entry in entries}
    refunds = await find_refunded_tokens(request.context.postgres, list(keys.values()))
    streams = await find_streams_among(request.context.postgres, {entry.room_id for entry in entries if entry.room_id})
    return [
        BilledBlock(
            call_id=None if entry.room_id in streams else entry.room_id,
            stream_id=entry.room_id if entry.room_id in streams else None,
            role="fan" if entry.side == "debit" else "creator",
            block_no=entry.block_no,
            tokens=abs(entry.tokens),
            counterparty=entry.counterparty,
            balance_after=entry.balance_after,
            charged_at=entry.at,
            refunded_tokens=refunds[keys[entry.n]].tokens,
            refunded_at=refunds[keys[entry.n]].at,
        )
        for entry in entries
    ]


def _key(user_id: UserId, entry: Entry) -> PostingKey:
    """Derive the posting key of a block from its room, its payer and its number."""
    assert entry.room_id is not None and entry.block_no is not None, "a block has a room and a number"
    payer = user_id if entry.side == "debit" else UserId(UUID(entry.counterparty))
    return block_key(RoomId(entry.room_id), payer, entry.block_no)


_SIDES = {"fan": "debit", "creator": "credit"}
