"""One entry of the tables of fields."""

from typing import Any, NamedTuple
from zlib import crc32

NONE: Any = object()  # an entry without an example, for which the schema suffices


class Field(NamedTuple):
    """The description of a field or parameter, an example, and the name of its enumeration if its type is plain text.

    The tables have a key for each name (`callId`), and one for each place where that name means something else
    (`Entry.kind`). A name that ends in a dot's struct applies to the structs that inherit the field as well.
    """

    description: str
    example: Any = NONE
    values: str | None = None  # a key of ENUMERATIONS


def example_id(name: str) -> str:
    """Return the same UUID for the same name, so that the examples of different messages belong together."""
    return f"0197c0de-0000-7000-8000-{crc32(name.encode()):012x}"
