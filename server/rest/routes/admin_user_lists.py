"""Operators: one user's lists, by the same functions as the user's own."""

from typing import Annotated, Literal

from msgspec import Meta

from domain.call.record import CallView
from domain.ids import UserId
from domain.refusals import Refusal
from domain.stream.record import StreamStatus, StreamType, StreamView
from server.rest.query import Listed, OperatorLimit, OperatorPeriodPaging
from server.rest.request import Request
from server.rest.route import Needs, Routes
from server.rest.routes.admin_payments import PurchaseOfUser, UserPurchasesQuery, purchases_of
from server.rest.routes.admin_users import READS_USER, begin_read
from server.rest.routes.billing import BilledBlock, BlocksQuery, blocks_of
from server.rest.routes.calls import HistoryQuery, calls_of
from server.rest.routes.payouts import PayoutCard, UserPayoutsQuery, payouts_of
from server.rest.routes.streams import streams_of
from server.rest.routes.tips import PastTip, TipsQuery, tips_of
from server.rest.routes.wallet import LedgerQuery, entries_of
from storage.ledger.statements import Entry
from storage.people.bans import PastBan, list_bans_of
from storage.people.reports import Report, list_reports_of
from storage.rooms.streams import StreamFilter

routes = Routes("/api/admin/users/{userId}")


class UserLedgerQuery(LedgerQuery, frozen=True, rename="camel"):
    """A filter of one user's entries by kind and period."""

    limit: OperatorLimit = 20


class UserBlocksQuery(BlocksQuery, frozen=True, rename="camel"):
    """A filter of one user's blocks: of one call or stream, paid or earned."""

    limit: OperatorLimit = 20


class UserTipsQuery(TipsQuery, frozen=True, rename="camel"):
    """A filter of one user's tips by direction, room and period."""

    limit: OperatorLimit = 20


class UserCallsQuery(HistoryQuery, frozen=True, rename="camel"):
    """A filter of one user's calls; the period refers to when they began to ring."""

    limit: OperatorLimit = 20


class UserStreamsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of one creator's streams; the period refers to when they were announced."""

    status: Annotated[StreamStatus | None, Meta(description="Only streams in this state.")] = None
    type: Annotated[StreamType | None, Meta(description="Only streams of this type.")] = None


class UserReportsQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of the reports that a user is part of."""

    side: Annotated[
        Literal["about", "by"] | None,
        Meta(description="Only reports in which the user has this part."),
    ] = None


@routes.get("/ledger", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_ledger(request: Request, user_id: UserId, query: UserLedgerQuery) -> Listed[Entry] | Refusal:
    """Every entry of one user's wallet with the balance after it, in booking order, newest first."""
    return await begin_read(request, user_id) or await entries_of(request, user_id, query)


@routes.get("/blocks", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_blocks(request: Request, user_id: UserId, query: UserBlocksQuery) -> Listed[BilledBlock] | Refusal:
    """The blocks that one user paid or earned, newest first, with their refunds.

    `callId` and `streamId` exclude each other. The period refers to the time at which a block was charged.
    """
    return await begin_read(request, user_id) or await blocks_of(request, user_id, query)


@routes.get("/tips", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_tips(request: Request, user_id: UserId, query: UserTipsQuery) -> Listed[PastTip] | Refusal:
    """The tips that one user sent and received, newest first. `callId` and `streamId` exclude each other."""
    return await begin_read(request, user_id) or await tips_of(request, user_id, query)


@routes.get("/calls", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_calls(request: Request, user_id: UserId, query: UserCallsQuery) -> Listed[CallView] | Refusal:
    """The calls of one user, newest first, also those that were never answered."""
    return await begin_read(request, user_id) or await calls_of(request, user_id, query)


@routes.get("/streams", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_streams(request: Request, user_id: UserId, query: UserStreamsQuery) -> Listed[StreamView] | Refusal:
    """The streams of one creator, newest first."""
    wanted = StreamFilter(query.status, query.type, user_id, query.since, query.until)
    return await begin_read(request, user_id) or await streams_of(request, wanted, query)


@routes.get("/purchases", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_purchases(
    request: Request, user_id: UserId, query: UserPurchasesQuery
) -> Listed[PurchaseOfUser] | Refusal:
    """The purchases of one user, newest first, with their checkouts."""
    return await begin_read(request, user_id) or await purchases_of(request, user_id, query)


@routes.get("/payouts", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_payouts(request: Request, user_id: UserId, query: UserPayoutsQuery) -> Listed[PayoutCard] | Refusal:
    """The payouts of one creator, newest first."""
    return await begin_read(request, user_id) or await payouts_of(request, user_id, query)


@routes.get("/reports", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_reports(request: Request, user_id: UserId, query: UserReportsQuery) -> Listed[Report] | Refusal:
    """The reports about one user and by the user, newest first."""
    unknown = await begin_read(request, user_id)
    if unknown is not None:
        return unknown
    found = await list_reports_of(request.context.postgres, query.page, user_id, query.side, query.since, query.until)
    return request.listed(found, query)


@routes.get("/bans", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_bans(request: Request, user_id: UserId, query: OperatorPeriodPaging) -> Listed[PastBan] | Refusal:
    """All bans of one user, newest first, also lifted and expired ones. The period refers to when they were imposed."""
    unknown = await begin_read(request, user_id)
    if unknown is not None:
        return unknown
    found = await list_bans_of(request.context.postgres, query.page, user_id, since=query.since, until=query.until)
    return request.listed(found, query)
