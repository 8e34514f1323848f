"""Values that the connection refuses before a room sees them, in both subprotocols and in every field."""

import itertools
import json
import math
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from domain.protocol.commands import AnyCommand, ChatSend, Ping, SignalSend
from server.broadcast.codec import Encoding, Misfit
from server.broadcast.value_faults import MAX_DEPTH, Undecodable
from server.rest.app import ROUTES

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK
CHANNEL = "V1StGXR8_Z5jdHi6B-myT_"
TO = UUID("0192f0c1-0000-7000-8000-000000000000")


def written(encoding: Encoding, message: Any) -> str | bytes:
    return json.dumps(message) if encoding is JSON else msgspec.msgpack.encode(message)


def refusal(encoding: Encoding, message: str | bytes) -> Misfit:
    with pytest.raises(Misfit) as misfit:
        encoding.decode(message)
    return misfit.value


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tip:snd", "is no command: 'tip:snd'; the nearest is tip:send"),
        ("join", "is no command: 'join'; the nearest is room:join"),
        ("x" * 10_000, f"is no command: '{'x' * 183}…"),
        ("", "is no command: ''"),
    ],
    ids=["misspelt", "short", "long", "empty"],
)
def test_an_unknown_command_is_answered_with_the_nearest(encoding: Encoding, name: str, reason: str) -> None:
    assert refusal(encoding, written(encoding, {"type": name})).faults == [("type", reason)]


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (2**63, ("data.x[1]", "is an integer past 64 bits")),
        (-(2**63) - 1, ("data.x[1]", "is an integer past 64 bits")),
        (111111111111111111111111111111, ("data.x[1]", "is an integer past 64 bits")),
        (nest(MAX_DEPTH - 2), ("message", f"is nested more than {MAX_DEPTH} deep")),
        (nest(900), ("message", f"is nested more than {MAX_DEPTH} deep")),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_that_a_room_could_not_encode_is_refused_by_name(
    encoding: Encoding, value: Any, fault: tuple[str, str]
) -> None:
    if encoding is MSGPACK and isinstance(value, int) and not -(2**63) <= value < 2**64:
        pytest.skip("MessagePack cannot say it")
    message = {"type": "signal:send", "channel": CHANNEL, "to": str(TO), "data": {"x": [0, value]}, "ref": "r"}
    misfit = refusal(encoding, written(encoding, message))
    assert (misfit.faults, misfit.ref) == ([fault], "r")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("NaN", ("message", "NaN is no JSON number")),
        ("-Infinity", ("message", "-Infinity is no JSON number")),
        ("1e999", ("more.x", "is not a finite number")),
        ('"\\ud800"', ("more.x", "contains half a surrogate pair")),
        ('"\\udc00\\ud800"', ("more.x", "contains half a surrogate pair")),
        ('{"a":1,"a":1}', ("a", "is given twice")),
        ('{"a":"\\\\","b":1,"a":"\\""}', ("a", "is given twice")),
        ("9" * 5000, ("more.x", "is an integer past 64 bits")),
    ],
)
@pytest.mark.parametrize("kind", ["ping", "nonsense"])
def test_ambiguous_json_is_refused_by_name_at_any_depth(kind: str, value: str, fault: tuple[str, str]) -> None:
    misfit = refusal(JSON, f'{{"type":"{kind}","ref":"r","more":{{"x":{value}}}}}')
    assert (misfit.faults, misfit.ref) == ([fault], "r")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (math.nan, ("more.x", "is not a finite number")),
        (-math.inf, ("more.x", "is not a finite number")),
        (2**64 - 1, ("more.x", "is an integer past 64 bits")),
        (Ext(5, b"abc"), ("more.x", "is a MessagePack extension type")),
        (Ext(-1, b"\0\0\0\1"), ("more.x", "is a MessagePack extension type")),
        ({5: 1}, ("more.x", "has a key that is not text")),
        ({b"a": 1}, ("more.x", "has a key that is not text")),
        ({None: [1]}, ("more.x", "has a key that is not text")),
    ],
)
@pytest.mark.parametrize("kind", ["ping", "nonsense"])
def test_ambiguous_messagepack_is_refused_by_name_at_any_depth(kind: str, value: Any, fault: tuple[str, str]) -> None:
    misfit = refusal(MSGPACK, msgspec.msgpack.encode({"type": kind, "more": {"x": value}, "ref": "r"}))
    assert (misfit.faults, misfit.ref) == ([fault], "r")


