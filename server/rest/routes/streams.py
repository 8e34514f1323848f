"""Streams: announce, start and end them, and check access."""

from functools import partial
from typing import Annotated
from uuid import UUID

import msgspec
import trio

from domain.amounts import MAX_POSTING_TOKENS
from domain.billing.block import BlockPrice
from domain.ids import RoomId
from domain.refusals import Code, Refusal, room_starting
from domain.room import inputs
from domain.stream.access_policy import Reason, access_to
from domain.stream.record import StreamStatus, StreamType, StreamView
from domain.text import clean
from server.ids import new_channel, new_uuid
from server.rest.query import Listed, Paging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Needs, Routes
from server.rest.strict_json import FieldError
from server.rooms.stream_starts import start_over_ringing
from storage.paging import Paged
from storage.rooms.streams import (
    NewStream,
    StoredStream,
    StreamFilter,
    create_stream,
    end_scheduled_stream,
    find_standing,
    find_stream,
    list_streams,
    open_stream,
)

NO_SUCH_STREAM = Refusal(Code.NOT_FOUND, "No such stream")
ENDED = Refusal(Code.STREAM_ENDED, "The stream has ended")

Price = Annotated[int, msgspec.Meta(ge=1, le=MAX_POSTING_TOKENS)]

routes = Routes("/api/streams")


class StreamWanted(msgspec.Struct, frozen=True, rename="camel"):
    """A stream to announce: a public one is free, a private one has a ticket price, a rate per minute, or both."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    type: StreamType
    ticket_price_tokens: Price | None = None
    rate_tokens_per_min: Price | None = None


class StreamAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The state of the stream after the request."""

    stream: StreamView


class StreamAccess(msgspec.Struct, frozen=True, rename="camel"):
    """Whether the caller may watch, and the reason."""

    has_access: bool
    reason: Reason


class StreamsQuery(Paging, frozen=True, rename="camel"):
    """A filter of streams by status, type and creator."""

    status: StreamStatus | None = None
    type: StreamType | None = None
    creator_id: UUID | None = None


@routes.post(status=201, refuses=(Code.VALIDATION_FAILED, Code.NOT_A_CREATOR), serves_while_draining="none")
async def announce(request: Request, body: StreamWanted) -> StreamAnswer | Refusal:
    """Announce a stream. Its prices and its channel never change afterwards.

    It is `scheduled` until its creator starts it. One that is not started within `streams.stream_expiry_days` expires.
    """
    title = clean(body.title)
    refusal = _why_not_announce(request, body, title)
    if refusal is not None:
        return refusal
    limits = request.context.settings.limits
    made = await create_stream(
        request.context.postgres,
        _new_stream(request, body, title),
        max_scheduled=limits.streams_scheduled,
        max_a_day=limits.streams_per_day,
    )
    return made if isinstance(made, Refusal) else StreamAnswer(made.view)


@routes.get(needs=Needs.ONLOOKER, refuses=(Code.VALIDATION_FAILED,))
async def list_views(request: Request, query: StreamsQuery) -> Listed[StreamView]:
    """Streams, newest first. An overlay token may list them too, to find the room of its creator's live stream."""
    return await streams_of(request, StreamFilter(query.status, query.type, query.creator_id), query)


async def streams_of(request: Request, wanted: StreamFilter, query: Paging) -> Listed[StreamView]:
    """Return a page of the streams that a filter selects. Raises BadCursor, StorageUnavailable."""
    found = await list_streams(request.context.postgres, wanted, query.page)
    return request.listed(Paged([view_of(request, stored) for stored in found.items], *found[1:]), query)


@routes.get("/{streamId}", needs=Needs.ONLOOKER, refuses=(Code.NOT_FOUND,))
async def show_stream(request: Request, stream_id: RoomId) -> StreamAnswer | Refusal:
    """The present state of a stream, for everybody with a token."""
    stored = await find_stream(request.context.postgres, stream_id)
    return NO_SUCH_STREAM if stored is None else StreamAnswer(view_of(request, stored))


@routes.get("/{streamId}/access", refuses=(Code.NOT_FOUND,))
async def show_access(request: Request, stream_id: RoomId) -> StreamAccess | Refusal:
    """Whether the caller may watch, and the reason.

    Of a metered stream it does not say whether the caller has the tokens for a block; the join does.
    """
    stored = await find_stream(request.context.postgres, stream_id)
    if stored is None:
        return NO_SUCH_STREAM
    standing = await find_standing(request.context.postgres, stored.facts, stored.record.removed, request.user_id)
    access = access_to(
        stored.facts,
        request.user_id,
        is_operator=request.is_operator,
        holds_ticket=standing.holds_ticket,
        is_banned=standing.is_banned,
        ended=stored.record.status == "ended",
    )
    return StreamAccess(*access)


