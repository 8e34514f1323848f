"""Accountants: the journal of all wallets."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from domain.refusals import Code, Refusal
from server.rest.periods import range_of
from server.rest.query import Exported
from server.rest.request import Request
from server.rest.responses import Streamed, invalid
from server.rest.route import Needs, Routes
from server.rest.routes.exports import ExportQuery, end_of_period, export, file_name
from server.rest.strict_json import FieldError
from storage.accounting.journal import JournalEntry, JournalReader, find_place
from storage.ledger.cutoff import cut_off

routes = Routes("/api/admin/journal")


class JournalQuery(ExportQuery, frozen=True, rename="camel"):
    """A period of the journal, and where to go on in it."""

    after: Annotated[
        UUID | None, Meta(description="Only rows behind the posting with this id, the last one that has arrived.")
    ] = None


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED, Code.OVERLOADED))
async def export_journal(request: Request, query: JournalQuery) -> Exported[JournalEntry] | Streamed | Refusal:
    """Every posting of a period with both of its wallets, system wallets included, in the order of booking.

    With `format=csv` or `format=ndjson` the whole period in one response, of any length. To go on with a response that
    broke off, drop its last line if it has no end, and ask for the rest with `after`.
    """
    period = await range_of(query, request.context.time_zones)
    postgres = request.context.postgres
    await request.note_read()
    place = None if query.after is None else await find_place(postgres, query.after)
    if place is None and query.after is not None:
        return invalid(FieldError("after", "is not the id of a posting"))
    through = end_of_period(period, await cut_off(postgres))
    reader = JournalReader(postgres, period.since, through, place, period.zone.key)
    return await export(request, query, reader, through, file_name("journal", period, through))
