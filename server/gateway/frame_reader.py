"""Reads the messages of one websocket: trio-websocket's reader on wsproto's parser, with the limits that they lack.

The libraries limit the size of a message but not its number of frames, nor that of control frames, and after a
protocol error they drop the connection without a Close frame.

Only this module depends on what the two libraries do not promise. It was read in trio-websocket 0.12.2 and in wsproto
1.2.0 to 1.3.2; `tests/libraries/` checks each point:

- `WebSocketConnection._reader_task()`, private. The public functions that start the reader construct the connection
  themselves, with a parser that has no limits and keeps the handshake's 3 KB.
- `WebSocketConnection._handle_message_event(event)`, private. The reader awaits it for every frame of a message, so it
  is where reading can be suspended between two messages.
- The reader uses `client`, `state`, `send`, `receive_data` and `events` of its parser, and nothing else. Therefore
  wsproto's `Connection` takes the place of a `WSConnection`, which it has these in common with.
- For a CloseConnection event the reader closes the connection with the event's code, also if the parser is OPEN.
- `Connection.events()` yields a CloseConnection in the state OPEN only for a frame that violates the protocol.
- Between two frames the `header` of wsproto's FrameDecoder is None and its `buffer` is empty.
"""

from collections.abc import Generator

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from domain.throttle import Throttle
from server.broadcast.send_queue import SendQueue
from server.close_codes import CloseCode
from server.config.settings import WebsocketSettings
from server.gateway.protocol import MAX_BEHIND_SECONDS
from server.observability.faults import Faults

FRAGMENT_BYTES_MIN = 64  # on average over a message; smaller fragments take more time than their content is worth
PONG, MASKED = 0x8A, 0x80  # the first byte of a Pong, and the bit of its second (RFC 6455 §5.2)
EMPTY_PONG_BYTES, CONTROL_BYTES_MAX = 6, 125  # its header with the mask, and the most that it carries
QUEUED_MESSAGES = 64  # read and not handled yet; clients send fewer while the database answers one command
USUAL_ENDS = (ConnectionClosed, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)


class FrameReader:
    """The incoming messages of a websocket whose handshake is complete.

    Until `admit_messages` is called, it reads one message of at most `first_bytes`, and nothing after it. Pings are
    answered at any time.
    """

    __slots__ = ("_faults", "_limits", "_send_queue", "_websocket")

    def __init__(self, send_queue: SendQueue, settings: WebsocketSettings, first_bytes: int, faults: Faults) -> None:
        self._faults = faults
        self._limits = _FrameLimits(settings, first_bytes)
        self._send_queue = send_queue
        parser = _Parser(send_queue, self._limits)
        self._websocket = _Websocket(send_queue, parser, self._limits, settings.max_frame_bytes)
        send_queue.needs_no_reader = parser.is_lone_pong

    async def read(self) -> None:
        """Read frames until the connection ends; aborts it after an exception, which is counted as a fault."""
        with self._faults.contained("connection", self._send_queue.abort):
            try:
                await self._websocket._reader_task()
            except trio.Cancelled as cancelled:
                # On an exception the library closes its channel, which ends the protocol and cancels this reader; the
                # exception would be lost.
                if isinstance(cancelled.__context__, Exception) and not isinstance(cancelled.__context__, USUAL_ENDS):
                    raise cancelled.__context__ from None
                raise

    def admit_messages(self) -> None:
        """Read further messages, each of at most `max_frame_bytes`; called once the user is authenticated."""
        self._limits.admit_messages()

    async def get_message(self) -> str | bytes:
        """Wait for the next message: text as `str`, binary as `bytes`. A cancelled wait loses no message.

        Raises ConnectionClosed at the end of the connection. Messages that arrived before the client's end are returned
        first; those before the violation of a limit are discarded.
        """
        if self._limits.exceeded is not None:
            raise ConnectionClosed(self._limits.exceeded)
        return await self._websocket.get_message()


