"""Values that the connection refuses before a room sees them, in both subprotocols and in every field."""

import contextlib
import itertools
import json
import math
import time
import timeit
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from domain.protocol.commands import AnyCommand, ChatSend, Ping, SignalSend
from server.broadcast.codec import Encoding, Misfit
from server.broadcast.value_faults import MAX_DEPTH, Undecodable
from server.context import Context
from server.rest.app import ROUTES
from tests.support.clients import go_live
from tests.support.servers import add_creator, add_fan, online

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK
CHANNEL = "V1StGXR8_Z5jdHi6B-myT_"
TO = UUID("0192f0c1-0000-7000-8000-000000000000")


def written(encoding: Encoding, message: Any) -> str | bytes:
    return json.dumps(message) if encoding is JSON else msgspec.msgpack.encode(message)


def refusal(encoding: Encoding, message: str | bytes) -> Misfit:
    with pytest.raises(Misfit) as misfit:
        encoding.decode(message)
    return misfit.value


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


def test_the_worst_frame_is_read_in_bounded_time() -> None:
    keys = ",".join(f'"key{i:05}":1' for i in range(4_600))
    worst: list[str | bytes] = [
        f'{{"type":"ping",{keys},"key04599":1}}',
        '{"type":"ping","x":' + "[0," * 20_000,
        '{"type":"ping","x":"' + '\\"' * 30_000 + '"}',
        '{"type":"ping","x":"' + '\\"' * 30_000,
        '{"type":"ping","x":' + "[" * 40 + '"' + '\\"' * 30_000,
        packed(b"\x82", "type", "ping", "x", b"\x81\xa0" * 30_000, b"\xc0"),
        packed(
            b"\x82",
            "type",
            "ping",
            "x",
            b"\xdc\xff\x00",
            b"\xca\x00\x00\x00\x00" * 0x3300 + b"\x01" * (0xFF00 - 0x3300),
        ),
    ]
    for message in worst:
        begun = time.thread_time()
        with contextlib.suppress(Misfit, Undecodable):
            (JSON if isinstance(message, str) else MSGPACK).decode(message)
        assert time.thread_time() - begun < 0.2, f"{message[:40]!r} took too long"  # takes some 5 to 30 ms


@pytest.mark.parametrize("encoding", Encoding)
def test_a_usual_frame_costs_a_few_microseconds(encoding: Encoding) -> None:
    text = "hello there, how are you doing today"
    frame = written(encoding, {"type": "chat:send", "ref": "a1b2c3", "channel": CHANNEL, "text": text})
    took = min(timeit.repeat(lambda: encoding.decode(frame), number=1_000, repeat=20)) * 1_000
    assert took < 20, f"{took:.1f} us"  # takes some 1.5 and 2.3 us


# Over a real socket


def signal_of(data: str) -> str:
    return '{"type":"signal:send","ref":"bad","channel":"<channel>","to":"<memberId>","data":' + data + "}"


HOSTILE = {
    "a NUL in a channel": '{"type":"tip:send","ref":"bad","channel":"a\\u0000b","amountTokens":1,"key":"k"}',
    "an integer past 64 bits": signal_of("111111111111111111111111111111"),
    "a nest 982 deep": signal_of("[" * 982 + "]" * 982),
    "a doubled key that moves money": '{"type":"tip:send","ref":"bad","channel":"<channel>","amountTokens":1,'
    '"amountTokens":1000,"key":"k"}',
    "an unknown type with a deep rest": '{"type":"nonsense","ref":"bad","x":' + "[" * 982 + "]" * 982 + "}",
    "half a surrogate pair": signal_of('"\\ud800"'),
    "an infinite number": signal_of("1e999"),
}


async def test_a_hostile_frame_is_refused_by_name_and_the_room_lives(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 5_000)
    async with online(context, creator) as creators, online(context, fan) as fans:

        def story() -> None:
            channel = go_live(creators)["channel"]
            member = creators.join(channel)["memberId"]
            epoch = fans.join(channel)["epoch"]
            for case, frame in HOSTILE.items():
                fans.send_text(frame.replace("<channel>", channel).replace("<memberId>", member))
                answer = fans.wait_until(lambda event: event.get("ref") == "bad")
                assert (answer["type"], answer["error"]) == ("error", "VALIDATION_FAILED"), case
                assert answer["errors"][0]["field"], case
            assert fans.ask_ok({"type": "chat:send", "channel": channel, "text": "still here"})
            assert creators.wait_for("chat:new")["text"] == "still here"
            assert fans.balance() == 5_000
            assert fans.join(channel)["epoch"] == epoch, "the room was never restarted"

        await trio.to_thread.run_sync(story)


def test_the_rest_of_a_message_with_too_many_values_is_not_read() -> None:
    """64 KiB of MessagePack can hold as many values, each of which would cost a microsecond or two."""
    begin = msgspec.msgpack.encode({"type": "ping", "ref": "r"})[1:]
    message = b"\x83" + begin + b"\xa1a\xdc" + (60_000).to_bytes(2, "big") + b"\x80" * 59_999 + b"\xc1"
    with pytest.raises(Misfit) as refused:
        Encoding.MSGPACK.decode(message)
    assert refused.value.faults[-1] == ("message", "has more than 12288 values")
    assert refused.value.ref == "r"


@pytest.mark.parametrize("opened", ['{"type": "ping", "ref": "r", "x": [', '{"ref": "r", "a": {}, "x": [[['])
def test_the_rest_of_json_with_too_many_lists_and_objects_is_not_read(opened: str) -> None:
    with pytest.raises(Misfit) as refused:
        Encoding.JSON.decode(opened + "{}," * 9_000 + "no json")
    assert refused.value.faults[-1] == ("message", "has more than 8192 lists and objects")
    assert refused.value.ref == "r"


@pytest.mark.parametrize("text", ['{"type": "ping"} ', "5", '"a" ['])
def test_several_values_side_by_side_are_no_json(text: str) -> None:
    with pytest.raises(Undecodable):
        Encoding.JSON.decode(text + "{}," * 9_000)


def test_brackets_in_text_are_not_counted_as_lists() -> None:
    assert Encoding.JSON.decode(json.dumps({"type": "ping", "ref": "r", "x": "[{" * 20_000})) == Ping(ref="r")
