"""Tips: send them, list past ones, and rank the givers."""

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from domain.billing.payment_refusal import why_not_paid
from domain.billing.posting import Kind
from domain.billing.tip_posting import tip_posting, tip_result
from domain.ids import UserId
from domain.protocol.commands import Amount, Text, TipSend
from domain.refusals import Code, Refusal
from domain.room import inputs
from domain.stream.access_policy import access_to
from server.broadcast.replies import WaitingReply
from server.ids import is_channel, new_uuid
from server.money.tips import Tipped, recall
from server.rest.periods import whole_days
from server.rest.query import Listed, Moment, PeriodPaging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Routes
from server.rest.routes.wallet import Balance
from server.rest.strict_json import FieldError
from server.sessions.call_commands import FULL
from storage.ledger.statements import Entry, EntryFilter, NumberRange
from storage.paging import Paged
from storage.people.creator_blocks import has_not_blocked
from storage.rooms.streams import find_standing, find_stream
from storage.rooms.tips import Giver, RoomSpan, find_room_span, list_tips, top_givers

NO_SUCH_CREATOR = Refusal(Code.NOT_FOUND, "No such creator")
NO_SUCH_ROOM = Refusal(Code.NOT_FOUND, "No such room")
NOT_LIVE = Refusal(Code.STREAM_NOT_LIVE, "The room is not live")
ELSEWHERE = FieldError("context", "is no room of this creator")

ChannelText = Annotated[str, msgspec.Meta(max_length=64)]

routes = Routes("/api/tips")


class TipContext(msgspec.Struct, frozen=True, rename="camel"):
    """The room of a tip: a stream or a call, by its id or its channel. The server verifies it."""

    stream_id: UUID | None = None
    call_id: UUID | None = None
    channel: ChannelText | None = None


class TipWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The receiver, the tokens, a message, and the room in which the tip appears; without a room it is private."""

    to_creator_id: UserId
    amount_tokens: Amount
    message: Text | None = None
    context: TipContext | None = None


class SentTip(msgspec.Struct, frozen=True, rename="camel"):
    """A tip that was sent; `channel` is that of its room, null outside of rooms."""

    tip_id: UUID
    to_creator_id: UserId
    amount_tokens: int
    message: str | None
    channel: str | None


class TipAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """The tip and the giver's wallet right after it; repeated as flat fields for older clients."""

    tip: SentTip
    wallet: Balance
    success: bool
    tip_id: UUID
    amount: int
    new_balance: int


class PastTip(msgspec.Struct, frozen=True, rename="camel"):
    """A tip as an entry of the caller's wallet."""

    tip_id: UUID | None
    role: Literal["sent", "received"]
    amount_tokens: int
    counterparty: str
    message: str | None
    room_id: UUID | None
    balance_after: int
    at: str


class TipsQuery(PeriodPaging, frozen=True, rename="camel"):
    """A filter of tips by direction, room and the time at which they were booked."""

    role: Literal["sent", "received"] | None = None
    stream_id: UUID | None = None
    call_id: UUID | None = None


class RankingQuery(msgspec.Struct, frozen=True, rename="camel"):
    """The ranking of one room, or of one creator in a period."""

    channel: ChannelText | None = None
    creator_id: UserId | None = None
    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")


class Ranking(msgspec.Struct, frozen=True, rename="camel"):
    """The hundred largest givers of the latest 100,000 tips, the largest first."""

    items: list[Giver]


