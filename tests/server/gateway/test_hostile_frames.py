"""Hostile frames: decoding them takes bounded time, and over a real socket each is refused without harm to its room."""

import contextlib
import json
import timeit
from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from domain.protocol.commands import Ping
from server.broadcast.codec import Encoding, Misfit
from server.broadcast.value_faults import Undecodable
from server.context import Context
from tests.support.clients import go_live
from tests.support.processor import least_seconds
from tests.support.servers import add_creator, add_fan, online

JSON, MSGPACK = Encoding.JSON, Encoding.MSGPACK

CHANNEL = "V1StGXR8_Z5jdHi6B-myT_"


def written(encoding: Encoding, message: Any) -> str | bytes:
    return json.dumps(message) if encoding is JSON else msgspec.msgpack.encode(message)


def packed(*parts: Any) -> bytes:
    return b"".join(part if isinstance(part, bytes) else msgspec.msgpack.encode(part) for part in parts)


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
        assert least_seconds(partial(_decode, message)) < 0.2, f"{message[:40]!r} took too long"  # some 5 to 30 ms


def _decode(message: str | bytes) -> None:
    with contextlib.suppress(Misfit, Undecodable):
        (JSON if isinstance(message, str) else MSGPACK).decode(message)


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
