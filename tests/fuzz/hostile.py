"""Values that no client should send, as bytes of both encodings, including those that only one of them can write."""

import json
import math
import struct
from typing import Any, NamedTuple

import msgspec


class Written(NamedTuple):
    """A value as it stands in a frame of each subprotocol."""

    json: str
    msgpack: bytes


def written(value: Any) -> Written:
    """Return an ordinary value in both encodings."""
    return Written(json.dumps(value), msgspec.msgpack.encode(value))


def nest(depth: int) -> Written:
    return Written("[" * depth + "1" + "]" * depth, b"\x91" * depth + b"\x01")


def _number(text: str, value: float) -> Written:
    return Written(text, b"\xcb" + struct.pack(">d", value))


def _big(value: int) -> Written:
    """Return the value in MessagePack; a number out of its range is replaced by the nearest one."""
    return Written(str(value), msgspec.msgpack.encode(max(-(2**63), min(value, 2**64 - 1))))


TEXTS = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\n",
        "a\n",
        "\x1b[31m",
        "\x7f",
        "\u202egnp.exe",
        "\u2066x\u2069",
        "\u200b\u3164",
        "\ufeff",
    ),
    *(
        "\ufffe",
        "\u2028",
        "é",
        "e\u0301" * 9,
        "Z" + "\u0301" * 60,
        "👨‍👩‍👧‍👦",
        "\U000e0001\U000e0061\U000e007f",
        "\u2800",
    ),
    *("x" * 64, "x" * 65, "x" * 255, "x" * 256, "x" * 500, "x" * 501, "x" * 8193, "x" * 40_000, "\\" * 300, '"' * 300),
    *("' OR 1=1 --", "$1", "%s", "{}", "../../etc/passwd", "<script>", "null", "NaN", "0", "-1", "1e999"),
    *("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "V1StGXR8_Z5jdHi6B-myT_"),
)
WHOLE_NUMBERS = (
    *(0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 10**9, 10**9 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1),
    *(2**64 - 1, 2**64, 10**30),
)

OTHERS: tuple[Any, ...] = (
    *(None, True, False, 1.0, 1.5, -0.0, 5e-324, 1.7e308, [], {}, [[]], [1], {"a": 1}, {"": {"": {"": ""}}}),
    [None] * 2000,
    {f"k{i}": i for i in range(500)},
)

# All values that a field may be given.
HOSTILE: tuple[Written, ...] = (
    *(written(text) for text in TEXTS),
    *(_big(number) for number in WHOLE_NUMBERS),
    *(written(value) for value in OTHERS),
    _number("NaN", math.nan),
    _number("Infinity", math.inf),
    _number("-Infinity", -math.inf),
    _number("1e999", math.inf),
    _number("-1e999", -math.inf),
    Written("9" * 5000, b"\xcf" + b"\xff" * 8),
    # Halves of surrogate pairs, and in MessagePack the bytes that would be one.
    Written('"\\ud800"', b"\xa3\xed\xa0\x80"),
    Written('"\\udfff\\ud800x"', b"\xa4\xed\xbf\xbfx"),
    Written('{"\\ud800":1}', b"\x81\xa1\xff\x01"),
    # Duplicate keys.
    Written('{"a":1,"a":2}', b"\x82\xa1a\x01\xa1a\x02"),
    Written('[{"x":{"":1,"":1}}]', b"\x91\x81\xa1x\x82\xa0\x01\xa0\x01"),
    # Extension types, binary data, and keys that are not text.
    Written('{"__proto__":{}}', b"\xd6\xff\x00\x00\x00\x01"),
    Written('"AAAA"', b"\xc7\x03\x05abc"),
    Written('"AA=="', b"\xc4\x01\x00"),
    Written('"bytes"', b"\xc4\x10" + b"\x00" * 16),
    Written("[{}]", b"\x81\x01\x01"),
    Written("{}", b"\x82\xc0\x01\xc3\x01"),
    Written('{"1":1}', b"\x81\x91\x01\x01"),
    Written("[[],{}]", b"\x81\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01"),
    Written("1.0", b"\xca\x3f\x80\x00\x00"),
    *(nest(depth) for depth in (31, 32, 33, 100, 982, 5_000, 20_000)),
    Written('{"a":' * 982 + "1" + "}" * 982, b"\x81\xa1a" * 982 + b"\x01"),
    # Values that are truncated or do not belong to the encoding.
    Written("", b""),
    Written("[", b"\xdd\xff\xff\xff\xff"),
    Written('"', b"\xdb\xff\xff\xff\xff"),
    Written("{", b"\xdf\xff\xff\xff\xff"),
    Written("nul", b"\xc1"),
    Written("01", b"\xd9"),
    Written("'a'", b"\xc8\xff\xff\x01"),
)

# Values that have caused faults before: tried as often as all others together. Their number is odd: see `frame_of`.
FAVOURITES = (
    written("a\0b"),
    _big(10**30),
    nest(982),
    Written('{"a":1,"a":2}', b"\x82\xa1a\x01\xa1a\x02"),
    Written('"\\ud800"', b"\xd6\xff\x00\x00\x00\x01"),
    _number("NaN", math.nan),
    Written("{}", b"\x81\x01\x01"),
)
