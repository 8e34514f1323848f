"""The whole journal in the order of its booking: every posting of a period with both of its wallets."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from storage.accounting.lines import Form, Portion, day_text, lines, name_of_kind, name_of_wallet, time_text
from storage.ledger.statements import of_refunded
from storage.postgres import Postgres


class JournalEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One posting: `tokens` moved from the wallet `debit` to the wallet `credit`.

    Wallets are users' ids or the names of system wallets. In each wallet, postings are numbered without gaps.
    """

    id: UUID
    at: str
    day: str  # in the time zone of the export
    kind: str
    tokens: int
    debit: str
    credit: str
    debit_after: int
    credit_after: int
    debit_n: int
    credit_n: int
    room_id: UUID | None
    block_no: int | None
    ref_id: UUID | None
    refund_of: str | None
    follows_id: UUID | None  # the posting that a refund, release or repayment follows from


# In the order of JournalEntry's fields; `r` is a row of the journal, $6 the time zone.
COLUMNS = {
    "id": "r.key",
    "at": time_text("r.created_at"),
    "day": day_text("r.created_at", "$6::text"),
    "kind": name_of_kind("r.kind"),
    "tokens": "r.tokens",
    "debit": name_of_wallet("r.debit_wallet"),
    "credit": name_of_wallet("r.credit_wallet"),
    "debitAfter": "r.debit_after",
    "creditAfter": "r.credit_after",
    "debitN": "r.debit_n",
    "creditN": "r.credit_n",
    "roomId": "r.room_id",
    "blockNo": f"coalesce(r.block_no, {of_refunded('block_no', 'r')})",
    "refId": "r.ref_id",
    "refundOf": name_of_kind(f"({of_refunded('kind', 'r')})"),
    "followsId": "CASE WHEN r.kind IN (6, 8, 9) THEN r.content END",
}


class Place(NamedTuple):
    """A place in the order of the journal: behind the posting with this time and this key."""

    at: datetime
    key: UUID


async def find_place(postgres: Postgres, key: UUID) -> Place | None:
    """Return the place behind a posting, or None if there is no such posting. Raises StorageUnavailable."""
    # Look up the posting's time.
    row = await postgres.fetchrow("SELECT created_at FROM journal WHERE key = $1", key)
    return None if row is None else Place(row["created_at"], key)


class JournalReader:
    """Reads the postings from `since` on and before `until`, behind the place `after`, a portion at a time.

    `until` must not be later than a cut-off (`storage/ledger/cutoff.py`), so that the rows are the same however slowly
    they are read. `zone` is the IANA time zone of the days.
    """

    columns = COLUMNS

    def __init__(
        self, postgres: Postgres, since: datetime | None, until: datetime, after: Place | None, zone: str
    ) -> None:
        self._postgres = postgres
        self._since = since
        self._until = until
        self._after = after
        self._zone = zone

    async def next_portion(self, form: Form, rows: int) -> Portion:
        """Return the next lines, at most `rows`. Raises StorageUnavailable; the next call then repeats the portion."""
        place = self._after or Place(_BEGINNING, _NO_KEY)
        # Read the next postings by the index of their times, as one text.
        row = await self._postgres.fetchrow(_PORTIONS[form], self._since, self._until, *place, rows, self._zone)
        assert row is not None, "an aggregate is one row"
        text, count, at, key = row
        if key is not None:
            self._after = Place(at, key)
        return Portion(text, count, None if key is None else str(key), ended=count < rows)


_BEGINNING = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
_NO_KEY = UUID(int=0)
_PAGE = (
    "SELECT * FROM journal WHERE created_at >= greatest($1::timestamptz, $3) AND created_at < $2"
    " AND (created_at, key) > ($3, $4) ORDER BY created_at, key LIMIT $5"
)
_PORTIONS: dict[Form, str] = {
    form: f"WITH page AS MATERIALIZED ({_PAGE})"
    f" SELECT ({lines(COLUMNS, form, 'page', 'r.created_at, r.key')}), (SELECT count(*) FROM page), l.*"
    " FROM (SELECT) one LEFT JOIN (SELECT created_at, key FROM page ORDER BY 1 DESC, 2 DESC LIMIT 1) l ON true"
    for form in ("ndjson", "csv")
}