def packed(*parts: Any) -> bytes:
    return b"".join(part if isinstance(part, bytes) else msgspec.msgpack.encode(part) for part in parts)


@pytest.mark.parametrize(
    ("message", "faults"),
    [
        (packed(b"\x83", "type", "ping", "x", 1, "x", 1), [("x", "is given twice")]),
        # A value that is shorter when encoded again does not hide one that is longer, in either order.
        (packed(b"\x84", "type", "ping", "x", 1, "x", b"\xca\x3f\x80\x00\x00", "y", 1.5), [("x", "is given twice")]),
        (packed(b"\x82", "type", "ping", "x", b"\xca\x7f\xc0\x00\x00"), [("x", "is not a finite number")]),
        (packed(b"\x82", "type", "ping", b"\x81\x01\x02", 1), [("message", "has a key that is not text")]),
    ],
)
def test_messagepack_in_unusual_encodings(message: bytes, faults: list[tuple[str, str]]) -> None:
    assert refusal(MSGPACK, message).faults == faults


@pytest.mark.parametrize(
    "message",
    [
        packed(b"\xdf\x00\x00\x00\x01", "type", b"\xdb\x00\x00\x00\x04ping"),
        packed(b"\x82", "type", "ping", "x", b"\xd3" + (5).to_bytes(8, "big")),
        packed(b"\x82", "type", "ping", "x", b"\xca\x3f\x80\x00\x00"),
        packed(b"\x83", "type", "ping", "x", b"\xc4\x02ab", "y", b"\xc0"),
    ],
)
def test_sound_messagepack_is_read_however_long_it_is_written(message: bytes) -> None:
    assert isinstance(MSGPACK.decode(message), Ping)


@pytest.mark.parametrize("text", ['say "hi"', "a \\ b", '\\"', '"', "\\", '\\\\"', "[{[{", "🤷🏽‍♀️ é", "a\nb"])
@pytest.mark.parametrize("encoding", Encoding)
def test_text_is_accepted_with_any_characters(encoding: Encoding, text: str) -> None:
    command = encoding.decode(written(encoding, {"type": "chat:send", "channel": CHANNEL, "text": text}))
    assert isinstance(command, ChatSend)
    assert command.text == text


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(data=plain, spaces=st.booleans())
def test_any_plain_value_arrives_alike_in_both_subprotocols(data: Any, spaces: bool) -> None:
    message = {"type": "signal:send", "channel": CHANNEL, "to": str(TO), "data": data}
    text = json.dumps(message, ensure_ascii=spaces, separators=(" , ", " : ") if spaces else (",", ":"))
    found = [JSON.decode(text), MSGPACK.decode(msgspec.msgpack.encode(message))]
    assert found == [SignalSend(channel=CHANNEL, to=TO, data=data)] * 2


@given(
    data=plain, at=st.integers(0, 5), name=st.sampled_from(("type", "data", "channel", "amountTokens", '"', "\\", "é"))
)
def test_a_duplicate_key_is_found_at_any_depth(data: Any, at: int, name: str) -> None:
    """Each key is duplicated in the object itself and inside `data`."""
    inner = [json.dumps(data), f"{json.dumps(name)}:1", '"x":[]', '"y":""']
    pairs = [f"{json.dumps(name)}:{inner[0]}", *inner[1:]]
    twice = "{" + ",".join(pairs[at % 4 :] + pairs[: at % 4]) + "}"
    for text in (twice, f'{{"type":"ping","deep":[{twice}]}}'):
        with pytest.raises((Misfit, Undecodable)) as refused:
            JSON.decode(text)
        assert "is given twice" in str(refused.value)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("depth", [MAX_DEPTH, 500, 982, 5_000, 30_000])
