"""Exports of any length: a page as JSON, or the rest of a period as NDJSON or CSV, which is read while it is sent."""

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec
import structlog
import trio
from msgspec import Meta

from domain.instant import rfc3339_of
from domain.refusals import Refusal
from server.access.export_slots import BUSY, TooManyExports
from server.rest.periods import DateRange, DayPeriod
from server.rest.query import STREAMED_AS, Exported, next_link
from server.rest.request import Request
from server.rest.responses import Streamed
from storage.accounting.lines import Form, Portion, header
from storage.database_errors import StorageUnavailable

T = TypeVar("T")

ROWS = 2_000  # read at once and sent as one part: 0.4 MB of CSV, or 0.7 MB of NDJSON

log = structlog.get_logger(__name__)


class ExportQuery(DayPeriod, frozen=True, rename="camel"):
    """The period, and the form of its rows."""

    format: Annotated[Literal["json", "ndjson", "csv"], Meta(description="The form of the rows.")] = "json"
    limit: Annotated[int, Meta(ge=1, le=1_000, description="The rows of a page of `json`.")] = 100


class Reader(Protocol):
    """Reads the rows of an export, a portion at a time, oldest first."""

    @property
    def columns(self) -> Mapping[str, str]: ...

    async def next_portion(self, form: Form, rows: int) -> Portion: ...


def end_of_period(period: DateRange, cutoff: datetime) -> datetime:
    """Return the end of a period as `Exported.through` tells it, at most the cut-off, in whole milliseconds."""
    end = cutoff if period.until is None else min(period.until, cutoff)
    return end - timedelta(microseconds=end.microsecond % 1_000)


def file_name(subject: str, period: DateRange, through: datetime) -> str:
    """Return the name of an export's file without its ending: its subject and its days in the zone of the period."""
    ends = (period.since, through)
    return "_".join([subject, *(f"{end.astimezone(period.zone):%Y-%m-%d}" for end in ends if end is not None)])


async def export(
    request: Request, query: ExportQuery, reader: Reader, through: datetime, name: str
) -> Exported[T] | Streamed | Refusal:
    """Answer a request with the rows of a reader in the form that is asked for; `name` is that of the file.

    Raises StorageUnavailable.
    """
    if query.format == "json":
        return await _page(request, query, reader, through)
    parts = _parts(request, reader, query.format)
    try:
        first = await anext(parts)
    except TooManyExports:
        return BUSY
    request.answer_headers["Content-Disposition"] = f'attachment; filename="{name}.{query.format}"'
    request.answer_headers["Export-Through"] = rfc3339_of(through)
    return Streamed(first, parts, STREAMED_AS[query.format])


async def _page(request: Request, query: ExportQuery, reader: Reader, through: datetime) -> Exported[T]:
    portion = await reader.next_portion("ndjson", query.limit)
    if not portion.ended and portion.last is not None:
        request.answer_headers["Link"] = next_link(request.path, request.query, "after", portion.last)
    items = msgspec.Raw(b"[" + b",".join(portion.text.splitlines()) + b"]")
    return Exported(items, rfc3339_of(through))  # type: ignore[arg-type]  # reason: the rows are encoded already


async def _parts(request: Request, reader: Reader, form: Form) -> AsyncGenerator[bytes, None]:
    """Yield the header with the first portion, and then one portion after the other. Raises TooManyExports at once."""
    began, rows, sent, ended = trio.current_time(), 0, False, False
    with request.context.exports.hold(request.user_id, is_operator=request.is_operator):
        try:
            text = header(reader.columns, form)
            while not ended:
                portion = await reader.next_portion(form, ROWS)
                rows, ended = rows + portion.rows, portion.ended
                yield text + portion.text
                text, sent = b"", True
        except Exception as error:  # reason: dispatch notes it only before the answer begins
            if sent and not isinstance(error, StorageUnavailable):
                request.context.faults.note("request", error, "export.fault", {"rows": rows})
            raise
        finally:
            seconds = round(trio.current_time() - began, 1)
            log.info("export.ended", rows=rows, complete=ended, seconds=seconds)
