"""Query strings into frozen structs, and pages of lists out of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from server.rest.strict_json import FieldError, InvalidRequest, fit
from storage.paging import Page

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

DIGITS = 18  # of an integer in a query; no limit of ours has as many

Moment = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339")]


class Paging(msgspec.Struct, frozen=True, rename="camel"):
    """Which page of a list: by offset, or by the cursor of a `Link: rel="next"`."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    offset: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    before: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    @property
    def page(self) -> Page:
        return Page(self.limit, self.offset, self.before)


class Period(msgspec.Struct, frozen=True, rename="camel"):
    """From a moment on, until before another."""

    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")


class PeriodPaging(Paging, frozen=True, rename="camel"):
    """A page of what happened from a moment on, until before another."""

    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")


class Listed(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of a list, newest first; `total` counts to 10,000."""

    items: list[T]
    limit: int
    offset: int
    total: int
    total_capped: bool


def next_link(path: str, given: Mapping[str, Sequence[str]], before: str) -> str:
    """RFC 8288; the cursor takes the place of the offset, so that new rows don't shift the page."""
    kept = [(name, values[0]) for name, values in given.items() if name not in ("offset", "before")]
    return f'<{path}?{urlencode([*kept, ("before", before)])}>; rel="next"'


def decode_query(given: Mapping[str, Sequence[str]], kind: type[S]) -> S:
    """Parameters as a struct; those that the struct does not know are ignored. Raises InvalidRequest."""
    known = _parameters(kind)
    if doubles := [FieldError(name, "is given twice") for name in known if len(given.get(name, ())) > 1]:
        raise InvalidRequest(*doubles)
    texts = {name: given[name][0] for name in known if name in given}
    if empty := [FieldError(name, "must not contain the character U+0000") for name in texts if "\0" in texts[name]]:
        raise InvalidRequest(*empty)
    query = fit({name: _integer(text) if known[name] else text for name, text in texts.items()}, kind)
    for field in msgspec.structs.fields(kind):
        if isinstance(moment := getattr(query, field.name), datetime) and not _in_calendar(moment):
            raise InvalidRequest(FieldError(field.encode_name, "is outside the calendar"))
    return query


@cache
def _parameters(kind: type[msgspec.Struct]) -> Mapping[str, bool]:
    """The names of a struct's fields, and whether each is an integer."""
    return {
        field.encode_name: isinstance(msgspec.inspect.type_info(field.type), msgspec.inspect.IntType)
        for field in msgspec.structs.fields(kind)
    }


def _integer(text: str) -> Any:
    """The integer that a text is, or the text itself, which is then refused as what it is."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= DIGITS else text


def _in_calendar(moment: datetime) -> bool:
    try:
        moment.astimezone(UTC)
    except OverflowError:
        return False
    return True
