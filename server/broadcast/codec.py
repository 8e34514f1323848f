"""Encodes events and decodes commands in both subprotocols.

A server's frame is not masked (RFC 6455 §5.1), so the same bytes can be sent to all members.

Commands are decoded by msgspec, which is fast but silently keeps the last of two equal keys. Each message therefore
passes a quick check first; one that the check cannot accept is read by a strict reader, which finds every fault.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum
from typing import Any, get_args

import msgspec

from domain.protocol.commands import AnyCommand, Ref
from server.broadcast.read_json import read_json
from server.broadcast.read_msgpack import read_msgpack
from server.broadcast.value_faults import INT64_MAX, INT64_MIN, MAX_DEPTH, Fault, Reading, Undecodable, cut

CLOSE_REASON_BYTES = 123  # RFC 6455 §5.5: a control frame carries at most 125, two of them the code
ROOT = "message"  # the `field` in `errors` of a fault of the message as a whole


class Misfit(Exception):
    """The message can be decoded but is no known command, or has values that no message may have.

    `faults` are pairs of a field's path and a reason, as in `errors` of the answer. `ref` is the command's own, or None
    if it has none.
    """

    def __init__(self, faults: list[Fault], ref: str | None) -> None:
        super().__init__("; ".join(f"{field} {reason}" for field, reason in faults))
        self.faults = faults
        self.ref = ref


class Encoding(Enum):
    """A websocket subprotocol, named as in Sec-WebSocket-Protocol."""

    JSON = "halfminute.v1.json"
    MSGPACK = "halfminute.v1.msgpack"

    def frame(self, event: Any) -> bytes:
        """Encode an event, a message struct or a dict, as one complete websocket frame with its header."""
        if self is Encoding.JSON:
            return _frame(_TEXT, _to_json(event))
        return _frame(_BINARY, _to_msgpack(event))

    def decode(self, message: str | bytes) -> AnyCommand:
        """Decode a command whose values can be encoded again in both subprotocols.

        `message` is the payload of a data frame: str of a text frame, bytes of a binary one.
        Refused with the name of the field: duplicate keys, keys that are not text, integers past 64 bits, numbers that
        are not finite, unpaired surrogates, nesting deeper than MAX_DEPTH and extension types.
        Raises Undecodable for bytes that are no value or for the wrong kind of frame, and Misfit with the faults of the
        value. The time is linear in the size of the message, which the gateway bounds by `max_frame_bytes`.
        """
        if isinstance(message, str) is not (self is Encoding.JSON):
            raise Undecodable
        decoder: Any = _json_command if isinstance(message, str) else _msgpack_command
        looks_sound = _json_looks_sound(message) if isinstance(message, str) else _msgpack_looks_sound(message)
        if not looks_sound:
            reading = _read(message)
            if reading.faults:
                raise Misfit(reading.faults, _ref_of(reading.value))
        try:
            command: AnyCommand = decoder.decode(message)
        except msgspec.ValidationError as error:
            raise Misfit([_named(str(error))], _ref_of(_read(message).value)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Undecodable from None
        return command


def _read(message: str | bytes) -> Reading:
    """Read a message with the strict reader, which finds every fault and is slow. Raises Undecodable."""
    if isinstance(message, str):
        return read_json(message, ROOT, nul_is_fault=False)
    return read_msgpack(message, ROOT)


def _ref_of(value: Any) -> str | None:
    """The `ref` of a refused command, if it is one that a valid command could have; it is sent back in the refusal."""
    ref = value.get("ref") if isinstance(value, dict) else None
    try:
        fits: str = msgspec.convert(ref, Ref)
    except msgspec.ValidationError:
        return None
    return fits if cut(fits) == fits else None


def _named(text: str) -> Fault:
    """Split msgspec's "Expected `int` - at `$.amountTokens`" into the field and the reason."""
    reason, _, place = text.rpartition(" - at `$") if " - at `$" in text else (text, "", "")
    field = place.rstrip("`").lstrip(".") or ROOT
    return cut(field), cut(_unknown_command(cut(reason)) if field == "type" else reason)