@routes.post(
    "/send",
    takes_key=True,
    refuses=(
        Code.VALIDATION_FAILED,
        Code.INSUFFICIENT_TOKENS,
        Code.SELF_PAYMENT,
        Code.FORBIDDEN,
        Code.NOT_FOUND,
        Code.CREATOR_UNAVAILABLE,
        Code.CALL_ENDED,
        Code.STREAM_NOT_LIVE,
        Code.STREAM_ENDED,
        Code.SPEND_LIMIT,
        Code.IDEMPOTENCY_CONFLICT,
        Code.ROOM_STARTING,
    ),
    serves_while_draining="repeats",
)
async def send_tip(request: Request, body: TipWanted) -> TipAnswer | Refusal:
    """Tip a creator, in a room or outside of any. The creator gets all of the tokens.

    In a room, all members receive the tip. The tip of a muted user appears without its message.
    """
    tipped = await _look_up(request, body)
    command = TipSend(
        channel="" if tipped is None else tipped.channel or "",
        amount_tokens=body.amount_tokens,
        message=body.message,
        key=request.key or str(new_uuid()),
    )
    result = invalid(ELSEWHERE) if tipped is None else await _give_there(request, command, tipped)
    if isinstance(result, Refusal):  # a used key returns its first result rather than the refusal
        result = await recall(request.context.postgres, request.user_id, command, tipped, result)
    return result if isinstance(result, Refusal) else _answer(result)


@routes.get(refuses=(Code.VALIDATION_FAILED,))
async def list_past(request: Request, query: TipsQuery) -> Listed[PastTip] | Refusal:
    """The tips that the caller sent and received, newest first."""
    return await tips_of(request, request.user_id, query)


async def tips_of(request: Request, user_id: UserId, query: TipsQuery) -> Listed[PastTip] | Refusal:
    """Return a page of one user's tips. Refuses two rooms at once. Raises BadCursor, StorageUnavailable."""
    if query.stream_id is not None and query.call_id is not None:
        return invalid(FieldError("streamId", "cannot be given together with callId"))
    room_id, room = query.stream_id or query.call_id, None
    if room_id is not None:
        NumberRange(0, 0).before(query.before)  # an invalid cursor is refused even if there is no such room
        room = await find_room_span(request.context.postgres, room_id, None)
        if room is None:
            return request.listed(Paged[PastTip]([], 0, False, None), query)
    side = None if query.role is None else _SIDES[query.role]
    wanted = EntryFilter(kind=Kind.TIP, since=query.since, until=query.until, side=side)
    found = await list_tips(request.context.postgres, user_id, wanted, room, query.page)
    return request.listed(Paged([_past_tip(entry) for entry in found.items], *found[1:]), query)


@routes.get("/leaderboard", refuses=(Code.VALIDATION_FAILED, Code.FORBIDDEN, Code.NOT_FOUND))
async def show_ranking(request: Request, query: RankingQuery) -> Ranking | Refusal:
    """The largest givers in a room or to a creator.

    For a creator, only the creator and operators see all tips. Other users see tips into public streams alone, over a
    period widened to whole UTC days, so that they cannot learn who tips in private, and when. The ranking of a call is
    for its parties, that of a private stream for users with access to it.
    """
    if (query.channel is None) is (query.creator_id is None):
        return invalid(FieldError("channel", "or creatorId must be given, and not both"))
    postgres = request.context.postgres
    if query.creator_id is not None:
        if request.is_operator or request.user_id == query.creator_id:
            return Ranking(await top_givers(postgres, query.creator_id, query.since, query.until))
        since, until = whole_days(query.since, query.until)
        return Ranking(await top_givers(postgres, query.creator_id, since, until, public_only=True))
    room = await find_room_span(postgres, None, query.channel) if is_channel(query.channel or "") else None
    refusal = NO_SUCH_ROOM if room is None else await _why_not_ranked(request, room)
    if refusal is not None or room is None:
        return refusal or NO_SUCH_ROOM
    return Ranking(await top_givers(postgres, room.creator_id, room.since, room.until, room))


async def _why_not_ranked(request: Request, room: RoomSpan) -> Refusal | None:
    """Return why the caller may not see the ranking of a room; access to a private stream outlives its end."""
    if request.is_operator:
        return None
    if not room.admits(request.user_id):
        return NO_SUCH_ROOM
    stream = None if room.fan_id is not None else await find_stream(request.context.postgres, room.room_id)
    if stream is None or stream.facts.type == "public":
        return None
    standing = await find_standing(request.context.postgres, stream.facts, stream.record.removed, request.user_id)
    access = access_to(
        stream.facts,
        request.user_id,
        is_operator=False,
        holds_ticket=standing.holds_ticket,
        is_banned=standing.is_banned,
        ended=False,
    )
    return None if access.has_access else Refusal(Code.FORBIDDEN, "Only users who may watch the stream see its ranking")


