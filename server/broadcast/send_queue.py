"""The byte stream of one connection: a bounded, ordered send queue that never waits, and the receiving side.

trio-websocket writes its handshake and its answers to pings here, and rooms and sessions push their frames into the
same queue. Without it, each sender would have to wait for the slowest client, or start a task for each frame.
"""

import contextlib
import socket
from collections.abc import Callable, Iterable
from functools import partial

import trio

from server.broadcast.codec import close_frame
from server.broadcast.idle_sockets import IdleSockets
from server.close_codes import CloseCode

CLOSE = b"\x88"  # how a Close frame begins (RFC 6455 §5.2)
JOINED_BYTES = 16_384  # of waiting frames that are written together: one packet for each small frame would be slow
BUSY_SECONDS = 0.02  # between two attempts to read while another task waits for the same socket
LEFT_BYTES = 65_536  # read at a time, of input that is discarded


class SendQueue(trio.abc.Stream):
    """The stream that trio-websocket writes to, and the queue of broadcasts, so that both leave in one order.

    A frame is offered to the kernel at once. Bytes that the kernel refuses wait here, and a writer task is started.
    If more than `limit` bytes wait, the client reads too slowly: frames that are not begun are dropped, the begun one
    is finished, Close 4001 follows, and the connection is aborted if the client does not hang up in `close_seconds`.
    Nothing follows a Close frame. A single frame may exceed `limit` if nothing else waits.

    The connection's task creates it and closes it with `aclose`, and owns `nursery`, in which the writer runs.
    `closed` is set once the socket is closed. After a Pong, the client is idle: `idle_sockets` reads further ones.
    """

    __slots__ = (
        "_accept",
        "_begun",
        "_close_seconds",
        "_closing",
        "_drained",
        "_idle_sockets",
        "_leaving",
        "_limit",
        "_nursery",
        "_send",
        "_sock",
        "_waiting",
        "_waiting_bytes",
        "closed",
        "needs_no_reader",
        "received_at",
    )

    def __init__(
        self,
        sock: socket.socket,
        nursery: trio.Nursery,
        idle_sockets: IdleSockets,
        *,
        limit: int,
        close_seconds: float,
    ) -> None:
        self._sock = sock
        self._idle_sockets = idle_sockets
        self._send = sock.send
        self._accept: Callable[[bytes], int] = (
            self._send
        )  # the next frame goes to the kernel, to `_keep`, or to `_discard_frame`
        self._nursery = nursery
        self._limit = limit
        self._close_seconds = close_seconds
        self._waiting: list[bytes] = []  # an empty deque would be the largest object of an idle connection
        self._waiting_bytes = 0
        self._begun = False  # the first waiting frame is sent in part
        self._closing = False
        self._leaving = False
        self._drained: trio.Event | None = None  # set once nothing waits any more; made by `aclose`
        self.closed = trio.Event()
        self.received_at = trio.current_time()  # when the peer's last byte came in
        # Whether input says no more than that the peer is there.
        self.needs_no_reader: Callable[[bytes], bool] = _nothing

    def push(self, frame: bytes) -> None:
        """Send a complete websocket frame, or several, after those that were pushed before.

        Never waits and raises nothing. A broken or closing connection discards the frame.
        """
        push_to_each((self,), frame)

    def fileno(self) -> int | None:
        """The socket's file descriptor; None once its input is not handled any more."""
        return None if self.closed.is_set() or self._closing or self._leaving else self._sock.fileno()

    @property
    def closing(self) -> bool:
        """Whether a Close frame was queued or sent."""
        return self._closing

    @property
    def over(self) -> bool:
        """Whether either side has closed the connection or begun to."""
        return self._closing or self._leaving or self.closed.is_set()

    def _wait(self, frame: bytes, begun: bool) -> None:
        """Queue this frame, or the rest of it, and later ones, since the kernel's buffer is full."""
        self._begun = begun
        self._accept = self._keep
        self._keep(frame)
        self._nursery.start_soon(self._write_waiting)

    def _keep(self, frame: bytes) -> int:
        """Queue a frame. Stands in for `socket.send`, so it returns the number of bytes that it accepted."""
        if self._waiting_bytes + len(frame) > self._limit and self._waiting:
            self._drop_slow_reader()
        else:
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
        return len(frame)

    def close(self, code: int, reason: str = "") -> None:
        """Queue a Close frame behind what waits; abort if the peer has not hung up after `close_seconds`.

        Returns at once. Ignored if a Close frame was queued before, so the first code is the one that the client sees.
        """
        if not self._closing and not self.closed.is_set():
            self.push(close_frame(code, reason))
            self._closing, self._accept = True, _discard_frame
            self._nursery.start_soon(self._abort_later)

    def _drop_slow_reader(self) -> None:
        """Replace the waiting frames by Close 4001; a frame that is sent in part must be completed first."""
        kept = [self._waiting[0]] if self._begun else []
        self._waiting.clear()
        self._waiting.extend([*kept, close_frame(CloseCode.SLOW_CONSUMER, "slow consumer")])
        self._waiting_bytes = sum(map(len, self._waiting))
        self._closing, self._accept = True, _discard_frame
        self._nursery.start_soon(self._abort_later)

    async def _write_waiting(self) -> None:
        """The writer task: send what waits whenever the kernel accepts more, until nothing waits."""
        with contextlib.suppress(trio.ClosedResourceError):
            while self._waiting:
                await trio.lowlevel.wait_writable(self._sock)
                self._write_some()
        if self._accept == self._keep:
            self._accept = self._send
        self._note_drained()

    def _write_some(self) -> None:
        """Send as much of the waiting frames as the kernel accepts now."""
        if self.closed.is_set():  # while the writer waited for the kernel
            return
        try:
            sent = self._send(self._first_bytes())
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self._note_sent(sent)

    def _first_bytes(self) -> bytes:
        """The next frames joined, until they have JOINED_BYTES."""
        size = count = 0
        while count < len(self._waiting) and size < JOINED_BYTES:
            size += len(self._waiting[count])
            count += 1
        return self._waiting[0] if count == 1 else b"".join(self._waiting[:count])

    def _note_sent(self, sent: int) -> None:
        """Remove the frames that were sent completely, and cut the one that was sent in part."""
        self._waiting_bytes -= sent
        whole = 0
        while whole < len(self._waiting) and sent >= len(self._waiting[whole]):
            sent -= len(self._waiting[whole])
            whole += 1
        del self._waiting[:whole]
        if sent:
            self._waiting[0] = self._waiting[0][sent:]
        self._begun = sent > 0 or (self._begun and not whole)

    def _note_drained(self) -> None:
        """Wake `aclose`, which waits until nothing is queued any more."""
        if self._drained is not None:
            self._drained.set()

    async def _abort_later(self) -> None:
        """Abort if the peer has not hung up `close_seconds` after our Close frame."""
        with trio.move_on_after(self._close_seconds):
            await self.closed.wait()
        self.abort()

    def abort(self) -> None:
        """Close the socket at once and wake every task that waits for it. Idempotent."""
        if not self.closed.is_set():
            self.closed.set()
            self._accept = _discard_frame
            self.needs_no_reader = _nothing  # that of a parser refers to this object
            self._waiting.clear()
            self._note_drained()
            self._stop_reader()
            self._sock.close()

    # The interface of trio.abc.Stream, for trio-websocket

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send a control frame of trio-websocket or a handshake's answer. Raises BrokenResourceError once closed."""
        if self.closed.is_set():
            raise trio.BrokenResourceError
        self.push(bytes(data))
        if data[:1] == CLOSE:
            self._closing, self._accept = True, _discard_frame
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Return at once: `send_all` never blocks."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what arrived, at most `max_bytes`; empty at the end of the input.

        Raises ClosedResourceError once this side has closed, BrokenResourceError if the connection broke.
        """
        if self._leaving:
            raise trio.ClosedResourceError
        return await self._read(max_bytes or 4096)

    async def _read(self, max_bytes: int) -> bytes:
        """Wait for input and receive it; passes over what needs no reader."""
        while True:
            if self.closed.is_set():
                raise trio.ClosedResourceError
            try:
                data = self._receive(max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
                continue
            if data is None:
                return await self._idle_sockets.next_input(self._sock.fileno(), partial(self._receive, max_bytes))
            await trio.lowlevel.checkpoint()  # a peer that floods must not keep other tasks from running
            return data

    def _receive(self, max_bytes: int) -> bytes | None:
        """Receive what arrived, and note the time; None if it needs no reader.

        Raises BlockingIOError if nothing has arrived, BrokenResourceError if the connection broke.
        """
        try:
            data = self._sock.recv(max_bytes)
        except BlockingIOError:
            raise
        except OSError as error:
            raise trio.BrokenResourceError from error
        self.received_at = trio.current_time()
        return None if self.needs_no_reader(data) else data

    async def aclose(self) -> None:
        """Send what waits, shut down the sending side, wait for the peer to hang up, and close.

        Takes at most `close_seconds`. If it is cancelled, the socket is closed at once. A second call waits for the
        first one.
        """
        if self._leaving:
            await self.closed.wait()
            return
        self._leaving = True
        try:
            with trio.move_on_after(self._close_seconds):
                await self._finish()
        finally:
            self.abort()

    async def _finish(self) -> None:
        """Send what waits, and read the input to its end meanwhile.

        If input were left unread, the kernel would answer it with a reset, which can overtake our Close frame. With a
        full receive buffer it also drops the peer's acknowledgements, so that our own bytes would not be sent.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            if self._waiting:
                self._drained = trio.Event()
                await self._drained.wait()
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
                self._stop_reader()  # only this task reads from here on

    def _stop_reader(self) -> None:
        """Make the task that waits for input raise ClosedResourceError."""
        trio.lowlevel.notify_closing(self._sock)
        self._idle_sockets.notify_closing(self._sock.fileno())

    async def _discard(self) -> None:
        """Read and drop all bytes until the peer hangs up."""
        while not self.closed.is_set():
            try:
                if not self._sock.recv(LEFT_BYTES):
                    return
                await trio.lowlevel.checkpoint()
            except BlockingIOError:
                await self._wait_readable()
            except OSError:
                return

    async def _wait_readable(self) -> None:
        """Wait for input. Sleep for BUSY_SECONDS instead while the library's reader waits for the same socket."""
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except trio.BusyResourceError:
            await trio.sleep(BUSY_SECONDS)
        except trio.ClosedResourceError:
            await trio.lowlevel.checkpoint()


def _nothing(data: bytes) -> bool:
    return False


_discard_frame = len  # sink of a closing connection: reports every frame as sent and discards it


def push_to_each(send_queues: Iterable[SendQueue], frame: bytes) -> None:
    """Push one frame into each queue; a method call for each would add a tenth to the cost of a broadcast.

    A queue whose socket fails is aborted, and the others are served all the same. Never waits and raises nothing.
    """
    size = len(frame)
    for send_queue in send_queues:
        accept = send_queue._accept  # in two steps, since Python 3.11 calls a slot's value slowly
        try:
            taken = accept(frame)
        except BlockingIOError:
            taken = 0
        except OSError:
            send_queue.abort()
            continue
        if taken != size:
            send_queue._wait(frame[taken:], begun=taken > 0)
