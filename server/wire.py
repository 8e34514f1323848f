"""Bytes to messages and back, in both subprotocols; frames of the server are not masked, so one serves all members."""

from enum import Enum
from typing import Any

import msgspec

from domain.commands import MAX_REF, AnyCommand

CLOSE_REASON_BYTES = 123  # RFC 6455 §5.5: a control frame carries at most 125, two of them the code


class Undecodable(Exception):
    """The bytes are no JSON, or no MessagePack, object at all."""


class Misfit(Exception):
    """The message is sound, but is no command of ours; `ref` is there if the client gave one."""

    def __init__(self, message: str, ref: str | None) -> None:
        super().__init__(message)
        self.ref = ref


class Encoding(Enum):
    """A subprotocol: how its messages are written."""

    JSON = "halfminute.v1.json"
    MSGPACK = "halfminute.v1.msgpack"

    def frame(self, event: Any) -> bytes:
        """An event as one websocket frame, ready for the socket."""
        if self is Encoding.JSON:
            return _frame(_TEXT, _to_json(event))
        return _frame(_BINARY, _to_msgpack(event))

    def decode(self, message: str | bytes) -> AnyCommand:
        """Raises Undecodable, or Misfit with what is wrong."""
        if isinstance(message, str) is not (self is Encoding.JSON):
            raise Undecodable
        decoder: Any = _json_command if self is Encoding.JSON else _msgpack_command
        try:
            command: AnyCommand = decoder.decode(message)
        except msgspec.ValidationError as error:
            raise Misfit(str(error), self._ref_of(message)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Undecodable from None
        if command.ref is not None and len(command.ref) > MAX_REF:
            raise Misfit(f"ref has more than {MAX_REF} characters", None)
        return command

    def _ref_of(self, message: str | bytes) -> str | None:
        decoder: Any = _json_ref if self is Encoding.JSON else _msgpack_ref
        try:
            found: str | None = decoder.decode(message).ref
        except msgspec.MsgspecError:
            return None
        return found if found is None or len(found) <= MAX_REF else None


class _Ref(msgspec.Struct):
    """As much of any command as is needed to answer it."""

    ref: str | None = None


_TEXT, _BINARY, _CLOSE, _PING = 0x81, 0x82, 0x88, 0x89  # FIN and the opcode (RFC 6455 §5.2)

_to_json = msgspec.json.Encoder().encode
_to_msgpack = msgspec.msgpack.Encoder().encode
_json_command = msgspec.json.Decoder(AnyCommand)
_msgpack_command = msgspec.msgpack.Decoder(AnyCommand)
_json_ref = msgspec.json.Decoder(_Ref)
_msgpack_ref = msgspec.msgpack.Decoder(_Ref)


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close frame (RFC 6455 §5.5.1)."""
    return _frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()[:CLOSE_REASON_BYTES])


def _frame(first_byte: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first_byte, length)) + payload
    if length < 65_536:
        return bytes((first_byte, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + length.to_bytes(8, "big") + payload


PING_FRAME = _frame(_PING, b"")