async def _look_up(request: Request, body: TipWanted) -> Tipped | None:
    """Find the creator and the room of a tip.

    Returns None unless all given names are of one room of this creator that the caller may know of.
    """
    context = body.context or TipContext()
    named = [room_id for room_id in (context.stream_id, context.call_id) if room_id is not None]
    if not named and context.channel is None:
        return Tipped(body.to_creator_id, None, None)
    found: list[RoomSpan | None] = [await find_room_span(request.context.postgres, room_id, None) for room_id in named]
    if context.channel is not None:
        known = is_channel(context.channel)
        found.append(await find_room_span(request.context.postgres, None, context.channel) if known else None)
    rooms = {room for room in found if room is not None and room.creator_id == body.to_creator_id}
    if None in found or len(rooms) != 1 or not all(room.admits(request.user_id) for room in rooms):
        return None
    room = rooms.pop()
    return Tipped(room.creator_id, room.room_id, room.channel)


async def _give_there(request: Request, command: TipSend, tipped: Tipped) -> dict[str, object] | Refusal:
    """Send a tip through the room that it names, or outside of any."""
    give = _give if tipped.room_id is None else _give_in_room
    return await give(request, command, tipped)


async def _give_in_room(request: Request, command: TipSend, tipped: Tipped) -> dict[str, object] | Refusal:
    """Tip through the room, which publishes it; a tip that the room has accepted outlives a cancelled wait."""
    assert tipped.room_id is not None
    room = request.context.registry.find(tipped.room_id)
    if room is None:
        return await request.context.absent_rooms.why_absent(tipped.room_id) or NOT_LIVE
    reply, person = WaitingReply(), await request.context.user_cache.ensure_user(request.user_id)
    if not room.inbox.offer(inputs.RoomAction(person, None, command, new_uuid(), reply, request.is_operator)):
        return FULL
    result = await reply.wait(request.context.settings.http.answer_seconds)
    return result if isinstance(result, Refusal) else msgspec.convert(result, dict[str, object])


async def _give(request: Request, command: TipSend, tipped: Tipped) -> dict[str, object] | Refusal:
    """Tip outside of any room."""
    context, creator_id = request.context, tipped.creator_id
    if creator_id == request.user_id:
        return Refusal(Code.SELF_PAYMENT, "Nobody can tip themselves")
    is_unblocked = await has_not_blocked(context.postgres, creator_id, request.user_id)
    if is_unblocked is None:
        return NO_SUCH_CREATOR
    if not is_unblocked:
        return Refusal(Code.CREATOR_UNAVAILABLE, "The creator is not available")
    posting = tip_posting(giver=request.user_id, creator=creator_id, command=command, tip_id=new_uuid())
    receipt = (await request.background_tasks.run(partial(context.actor.post, [posting])))[0]
    if not receipt.paid:
        return why_not_paid(receipt, "to send the tip", context.clock.now())
    return tip_result(posting, receipt.ref_id, receipt.debit_after, None)


def _answer(result: object) -> TipAnswer:
    booked = msgspec.convert(result, _Booked)
    tip, balance = booked.tip, booked.wallet.balance
    return TipAnswer(tip, booked.wallet, True, tip.tip_id, tip.amount_tokens, balance)


class _Booked(msgspec.Struct, frozen=True):
    """The fields of `tip_result`, which the answer to a tip is made of in both transports."""

    tip: SentTip
    wallet: Balance


def _past_tip(entry: Entry) -> PastTip:
    return PastTip(
        tip_id=entry.ref_id,
        role="sent" if entry.side == "debit" else "received",
        amount_tokens=abs(entry.tokens),
        counterparty=entry.counterparty,
        message=entry.memo,
        room_id=entry.room_id,
        balance_after=entry.balance_after,
        at=entry.at,
    )


_SIDES = {"sent": "debit", "received": "credit"}
