"""Builds frames from numbers: each step of a fuzzed sequence is a few small integers, which Hypothesis can shrink."""

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from server.broadcast.codec import Encoding
from tests.fuzz.document import Command, Field
from tests.fuzz.hostile import FAVOURITES, HOSTILE, Written, nest, written

TWISTS = 24  # a third of the frames is valid, a third has one hostile value

ONE_FAVOURITE = 12  # the twist by which one field has one of FAVOURITES


class Step(NamedTuple):
    """One fuzzed command: its sender, room and type, and what is wrong with it: `twist` in `field` with `value`."""

    connection: int
    command: int
    target: int
    twist: int
    field: int
    value: int


class Frame(NamedTuple):
    """A frame's payload; `ref` is what its answer must carry, None if no ref can be expected."""

    payload: bytes
    is_text: bool
    ref: str | None


Usual = Callable[[Field, int], Written]  # a value that a field may have


def frame_of(step: Step, command: Command, encoding: Encoding, usual: Usual, ref: str) -> Frame:
    """Return the bytes of a step. A twisted frame keeps its `ref` unless the ref is what was twisted.

    Optional fields are there where the step's value is odd.
    """
    fields = {field.name: usual(field, step.value) for field in command.fields if field.required or step.value % 2}
    fields = {"type": written(command.name), **fields, "ref": written(ref)}
    names = list(fields)
    name, hostile = names[step.field % len(names)], HOSTILE[step.value % len(HOSTILE)]
    is_text = encoding is Encoding.JSON
    known: str | None = ref
    match step.twist:
        case 8 | 9 | 10 | 11:
            fields[name] = hostile
            known = None if name == "ref" else ref
        case 12 | 13 | 14 | 15:
            fields[name] = FAVOURITES[step.value % len(FAVOURITES)]
            known = None if name == "ref" else ref
        case 16:
            fields["unheard of"] = hostile
        case 17:
            del fields[name]
            known = None if name == "ref" else ref
        case 18:
            return _unsure(_doubled(encoding, fields, name, hostile), is_text)
        case 19:
            fields["type"] = hostile
            fields["deep"] = nest(982)
        case 20:
            whole = _composed(encoding, fields)
            return _unsure(whole[: len(whole) * step.field // 8], is_text)
        case 21:
            return _unsure(_bytes(encoding, hostile), is_text)
        case 22 if step.value % 4 == 0:
            return _unsure(_composed(encoding, fields), not is_text)
        case 23:
            fields = _within(fields, hostile)
    # The server answers a frame that cannot be decoded by closing the connection.
    return Frame(_composed(encoding, fields), is_text, known)


def _unsure(payload: bytes, is_text: bool) -> Frame:
    return Frame(payload, is_text, None)


def _within(fields: dict[str, Written], hostile: Written) -> dict[str, Written]:
    """Return the hostile value, inside a list or an object where the field allows one."""
    inner = Written(f'{{"x":[1,{hostile.json}]}}', b"\x81\xa1x\x92\x01" + hostile.msgpack)
    if "data" in fields:
        return fields | {"data": inner}
    if "token" in fields:
        point = {"channel": written("V1StGXR8_Z5jdHi6B-myT_"), "epoch": hostile, "seq": hostile}
        channels = Written(f"[{_json(point)}]", b"\x91" + _msgpack(point))
        resume = {"sessionId": written("00000000-0000-7000-8000-000000000000"), "channels": channels}
        return fields | {"resume": Written(_json(resume), _msgpack(resume))}
    return fields | {"x": inner}


def _doubled(encoding: Encoding, fields: Mapping[str, Written], name: str, again: Written) -> bytes:
    if encoding is Encoding.JSON:
        return f"{_json(fields)[:-1]},{json.dumps(name)}:{again.json}}}".encode()
    body = b"".join(msgspec.msgpack.encode(each) + value.msgpack for each, value in fields.items())
    return bytes((0x81 + len(fields),)) + body + msgspec.msgpack.encode(name) + again.msgpack


def _composed(encoding: Encoding, fields: Mapping[str, Written]) -> bytes:
    return _json(fields).encode() if encoding is Encoding.JSON else _msgpack(fields)


def _bytes(encoding: Encoding, value: Written) -> bytes:
    return value.json.encode() if encoding is Encoding.JSON else value.msgpack


def _json(fields: Mapping[str, Written]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value.json}" for name, value in fields.items()) + "}"


def _msgpack(fields: Mapping[str, Written]) -> bytes:
    """Return a map of at most 15 fields, as all of ours have."""
    body = b"".join(msgspec.msgpack.encode(name) + value.msgpack for name, value in fields.items())
    return bytes((0x80 + len(fields),)) + body
