"""Decodes query strings into frozen structs; the shapes of list queries and list answers.

Each route declares its query as a struct; the OpenAPI document describes the same struct.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Meta

from domain.refusals import Refusal, unknown_parameter
from server.rest.strict_json import FieldError, InvalidRequest, fields_of, fit
from storage.paging import COUNT_LIMIT, BadCursor, Page, Paged

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

DIGITS = 18  # of an integer in a query; more than any limit needs

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Paging(msgspec.Struct, frozen=True, rename="camel"):
    """The page of a list: by offset, or by the cursor of a `Link: rel="next"`."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    offset: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    before: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    @property
    def page(self) -> Page:
        """Return the page as the storage layer takes it."""
        return Page(self.limit, self.offset, self.before)


class Period(msgspec.Struct, frozen=True, rename="camel"):
    """A half-open period: from an instant, and before another."""

    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")


class PeriodPaging(Paging, frozen=True, rename="camel"):
    """A page of the entries of a half-open period."""

    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")


# The size of a page for operators, who look through more than their own.
OperatorLimit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class OperatorPaging(Paging, frozen=True, rename="camel"):
    """The page of a list for operators."""

    limit: OperatorLimit = 20


class OperatorPeriodPaging(PeriodPaging, frozen=True, rename="camel"):
    """A page of the entries of a half-open period, for operators."""

    limit: OperatorLimit = 20


class Listed(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of a list, newest first; `total` counts to 10,000."""

    items: list[T]
    limit: int
    offset: int
    total: int
    total_capped: bool


# The media types of an export's other forms.
STREAMED_AS = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


class Exported(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of an export, oldest first."""

    items: list[T]
    through: Annotated[
        str,
        Meta(
            description="The end of the period: `to`, or the time of the request if that is earlier. All rows before it"
            " are final, so that the next export can begin with it."
        ),
    ]


def page_of(found: Iterable[T], query: Paging, id_of: Callable[[T], UUID]) -> Paged[T]:
    """Return a page of objects in memory, newest first by their ids (UUIDv7). Raises BadCursor."""
    newest = sorted(found, key=id_of, reverse=True)
    before = None if query.before is None else _id_in(query.before)
    rest = [each for each in newest if before is None or id_of(each) < before][query.offset :]
    shown = rest[: query.limit]
    following = str(id_of(shown[-1])) if len(rest) > query.limit else None
    return Paged(shown, min(len(newest), COUNT_LIMIT), len(newest) > COUNT_LIMIT, following)


def next_link(path: str, given: Mapping[str, Sequence[str]], parameter: str, cursor: str) -> str:
    """Build the `Link` header to the next page (RFC 8288).

    `given` are the parameters of the request, which the link repeats; `parameter` takes the cursor behind the present
    page. It replaces the offset by a cursor, so that new rows do not shift the page.
    """
    repeated = [(name, values[0]) for name, values in given.items() if name not in ("offset", parameter)]
    return f'<{path}?{urlencode([*repeated, (parameter, cursor)])}>; rel="next"'


def decode_query(given: Mapping[str, Sequence[str]], kind: type[S]) -> S:
    """Decode query parameters into a struct; it ignores those that `find_unknown_parameter` finds.

    `given` has the values of each parameter in the order of the query string. A text is converted only where the struct
    has an integer or a time, so `limit=5.0` is refused.
    Raises InvalidRequest for a repeated parameter, U+0000, a value of another type, or a date outside the calendar.
    """
    known = _parameters(kind)
    if doubles := [FieldError(name, "is given twice") for name in known if len(given.get(name, ())) > 1]:
        raise InvalidRequest(*doubles)
    texts = {name: given[name][0] for name in known if name in given}
    if empty := [FieldError(name, "must not contain the character U+0000") for name in texts if "\0" in texts[name]]:
        raise InvalidRequest(*empty)
    query = fit({name: _integer(text) if known[name] else text for name, text in texts.items()}, kind)
    for field in fields_of(kind):
        if isinstance(moment := getattr(query, field.name), datetime) and not _in_calendar(moment):
            raise InvalidRequest(FieldError(field.encode_name, "is outside the calendar"))
    return query


def find_unknown_parameter(given: Iterable[str], kind: type[msgspec.Struct] | None) -> Refusal | None:
    """Return UNKNOWN_PARAMETER for the first parameter that the struct does not have, if there is one.

    To ignore `form=2026-01-01` would be to answer with the rows of another period than was asked for.
    """
    known = {} if kind is None else _parameters(kind)
    unknown = next((name for name in given if name not in known), None)
    return None if unknown is None else unknown_parameter(unknown, list(known))


def _id_in(before: str) -> UUID:
    """Return the id in a cursor. Raises BadCursor."""
    try:
        return UUID(before)
    except ValueError:
        raise BadCursor from None


@cache
def _parameters(kind: type[msgspec.Struct]) -> Mapping[str, bool]:
    """Return the parameter names of a struct, each with whether it is an integer."""
    return {field.encode_name: _is_integer(field.type) for field in fields_of(kind)}


def _is_integer(kind: Any) -> bool:
    described = msgspec.inspect.type_info(kind)
    plain = described.type if isinstance(described, msgspec.inspect.Metadata) else described
    return isinstance(plain, msgspec.inspect.IntType)


def _integer(text: str) -> Any:
    """Parse an integer; return other text unchanged, which the type check then refuses."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS else text


def _in_calendar(moment: datetime) -> bool:
    """Return whether the moment can be expressed in UTC; one of year 1 or 9999 with an offset may not."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True
