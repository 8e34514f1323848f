"""Strict MessagePack reader: returns the value of a message and every fault in it, in one pass and in linear time.

It is slower than msgspec, and used only for messages that msgspec does not read strictly: msgspec keeps the last of two
equal keys, reads timestamps as dates, and stops at deep nesting without a report of the rest.
"""

import math
import struct
from typing import Any

from server.broadcast.value_faults import (
    EXTENSION,
    INTEGERS,
    MAX_DEPTH,
    MAX_FAULTS,
    NO_NUMBER,
    NO_TEXT_KEY,
    PAST_64_BITS,
    TOO_DEEP,
    TWICE,
    Fault,
    Reading,
    Undecodable,
    cut,
)

_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    **dict(zip(range(0xCC, 0xD0), (">B", ">H", ">I", ">Q"), strict=True)),
    **dict(zip(range(0xD0, 0xD4), (">b", ">h", ">i", ">q"), strict=True)),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# The bytes of the length that follows, and what the length counts.
_SIZED = {
    **{0xC4 + i: (1 << i, "bytes") for i in range(3)},
    **{0xC7 + i: (1 << i, "extension") for i in range(3)},
    **{0xD9 + i: (1 << i, "text") for i in range(3)},
    **{0xDC + i: (2 << i, "list") for i in range(2)},
    **{0xDE + i: (2 << i, "map") for i in range(2)},
}
# Keys included. Each value takes up to two microseconds and 270 bytes. A signal, which has 16 KiB of JSON, holds two
# thirds as many.
VALUES_MAX = 12_288
TOO_MANY = f"has more than {VALUES_MAX} values"
_FIXED_EXTENSIONS = {0xD4 + i: 1 << i for i in range(5)}


def read_msgpack(data: bytes, root: str) -> Reading:
    """Read a MessagePack message: its value, and its faults. Raises Undecodable if it is not MessagePack.

    `root` is the field name of faults that belong to no single field.
    A value that is nested too deep and a key that is not text are skipped. Reading stops after VALUES_MAX values; the
    reading then has the entries of the outermost map that were complete, in which a `ref` may be found.
    """
    reader = _Reader(data, root)
    try:
        value = reader.value(root, 1)
    except _TooManyValues:
        return Reading(reader.begun, [*reader.faults[: MAX_FAULTS - 1], (root, TOO_MANY)])
    if reader.at != len(data):
        raise Undecodable
    return Reading(value, reader.faults)


class _TooManyValues(Exception):
    """The message has more than VALUES_MAX values; reading stops."""


class _Reader:
    """One pass over the bytes of a message (https://github.com/msgpack/msgpack/blob/master/spec.md).

    It recurses at most MAX_DEPTH levels; what lies deeper is skipped in a loop. Raises Undecodable where a type byte is
    unknown, a text is not UTF-8, or the message is shorter than its lengths say.
    """

    def __init__(self, data: bytes, root: str) -> None:
        self.at = 0  # index of the next byte
        self.begun: dict[str, Any] = {}  # what was read of the outermost map
        self.faults: list[Fault] = []
        self._values = 0
        self._data = data
        self._root = root

    def value(self, path: str, depth: int) -> Any:
        """Read the value at the present position; `depth` is the level it has if it is a container."""
        kind, content = self._head()
        match kind:
            case "list" | "map" if depth > MAX_DEPTH:
                self._note(self._root, TOO_DEEP)
                self._skip(content * (2 if kind == "map" else 1))
                return None
            case "list":
                return [self.value(f"{path}[{i}]", depth + 1) for i in range(content)]
            case "map":
                return self._map(content, path, depth)
            case "extension":
                self._note(path, EXTENSION)
            case "number":
                if isinstance(content, float) and not math.isfinite(content):
                    self._note(path, NO_NUMBER)
                elif isinstance(content, int) and content not in INTEGERS:
                    self._note(path, PAST_64_BITS)
        return content

    def _map(self, count: int, path: str, depth: int) -> dict[str, Any]:
        """Read the entries of a map; notes duplicate keys, and skips entries whose key is not text."""
        fields: dict[str, Any] = self.begun if depth == 1 else {}
        for _ in range(count):
            kind, key = self._head()
            if kind != "text":
                self._note(path, NO_TEXT_KEY)
                self._skip(key * (2 if kind == "map" else 1) if kind in ("list", "map") else 0)
                self._skip(1)
                continue
            field = key if path == self._root else cut(f"{path}.{key}")
            if key in fields:
                self._note(field, TWICE)
            fields[key] = self.value(field, depth + 1)
        return fields

    def _head(self) -> tuple[str, Any]:
        """Read the next type byte: the kind of value and its content, or the number of entries of a list or map."""
        self._values += 1
        if self._values > VALUES_MAX:
            raise _TooManyValues
        first = self._bytes(1)[0]
        if first < 0x80 or first >= 0xE0:
            return "number", first if first < 0x80 else first - 0x100
        if first < 0x90:
            return self._content("map", first & 0x0F)
        if first < 0xA0:
            return self._content("list", first & 0x0F)
        if first < 0xC0:
            return self._content("text", first & 0x1F)
        if first in _CONSTANTS:
            return "constant", _CONSTANTS[first]
        if (form := _NUMBERS.get(first)) is not None:
            return "number", struct.unpack(form, self._bytes(struct.calcsize(form)))[0]
        if (size := _FIXED_EXTENSIONS.get(first)) is not None:
            return self._content("extension", size)
        if (sized := _SIZED.get(first)) is not None:
            return self._content(sized[1], int.from_bytes(self._bytes(sized[0]), "big"))
        raise Undecodable

    def _content(self, kind: str, size: int) -> tuple[str, Any]:
        """Read the content of a sized value; the entries of lists and maps are read by the caller."""
        match kind:
            case "list" | "map":
                if size * (2 if kind == "map" else 1) > len(self._data) - self.at:
                    raise Undecodable  # each entry has at least one byte: refuse a length that the message cannot hold
                return kind, size
            case "extension":
                return kind, self._bytes(1 + size)[:0]
            case "text":
                try:
                    return kind, self._bytes(size).decode()
                except UnicodeDecodeError:
                    raise Undecodable from None
        return kind, self._bytes(size)

    def _skip(self, values: int) -> None:
        """Skip this number of values, without recursion."""
        data, size = self._data, len(self._data)
        while values > 0:
            if (
                self.at < size and data[self.at] & 0xF0 == 0x90
            ):  # a short path for lists of up to 15 entries: deep nesting is made of them
                values += (data[self.at] & 0x0F) - 1
                self.at += 1
                continue
            kind, content = self._head()
            values += content * (2 if kind == "map" else 1) - 1 if kind in ("list", "map") else -1

    def _bytes(self, size: int) -> bytes:
        """Read this number of bytes. Raises Undecodable if the message has fewer."""
        begin, self.at = self.at, self.at + size
        if self.at > len(self._data):
            raise Undecodable
        return self._data[begin : self.at]

    def _note(self, field: str, reason: str) -> None:
        fault = (cut(field), reason)
        if len(self.faults) < MAX_FAULTS and fault not in self.faults:
            self.faults.append(fault)