@routes.post(
    "/{streamId}/start",
    refuses=(
        Code.NOT_FOUND,
        Code.FORBIDDEN,
        Code.STREAM_ENDED,
        Code.ALREADY_LIVE,
        Code.ALREADY_IN_CALL,
        Code.OVERLOADED,
        Code.ROOM_STARTING,
    ),
    serves_while_draining="none",
)
async def start(request: Request, stream_id: RoomId) -> StreamAnswer | Refusal:
    """Go live and open the room. A call that is ringing for the creator is declined. Idempotent."""
    stored = await _own(request, stream_id)
    if isinstance(stored, Refusal):
        return stored
    if stored.record.status == "ended":
        return ENDED
    if stored.record.status == "scheduled":
        go_live = partial(_open, request, stream_id)
        refusal = await request.background_tasks.run(
            lambda: start_over_ringing(request.context.postgres, request.context.registry, request.user_id, go_live)
        )
        if refusal is not None:
            return refusal
    if request.context.registry.find(stream_id) is None:
        return await request.context.absent_rooms.why_absent(stream_id) or ENDED
    return await show_stream(request, stream_id)


@routes.post("/{streamId}/end", refuses=(Code.NOT_FOUND, Code.FORBIDDEN, Code.OVERLOADED, Code.ROOM_STARTING))
async def end(request: Request, stream_id: RoomId) -> StreamAnswer | Refusal:
    """End a stream. Answers once all its blocks are booked and its tickets are refunded, unless they are earned.

    A stream that has ended already is returned as it is.
    """
    stored = await _own(request, stream_id)
    if isinstance(stored, Refusal):
        return stored
    ended = stored.record.status == "ended"
    if stored.record.status == "scheduled":
        ended = await request.background_tasks.run(lambda: _cancel(request, stream_id))
    if not ended:  # live, or it went live just now
        refusal = await _end_live(request, stream_id)
        if refusal is not None:
            return refusal
    if stored.facts.ticket_price_tokens is not None:
        await request.background_tasks.run(lambda: request.context.tickets.settle(stream_id))
    answer = await show_stream(request, stream_id)
    if isinstance(answer, StreamAnswer) and answer.stream.status != "ended":  # its room crashed before it could end
        return room_starting()
    return answer


async def _cancel(request: Request, stream_id: RoomId) -> bool:
    """End a scheduled stream. Returns False if it has gone live meanwhile."""
    return await end_scheduled_stream(request.context.postgres, stream_id, request.context.clock.now())


async def _end_live(request: Request, stream_id: RoomId) -> Refusal | None:
    """Send the room its end and wait for its last receipt; return the refusal if it has no room on this server."""
    room = request.context.registry.find(stream_id)
    if room is None:
        return await request.context.absent_rooms.why_absent(stream_id)
    room.inbox.deliver(inputs.EndNow("ended"))
    with trio.move_on_after(request.context.settings.http.answer_seconds):
        await room.settled.wait()
    return None


def _why_not_announce(request: Request, body: StreamWanted, title: str) -> Refusal | None:
    """Return the first rule that the announced stream violates; `title` is the cleaned one."""
    priced = body.ticket_price_tokens is not None or body.rate_tokens_per_min is not None
    if not title:
        return invalid(FieldError("title", "must have a visible character"))
    if body.type == "public" and priced:
        return invalid(FieldError("type", "public takes neither ticketPriceTokens nor rateTokensPerMin"))
    if body.type == "private" and not priced:
        return invalid(FieldError("type", "private takes ticketPriceTokens, rateTokensPerMin or both"))
    rate, seconds = body.rate_tokens_per_min, request.context.settings.calls.block_seconds
    if rate is not None and BlockPrice(rate, seconds).tokens(1) > MAX_POSTING_TOKENS:
        return invalid(FieldError("rateTokensPerMin", f"makes a block cost more than {MAX_POSTING_TOKENS} tokens"))
    return None


def _new_stream(request: Request, body: StreamWanted, title: str) -> NewStream:
    rules = request.context.settings.calls
    return NewStream(
        id=RoomId(new_uuid()),
        channel=new_channel(),
        creator=request.user_id,
        title=title,
        type=body.type,
        ticket_price_tokens=body.ticket_price_tokens,
        rate_tokens_per_min=body.rate_tokens_per_min,
        block_seconds=rules.block_seconds,
        block_rounding=rules.block_rounding,
        created_at=request.context.clock.now(),
    )


async def _own(request: Request, stream_id: RoomId) -> StoredStream | Refusal:
    """Return the stream if the caller owns it."""
    stored = await find_stream(request.context.postgres, stream_id)
    if stored is None:
        return NO_SUCH_STREAM
    if stored.facts.owner_id != request.user_id:
        return Refusal(Code.FORBIDDEN, "Only the stream's owner may do this")
    return stored


async def _open(request: Request, stream_id: RoomId) -> Refusal | None:
    """Open a stream and its room in one task: a live stream without a room waits until maintenance finds it."""
    context = request.context
    opened = await open_stream(context.postgres, stream_id, context.leases.server_id, context.clock.now())
    if isinstance(opened, Refusal):
        return opened
    if opened is not None:
        await context.stream_rooms.adopt(stream_id, opened)
    return None


def view_of(request: Request, stored: StoredStream) -> StreamView:
    """Return the view of the live room if it runs on this server, else the stored one."""
    room = request.context.registry.find(stored.facts.id)
    return stored.view if room is None or room.stream is None else room.stream.view()
