"""The private names of trio-websocket that `server/gateway/frame_reader.py` relies on."""

import re
from pathlib import Path

import trio.testing
import trio_websocket._impl
from trio_websocket import CloseReason, WebSocketConnection
from wsproto import ConnectionType, WSConnection

from server.gateway import frame_reader
from tests.libraries.reliance import Reliance, changes, taken_names

READ_IN = ("0.12",)
FILE = "server/gateway/frame_reader.py"
RELIANCES = (
    Reliance(
        WebSocketConnection,
        "_reader_task",
        FILE,
        "`FrameReader.read` awaits it; check that it still dispatches each event by its exact class, takes further "
        "events only once a handler is done, and closes the channel of messages at its end",
        ("self",),
        (
            "async with self._send_channel:",
            "for event in self._wsproto.events():",
            "TextMessage: self._handle_message_event",
            "BytesMessage: self._handle_message_event",
            "CloseConnection: self._handle_close_connection_event",
            "await handler(event)",
            "self._stream.receive_some(self._receive_buffer_size)",
        ),
    ),
    Reliance(
        WebSocketConnection,
        "_handle_message_event",
        FILE,
        "`_Websocket` overrides it to suspend the reader; check that it is awaited for each frame of a message, and "
        "refuses a message past the size limit with the text that `_FrameLimits` uses as well",
        ("self", "event"),
        ("f'Exceeded maximum message size: {self._max_message_size} bytes'", "await self._send_channel.send(msg)"),
    ),
    Reliance(
        WebSocketConnection,
        "_handle_close_connection_event",
        FILE,
        "`_Parser.events` ends a connection with a CloseConnection in the state OPEN; check that its code becomes the "
        "reason of ConnectionClosed, and that the stream is closed",
        ("self", "event"),
        (
            "if self._wsproto.state == ConnectionState.REMOTE_CLOSING:",
            "await self._close_web_socket(event.code, event.reason or None)",
            "if self.is_server: await self._close_stream()",
        ),
    ),
    Reliance(
        WebSocketConnection,
        "__init__",
        FILE,
        "`_Websocket` passes a parser of its own as `ws_connection`; check that only the parser's client, state, send, "
        "receive_data and events are used",
        (
            *("self", "stream", "ws_connection", "host", "path", "client_subprotocols", "client_extra_headers"),
            *("message_queue_size", "max_message_size", "receive_buffer_size"),
        ),
        ("self._wsproto = ws_connection",),
    ),
    Reliance(
        WebSocketConnection,
        "get_message",
        FILE,
        "`FrameReader.get_message` returns what it returns",
        ("self",),
        ("await self._recv_channel.receive()", "raise ConnectionClosed(self._close_reason)"),
    ),
    Reliance(CloseReason, "__init__", FILE, "`_FrameLimits` makes reasons", ("self", "code", "reason")),
)


def test_trio_websocket_has_the_private_names_that_we_rely_on() -> None:
    assert changes("trio-websocket", READ_IN, RELIANCES) == []


def test_of_its_parser_the_library_uses_only_what_ours_has() -> None:
    source = Path(trio_websocket._impl.__file__).read_text()
    used = set(re.findall(r"self\._wsproto\.(\w+)", source)) | set(re.findall(r"\bws_connection\.(\w+)", source))
    assert used == {"client", "events", "receive_data", "send", "state"}, f"{FILE}: _Parser must have these"


async def test_our_subclass_uses_no_name_of_the_library() -> None:
    stream, _ = trio.testing.memory_stream_pair()
    theirs = WebSocketConnection(stream, WSConnection(ConnectionType.SERVER))
    assert taken_names(frame_reader._Websocket, theirs, ["_handle_message_event"]) == []
    assert not hasattr(theirs, "limits"), f"{FILE}: rename _Websocket.limits"