class _FrameLimits:
    """Counts the frames of one connection."""

    __slots__ = (
        "_admitted",
        "_control_frames",
        "_first_bytes",
        "_first_bytes_left",
        "_first_is_read",
        "_fragments",
        "_fragments_max",
        "exceeded",
    )

    def __init__(self, settings: WebsocketSettings, first_bytes: int) -> None:
        self.exceeded: CloseReason | None = None  # the first limit that was exceeded
        self._admitted: trio.Event | None = trio.Event()  # None once the user is authenticated
        self._control_frames = Throttle(settings.messages_per_second, settings.messages_burst)
        self._first_bytes = self._first_bytes_left = first_bytes
        self._first_is_read = False
        self._fragments = 0  # of the message that is being read
        self._fragments_max = settings.max_frame_bytes // FRAGMENT_BYTES_MIN

    def admit_messages(self) -> None:
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            admitted.set()

    async def wait_admitted(self, message: BytesMessage | TextMessage) -> None:
        """Suspend the reader at the first frame of a second message until the user is authenticated."""
        if self._admitted is not None:
            if self._first_is_read:
                await self._admitted.wait()
            self._first_is_read = message.message_finished

    def count_pong(self) -> bool:
        """Count a Pong that arrived alone, unless it exceeds the limit: then `count` has to see it."""
        return self.exceeded is None and self._control_frames.take_if_due(trio.current_time())

    def count(self, event: Event) -> CloseReason | None:
        """Count a frame; returns why the connection must be closed, if it exceeds a limit."""
        if isinstance(event, Ping | Pong):
            if self._control_frames.take(trio.current_time()) > MAX_BEHIND_SECONDS:
                self.exceeded = CloseReason(CloseCode.TOO_MANY, "too many control frames")
        elif isinstance(event, BytesMessage | TextMessage):
            self._fragments = 0 if event.message_finished else self._fragments + event.frame_finished
            if self._fragments > self._fragments_max:
                self.exceeded = CloseReason(CloseCode.TOO_LARGE, "too many fragments")
            elif self._admitted is not None and not self._first_is_read:
                self._count_first(event)
        return self.exceeded

    def _count_first(self, message: BytesMessage | TextMessage) -> None:
        self._first_bytes_left -= len(message.data)
        if self._first_bytes_left < 0:
            text = f"Exceeded maximum message size: {self._first_bytes} bytes"  # as the library says it of later ones
            self.exceeded = CloseReason(CloseCode.TOO_LARGE, text)


class _Parser(Connection):
    """wsproto's parser, which sends a Close frame once a limit or the protocol is violated."""

    def __init__(self, send_queue: SendQueue, limits: _FrameLimits) -> None:
        super().__init__(ConnectionType.SERVER)
        self.limits = limits
        self.send_queue = send_queue

    def is_lone_pong(self, data: bytes) -> bool:
        """Whether these bytes are one complete Pong frame and begin a frame; if so, count it.

        Most input of an idle client is Pongs, which the library's reader would only pass over.
        """
        length = len(data) - EMPTY_PONG_BYTES
        if not 0 <= length <= CONTROL_BYTES_MAX or data[0] != PONG or data[1] != MASKED | length:
            return False
        decoder = self._proto._frame_decoder
        between_frames = decoder.header is None and not decoder.buffer
        return between_frames and self.state is ConnectionState.OPEN and self.limits.count_pong()

    def events(self) -> Generator[Event, None, None]:
        for event in super().events():
            exceeded = self.limits.count(event)
            if exceeded is not None:
                self.send_queue.close(exceeded.code, exceeded.reason or "")
                yield CloseConnection(exceeded.code, exceeded.reason)
                return
            if isinstance(event, CloseConnection) and self.state is ConnectionState.OPEN:
                self.send_queue.close(event.code, event.reason or "")
            yield event


class _Websocket(WebSocketConnection):
    """trio-websocket's connection, which reads the second message only once the user is authenticated."""

    def __init__(self, send_queue: SendQueue, parser: _Parser, limits: _FrameLimits, max_frame_bytes: int) -> None:
        super().__init__(
            send_queue,
            parser,  # type: ignore[arg-type]  # reason: in place of a WSConnection, see above
            message_queue_size=QUEUED_MESSAGES,
            max_message_size=max_frame_bytes,
        )
        self.limits = limits

    async def _handle_message_event(self, event: BytesMessage | TextMessage) -> None:
        await self.limits.wait_admitted(event)
        await super()._handle_message_event(event)
