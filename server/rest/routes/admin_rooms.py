"""Operators: any call and any stream, with its timeline and its blocks."""

from typing import Annotated, Literal, TypeAlias
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.billing.posting import Kind
from domain.call.record import CallView
from domain.ids import CallId, RoomId, UserId
from domain.instant import Instant, rfc3339, seconds
from domain.refusals import Code, Refusal
from domain.stream.record import StreamView
from server.rest.query import Listed, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.route import Needs, Routes
from server.rest.routes.billing import BilledBlock, Totals, block_page
from server.rest.routes.streams import NO_SUCH_STREAM, view_of
from server.sessions.call_commands import NO_SUCH_CALL
from storage.ledger.statements import EntryFilter
from storage.rooms.calls import StoredCall, find_call
from storage.rooms.charged_blocks import Block, find_charged_blocks
from storage.rooms.streams import StoredStream, find_stream

CallStepName: TypeAlias = Literal["ringing", "accepted", "started", "fan_paused", "creator_paused", "ended"]
StreamStepName: TypeAlias = Literal["scheduled", "live", "ended"]

routes = Routes("/api/admin")


class CallStep(msgspec.Struct, frozen=True, rename="camel"):
    """One change of a call's state."""

    at: Annotated[str, Meta(description="The time of the change.", examples=["2026-01-31T12:00:00.000Z"])]
    step: Annotated[CallStepName, Meta(description="The change.", examples=["ended"])]
    reason: Annotated[str | None, Meta(description="The end reason; null for other steps.", examples=["hangup"])] = None


class CallDetails(msgspec.Struct, frozen=True, rename="camel"):
    """A call as operators see it. Holds and pauses that are lifted are not stored one by one, only their sums."""

    call: Annotated[CallView, Meta(description="The present state, with the holds that stand.")]
    timeline: Annotated[list[CallStep], Meta(description="The changes of its state, in the order of their times.")]
    fan_paused_seconds: Annotated[float, Meta(description="The sum of the fan's ended pauses, in seconds.")]
    creator_paused_seconds: Annotated[float, Meta(description="The sum of the creator's ended pauses, in seconds.")]
    epoch: Annotated[int, Meta(description="How often a server took over the call, from 1.")]
    blocks: Annotated[list[Block], Meta(description="The last 1,000 blocks, in order, with their refunds.")]
    totals: Annotated[Totals, Meta(description="The sums of all blocks.")]


class StreamStep(msgspec.Struct, frozen=True, rename="camel"):
    """One change of a stream's state."""

    at: Annotated[str, Meta(description="The time of the change.", examples=["2026-01-31T12:00:00.000Z"])]
    step: Annotated[StreamStepName, Meta(description="The state that began.", examples=["ended"])]
    reason: Annotated[str | None, Meta(description="The end reason; null for other steps.", examples=["ended"])] = None


class StreamDetails(msgspec.Struct, frozen=True, rename="camel"):
    """A stream as operators see it."""

    stream: Annotated[StreamView, Meta(description="The present state.")]
    timeline: Annotated[list[StreamStep], Meta(description="The changes of its state, in the order of their times.")]
    present_seconds: Annotated[float, Meta(description="How long the creator was live and present, in seconds.")]
    tickets_released: Annotated[bool, Meta(description="Whether its tickets have left escrow for the creator.")]
    muted: Annotated[list[UserId], Meta(description="The users whom the creator has muted.")]
    removed: Annotated[list[UserId], Meta(description="The users whom the creator has removed.")]
    epoch: Annotated[int, Meta(description="How often a server took over the stream, from 1.")]


class StreamBlocksQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of a stream's blocks by their payer; the period refers to when they were charged."""

    user_id: Annotated[UUID | None, Meta(description="Only the blocks of this viewer.")] = None


@routes.get("/calls/{callId}", needs=Needs.OPERATOR, refuses=(Code.NOT_FOUND,))
async def show_call(request: Request, call_id: CallId) -> CallDetails | Refusal:
    """Any call: its state, its timeline and its blocks."""
    stored = await find_call(request.context.postgres, call_id)
    if stored is None:
        return NO_SUCH_CALL
    fan_id = stored.facts.fan_id
    await request.note_read(*stored.facts.parties, room_id=RoomId(call_id))
    view = await request.context.call_commands.view(fan_id, call_id) or stored.view
    return CallDetails(
        call=view,
        timeline=_call_timeline(stored),
        fan_paused_seconds=seconds(stored.record.fan_paused),
        creator_paused_seconds=seconds(stored.record.creator_paused),
        epoch=stored.epoch,
        blocks=await find_charged_blocks(request.context.postgres, RoomId(call_id), fan_id, view.blocks),
        totals=Totals(view.blocks, view.tokens, view.active_seconds, view.refunded_blocks, view.refunded_tokens),
    )


@routes.get("/streams/{streamId}", needs=Needs.OPERATOR, refuses=(Code.NOT_FOUND,))
async def show_stream(request: Request, stream_id: RoomId) -> StreamDetails | Refusal:
    """Any stream: its state and its timeline."""
    stored = await find_stream(request.context.postgres, stream_id)
    if stored is None:
        return NO_SUCH_STREAM
    await request.note_read(stored.facts.owner_id, room_id=stream_id)
    record = stored.record
    return StreamDetails(
        stream=view_of(request, stored),
        timeline=_stream_timeline(stored),
        present_seconds=seconds(record.present),
        tickets_released=record.released,
        muted=list(record.muted),
        removed=list(record.removed),
        epoch=stored.epoch,
    )


@routes.get("/streams/{streamId}/blocks", needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED, Code.NOT_FOUND))
async def list_stream_blocks(
    request: Request, stream_id: RoomId, query: StreamBlocksQuery
) -> Listed[BilledBlock] | Refusal:
    """The blocks of a metered stream, newest first, with their refunds.

    They are entries of the creator's wallet, or, with `userId`, of that viewer's wallet.
    """
    stored = await find_stream(request.context.postgres, stream_id)
    if stored is None:
        return NO_SUCH_STREAM
    wallet = stored.facts.owner_id if query.user_id is None else UserId(query.user_id)
    await request.note_read(wallet, room_id=stream_id)
    wanted = EntryFilter(kind=Kind.BLOCK, since=query.since, until=query.until, room_id=stream_id)
    return await block_page(request, wallet, wanted, query)


def _call_timeline(stored: StoredCall) -> list[CallStep]:
    record = stored.record
    times: dict[CallStepName, Instant | None] = {
        "ringing": stored.facts.created_at,
        "accepted": record.accepted_at,
        "started": record.started_at,
        "fan_paused": record.fan_paused_at,
        "creator_paused": record.creator_paused_at,
        "ended": record.ended_at,
    }
    happened = sorted(((at, step) for step, at in times.items() if at is not None), key=lambda each: each[0])
    return [CallStep(rfc3339(at), step, record.end_reason if step == "ended" else None) for at, step in happened]


def _stream_timeline(stored: StoredStream) -> list[StreamStep]:
    record = stored.record
    times: dict[StreamStepName, Instant | None] = {
        "scheduled": stored.facts.created_at,
        "live": record.started_at,
        "ended": record.ended_at,
    }
    happened = [(at, step) for step, at in times.items() if at is not None]
    return [StreamStep(rfc3339(at), step, record.end_reason if step == "ended" else None) for at, step in happened]
