"""One wallet's entries in the order of their booking, oldest first, as accountants read them."""

from uuid import UUID

import msgspec

from domain.billing.posting import Kind
from domain.ids import WalletId
from storage.accounting.lines import Form, Portion, day_text, lines, name_of_kind, name_of_wallet, time_text
from storage.ledger.statements import NumberRange, entries_between
from storage.postgres import Postgres


class WalletEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of a wallet, numbered from 1 without gaps. `tokens` is negative for a debit."""

    n: int
    at: str
    day: str  # in the time zone of the export
    kind: str
    side: str
    tokens: int
    balance_after: int
    counterparty: str
    room_id: UUID | None
    block_no: int | None
    ref_id: UUID | None
    refund_of: str | None


# In the order of WalletEntry's fields; `r` is an entry, $5 the time zone.
COLUMNS = {
    "n": "r.n",
    "at": time_text("r.created_at"),
    "day": day_text("r.created_at", "$5::text"),
    "kind": name_of_kind("r.kind"),
    "side": "r.side",
    "tokens": "r.tokens",
    "balanceAfter": "r.balance_after",
    "counterparty": name_of_wallet("r.counterparty"),
    "roomId": "r.room_id",
    "blockNo": "r.block_no",
    "refId": "r.ref_id",
    "refundOf": name_of_kind("r.refund_of"),
}


class WalletReader:
    """Reads the entries of one wallet with numbers of a range, a portion at a time. `zone` is an IANA time zone."""

    columns = COLUMNS

    def __init__(self, postgres: Postgres, wallet_id: WalletId, span: NumberRange, zone: str) -> None:
        self._postgres = postgres
        self._wallet_id = wallet_id
        self._span = span
        self._zone = zone

    async def next_portion(self, form: Form, rows: int) -> Portion:
        """Return the next lines, at most `rows`. Raises StorageUnavailable; the next call then repeats the portion."""
        low, high = self._span
        last = min(low + rows, high)
        # Read the next numbers, as one text.
        row = await self._postgres.fetchrow(_PORTIONS[form], self._wallet_id, list(Kind), low, last, self._zone)
        assert row is not None, "an aggregate is one row"
        self._span = NumberRange(last, high)
        return Portion(row[0], last - low, str(last) if last > low else None, ended=last == high)


_ENTRIES = f"({entries_between(('debit', 'credit'), '$3', '$4')})"
_PORTIONS: dict[Form, str] = {form: lines(COLUMNS, form, _ENTRIES, "r.n") for form in ("ndjson", "csv")}
