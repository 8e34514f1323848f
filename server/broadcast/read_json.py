"""Strict JSON reader: returns the value of a text and every fault in it, in one pass and in linear time.

Used for REST bodies, and for websocket messages that the quick check of the codec does not accept. The standard
library's parser does the reading. It would recurse through deep nesting and build a container for every bracket, so a
text with many brackets is scanned first.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from server.broadcast.value_faults import (
    MAX_DEPTH,
    MAX_FAULTS,
    TOO_DEEP,
    TWICE,
    Fault,
    Reading,
    Undecodable,
    cut,
    value_faults,
)

# Each container takes up to three microseconds. A signal, which has 16 KiB, holds fewer.
CONTAINERS_MAX = 8_192
TOO_MANY = f"has more than {CONTAINERS_MAX} lists and objects"
# An integer with more characters is past 64 bits; converting a long one would take quadratic time.
DIGITS = 20

# A whole string, terminated or not, or a run of brackets. Possessive quantifiers, so that matching takes linear time.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]++|[\]}]++', re.DOTALL)


def read_json(text: str, root: str, *, nul_is_fault: bool) -> Reading:
    """Read a JSON text: its value, and its faults. Raises Undecodable if it is not JSON.

    `root` is the field name of faults that belong to no single field. With `nul_is_fault` a string with U+0000 is a
    fault: PostgreSQL cannot store it.

    If the text is nested too deep, or has more than CONTAINERS_MAX lists and objects, only the outermost value is
    decoded, with null for each list and object in it; in the latter case only its beginning.
    """
    if text.count("[") + text.count("{") > MAX_DEPTH:
        outline = _outline(text)
        if outline.fault is not None:
            return Reading(_Parse(root).value(outline.text), [(root, outline.fault)])
    parse = _Parse(root)
    value = parse.value(text)
    return Reading(value, parse.faults or value_faults(value, root, nul_is_fault=nul_is_fault))


class _Parse:
    """One run of the standard library's parser. It collects the faults that the resulting value does not show."""

    def __init__(self, root: str) -> None:
        self.faults: list[Fault] = []
        self._root = root

    def value(self, text: str) -> Any:
        """Decode a text, and collect its faults. Raises Undecodable if it is not JSON."""
        decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_int=_integer, parse_constant=self._refuse_constant
        )
        try:
            return decoder.decode(text)
        except (ValueError, RecursionError):
            raise Undecodable from None

    def _object(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """Build an object, and note its first duplicate key."""
        fields = dict(pairs)
        if len(fields) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    self._note(name, TWICE)
                    break
                seen.add(name)
        return fields

    def _refuse_constant(self, name: str) -> None:
        """Note `NaN`, `Infinity` or `-Infinity`, which the standard library reads although RFC 8259 excludes them."""
        self._note(self._root, f"{name} is no JSON number")

    def _note(self, field: str, reason: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append((cut(field), reason))


def _integer(text: str) -> int:
    """Convert an integer; one of more than DIGITS characters becomes 2^64, which is refused as past 64 bits."""
    return int(text) if len(text) <= DIGITS else 2**64


_CLOSING = {"{": "}", "[": "]"}


class _Outline(NamedTuple):
    """A text with null in place of each nested container, and the fault for which the rest is not decoded."""

    text: str
    fault: str | None


def _outline(text: str) -> _Outline:
    """Make the outline of a text. Raises Undecodable for a bracket without its counterpart.

    Counts brackets outside of strings, without a recursion and without regard to their kind; the parser checks the
    outline afterwards. Reading stops after CONTAINERS_MAX lists and objects.
    """
    depth = deepest = containers = begin = 0
    kept: list[str] = []
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        first = text[start]
        if first in "[{":
            if depth < 2 <= depth + end - start:
                kept += text[begin : start + 1 - depth], "null"
            depth += end - start
            deepest = max(deepest, depth)
            containers += end - start
            if containers > CONTAINERS_MAX and deepest <= MAX_DEPTH:
                outermost = text.lstrip()[0]
                if depth < 2 or outermost not in _CLOSING:  # there is more than one outermost value
                    raise Undecodable
                return _Outline("".join(kept) + _CLOSING[outermost], TOO_MANY)
        elif first in "]}":
            if depth >= 2 > depth - (end - start):
                begin = start + depth - 1
            depth -= end - start
            if depth < 0:
                raise Undecodable
    if depth != 0:
        raise Undecodable
    kept.append(text[begin:])
    return _Outline("".join(kept), TOO_DEEP if deepest > MAX_DEPTH else None)
