"""Debts of payees to the system wallet `losses`, which advanced refunds that they could not cover."""

from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from domain.billing.posting import Kind
from domain.ids import UserId
from domain.instant import rfc3339_of
from storage.paging import Listing, Page, Paged, all_of
from storage.postgres import Postgres, Row

DebtStatus: TypeAlias = Literal["open", "repaid", "written_off"]


class Debt(msgspec.Struct, frozen=True, rename="camel"):
    """One advance: `userId` owes `openTokens` of the `tokens` that were refunded to `refundedTo`.

    `refundOf` is the kind of the refunded posting; `roomId` and `blockNo` name a block, and `refId` any other posting.
    Debts that are written off have no `userId`: they were advanced before debts were recorded.
    """

    debt_id: UUID
    status: DebtStatus
    user_id: UserId | None
    tokens: int
    repaid_tokens: int
    open_tokens: int
    refunded_to: UserId
    refund_of: str | None
    room_id: UUID | None
    block_no: int | None
    ref_id: UUID | None
    operator_id: UserId | None
    reason: str | None
    at: str


_DEBTS = Listing(
    columns="d.advance_key AS id, d.debtor, d.tokens, d.repaid, d.created_at, j.credit_wallet, j.room_id, j.ref_id,"
    " o.kind, o.block_no, a.operator_id, (SELECT memo FROM memos WHERE posting_key = d.advance_key) AS reason",
    source="debts d, LATERAL (SELECT credit_wallet, room_id, ref_id, content FROM journal"
    " WHERE key = d.advance_key LIMIT 1) j"
    " LEFT JOIN LATERAL (SELECT kind, block_no FROM journal WHERE key = j.content LIMIT 1) o ON true"
    " LEFT JOIN LATERAL (SELECT operator_id FROM operator_actions WHERE posting_key = d.advance_key LIMIT 1) a ON true",
    table="debts d",
    at="d.created_at",
    id="d.advance_key",
)
_STATUS = {
    "open": "d.repaid < d.tokens AND d.debtor IS NOT NULL",
    "repaid": "d.repaid = d.tokens",
    "written_off": "d.repaid < d.tokens AND d.debtor IS NULL",
}


async def list_debts(
    postgres: Postgres,
    page: Page,
    *,
    status: DebtStatus | None = None,
    user_id: UserId | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Paged[Debt]:
    """Return a page of debts, newest first: of one status or one debtor, advanced from `since` on and before `until`.

    Raises BadCursor, StorageUnavailable.
    """
    args = list[Any]()
    condition = all_of(args, ("d.debtor =", user_id), ("d.created_at >=", since), ("d.created_at <", until))
    if status is not None:
        condition += f" AND {_STATUS[status]}"
    return await _DEBTS.page(postgres, page, [condition], args, _debt)


def _debt(row: Row) -> Debt:
    left = row["tokens"] - row["repaid"]
    status: DebtStatus = "repaid" if left == 0 else "written_off" if row["debtor"] is None else "open"
    return Debt(
        debt_id=row["id"],
        status=status,
        user_id=row["debtor"],
        tokens=row["tokens"],
        repaid_tokens=row["repaid"],
        open_tokens=left,
        refunded_to=row["credit_wallet"],
        refund_of=None if row["kind"] is None else Kind(row["kind"]).name.lower(),
        room_id=row["room_id"],
        block_no=row["block_no"],
        ref_id=row["ref_id"],
        operator_id=row["operator_id"],
        reason=row["reason"],
        at=rfc3339_of(row["created_at"]),
    )