def test_an_unknown_type_with_a_deep_rest_is_answered(encoding: Encoding, depth: int) -> None:
    deep = "[" * depth + "]" * depth if encoding is JSON else b"\x91" * depth + b"\xc0"
    if isinstance(deep, str):
        message: str | bytes = f'{{"type":"nonsense","x":{deep},"ref":"r"}}'
    else:
        message = packed(b"\x83", "type", "nonsense", "x", deep, "ref", "r")
    misfit = refusal(encoding, message)
    assert (misfit.faults, misfit.ref) == ([("message", f"is nested more than {MAX_DEPTH} deep")], "r")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "nul",
        '{"type":"ping"',
        '{"type":"ping"} 1',
        "[" * 60_000,
        "]" * 60_000,
        '{"x":' + "[{" * 9000,
        "\ufeff{}",
    ],
    ids=lambda message: message[:10],
)
def test_bytes_that_are_no_json_are_undecodable(message: str) -> None:
    with pytest.raises(Undecodable):
        JSON.decode(message)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x81",
        b"\x91" * 60_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xa1\xff",
        b"\xc0\xc0",
        b"\xc7\xff\x01",
    ],
    ids=lambda message: repr(message[:6]),
)
def test_bytes_that_are_no_messagepack_are_undecodable(message: bytes) -> None:
    with pytest.raises(Undecodable):
        MSGPACK.decode(message)


@pytest.mark.parametrize("encoding", Encoding)
def test_a_message_that_is_no_object_is_a_misfit(encoding: Encoding) -> None:
    values: tuple[Any, ...] = ([], 5, None, "ping")
    for value in values:
        assert refusal(encoding, written(encoding, value)).ref is None


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"type": "tip:send", "channel": "a\0b", "amountTokens": 1, "key": "k"}, "channel"),
        ({"type": "tip:send", "channel": CHANNEL, "amountTokens": 1, "key": "k\n"}, "key"),
        ({"type": "tip:send", "channel": CHANNEL, "amountTokens": True, "key": "k"}, "amountTokens"),
        ({"type": "tip:send", "channel": CHANNEL, "amountTokens": 1.0, "key": "k"}, "amountTokens"),
        ({"type": "chat:send", "channel": "x" * 65, "text": ""}, "channel"),
        ({"type": "chat:send", "channel": CHANNEL, "text": "x" * 501}, "text"),
        ({"type": "session:open", "token": "x" * 8193}, "token"),
        ({"type": "session:open", "token": "a\0"}, "token"),
        (
            {"type": "session:open", "token": "a", "resume": {"sessionId": str(TO), "channels": [{"channel": "\0"}]}},
            "resume.channels[0].channel",
        ),
        ({"type": "ping", "ref": "r" * 65}, "ref"),
        ({"type": "ping", "ref": "r\n"}, "ref"),
        ({"type": "x" * 60_000}, "type"),
    ],
)
@pytest.mark.parametrize("encoding", Encoding)
def test_a_field_that_does_not_fit_is_named_and_never_echoed_at_length(
    encoding: Encoding, message: dict[str, Any], field: str
) -> None:
    misfit = refusal(encoding, written(encoding, message))
    assert [name for name, _ in misfit.faults] == [field]
    assert all(len(reason) <= 200 for _, reason in misfit.faults)
    assert misfit.ref is None


FREE_TEXT = {"TipSend.message", "ChatSend.text"}  # text that users write, which domain/text.py bounds


def test_every_string_and_list_of_a_command_is_bounded_where_it_is_decoded() -> None:
    kinds = [*get_args(AnyCommand), *(kind for route in ROUTES for kind in (route.body, route.query) if kind)]
    unbounded = [fault for kind in kinds for fault in unbounded_parts(msgspec.inspect.type_info(kind), kind.__name__)]
    assert unbounded == []
    infos = [msgspec.inspect.type_info(kind) for kind in get_args(AnyCommand)]
    without_pattern = {
        f"{info.cls.__name__}.{field.encode_name}"
        for info in infos
        if isinstance(info, msgspec.inspect.StructType)
        for field in info.fields
        for leaf in leaves(field.type)
        if isinstance(leaf, msgspec.inspect.StrType) and leaf.pattern is None
    }
    assert without_pattern == FREE_TEXT


def leaves(info: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    return list(itertools.chain(*map(leaves, info.types))) if isinstance(info, msgspec.inspect.UnionType) else [info]


def unbounded_parts(info: msgspec.inspect.Type, path: str) -> list[str]:
    match info:
        case msgspec.inspect.StrType(max_length=None) | msgspec.inspect.ListType(max_length=None):
            return [path]
        case msgspec.inspect.ListType():
            return unbounded_parts(info.item_type, f"{path}[]")
        case msgspec.inspect.UnionType():
            return [part for each in info.types for part in unbounded_parts(each, path)]
        case msgspec.inspect.StructType():
            return [
                part for field in info.fields for part in unbounded_parts(field.type, f"{path}.{field.encode_name}")
            ]
    return []