def _unknown_command(reason: str) -> str:
    """Return msgspec's "Invalid value 'tip:snd'" with the most similar command, if there is one."""
    _, is_unknown, given = reason.partition("Invalid value ")
    near = get_close_matches(given.strip("'"), _COMMANDS, 1)
    return f"is no command: {given}{f'; the nearest is {near[0]}' if near else ''}" if is_unknown else reason


_COMMANDS = [str(command.__struct_config__.tag) for command in get_args(AnyCommand)]


QUICK_BYTES = 32_768  # of MessagePack: each byte may be an empty map, which takes 72 bytes of memory

# A quick check of every frame. It may reject a valid frame, which is then read strictly; it never accepts a faulty one.
# msgspec alone would silently keep the last of two equal keys.


def _json_looks_sound(message: str) -> bool:
    """Whether a JSON text needs no strict reading.

    Each string has two quotes, so a value with fewer strings than its text has a duplicate key.
    """
    try:
        value = _json_value.decode(message)
        quotes = message.count('"')
        if "\\" in message and "\\\\" not in message:
            quotes -= message.count('\\"')  # without an escaped backslash, each of these is an escaped quote
        return type(value) is dict and 2 * _strings_in(value, 1) == quotes
    except (msgspec.MsgspecError, RecursionError, _Doubt):
        return False


def _msgpack_looks_sound(message: bytes) -> bool:
    """Whether a MessagePack message needs no strict reading.

    msgspec encodes in the shortest form, so a value that encodes to fewer bytes than the message may have lost a key.
    """
    if len(message) > QUICK_BYTES:
        return False
    try:
        value = _msgpack_value.decode(message)
        if type(value) is not dict:
            return False
        _strings_in(value, 1)
        return len(_to_msgpack(value)) == len(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Doubt):
        return False


class _Doubt(Exception):
    """The quick check cannot accept the value."""


def _strings_in(value: dict[Any, Any] | list[Any], depth: int) -> int:
    """The number of strings in a value, keys included. Raises _Doubt for a value that may have to be refused."""
    if depth > MAX_DEPTH:
        raise _Doubt
    found = 0
    inner: Iterable[Any] = value
    if type(value) is dict:
        found = len(value)
        for key in value:
            if type(key) is not str:
                raise _Doubt
        inner = value.values()
    for each in inner:
        kind = type(each)
        if kind is str:
            found += 1
        elif kind is int:
            if not INT64_MIN <= each <= INT64_MAX:
                raise _Doubt
        elif kind is dict or kind is list:
            found += _strings_in(each, depth + 1)
        elif each is not None and kind is not bool and kind is not bytes:
            raise _Doubt  # a float, which may be infinite or encode to more bytes than before; or an extension type
    return found


_TEXT, _BINARY, _CLOSE, _PING = 0x81, 0x82, 0x88, 0x89  # FIN and the opcode (RFC 6455 §5.2)

_to_json = msgspec.json.Encoder().encode
_to_msgpack = msgspec.msgpack.Encoder().encode
_json_command = msgspec.json.Decoder(AnyCommand)
_msgpack_command = msgspec.msgpack.Decoder(AnyCommand)
_json_value = msgspec.json.Decoder()
_msgpack_value = msgspec.msgpack.Decoder()


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close frame (RFC 6455 §5.5.1); the reason is cut at CLOSE_REASON_BYTES of UTF-8."""
    return _frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()[:CLOSE_REASON_BYTES])


def _frame(first_byte: int, payload: bytes) -> bytes:
    """An unmasked frame with the shortest form of the length: 7, 16 or 64 bits (RFC 6455 §5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((first_byte, length)) + payload
    if length < 65_536:
        return bytes((first_byte, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + length.to_bytes(8, "big") + payload


PING_FRAME = _frame(_PING, b"")
