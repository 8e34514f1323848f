"""One connection's bytes: an ordered, bounded way out that never waits, and the way in."""

import contextlib
import socket
from collections.abc import Callable, Iterable

import trio

from server.broadcast.codec import close_frame
from server.close_codes import CloseCode

CLOSE = b"\x88"  # how a Close frame begins (RFC 6455 §5.2)
JOINED_BYTES = 16_384  # written at a time of frames that wait: small ones, each in a packet of its own, take far longer
BUSY_SECONDS = 0.02  # between two tries to read while somebody else waits to
LEFT_BYTES = 65_536  # read at a time, of what nobody will handle


class SendQueue(trio.abc.Stream):
    """The stream that trio-websocket speaks through, and the box into which broadcasts are pushed: one order for both.

    A frame is offered to the kernel at once; what the kernel refuses waits here, and a writer is started for it.
    Over `limit` bytes the reader is too slow: frames not begun are dropped, the begun one is finished, Close 4001
    follows, and the connection is aborted if that is not out after `close_seconds`. Nothing follows a Close frame.
    """

    __slots__ = (
        "_accept",
        "_begun",
        "_close_seconds",
        "_closing",
        "_drained",
        "_leaving",
        "_limit",
        "_nursery",
        "_send",
        "_sock",
        "_waiting",
        "_waiting_bytes",
        "closed",
        "received_at",
    )

    def __init__(self, sock: socket.socket, nursery: trio.Nursery, *, limit: int, close_seconds: float) -> None:
        self._sock = sock
        self._send = sock.send
        self._accept: Callable[[bytes], int] = self._send  # who gets the next frame: the kernel, `_keep`, or `_swallow`
        self._nursery = nursery
        self._limit = limit
        self._close_seconds = close_seconds
        self._waiting: list[bytes] = []  # an empty deque would be the largest thing that an idle connection has
        self._waiting_bytes = 0
        self._begun = False  # the first waiting frame is out in part
        self._closing = False
        self._leaving = False
        self._drained: trio.Event | None = None  # for who closes: nothing waits any more
        self.closed = trio.Event()
        self.received_at = trio.current_time()  # when the peer's last byte came in

    def push(self, frame: bytes) -> None:
        """Send a frame, after those pushed before. Never waits and never fails: a broken connection swallows it."""
        push_to_each((self,), frame)

    def fileno(self) -> int | None:
        """The socket's number; None once nobody reads it any more."""
        return None if self.closed.is_set() or self._closing or self._leaving else self._sock.fileno()

    @property
    def closing(self) -> bool:
        """A Close frame is on its way, or was sent."""
        return self._closing

    @property
    def over(self) -> bool:
        """The connection is closed or about to be: the peer has sent a Close frame or hung up, or we have."""
        return self._closing or self._leaving or self.closed.is_set()

    def _wait(self, frame: bytes, begun: bool) -> None:
        """The kernel takes no more for now: this one, or the rest of it, and those that follow are kept."""
        self._begun = begun
        self._accept = self._keep
        self._keep(frame)
        self._nursery.start_soon(self._write_waiting)

    def _keep(self, frame: bytes) -> int:
        """Behind those that wait; in place of the kernel, so it answers as `send` does."""
        if self._waiting_bytes + len(frame) > self._limit and self._waiting:
            self._drop_slow_reader()
        else:
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
        return len(frame)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye after what waits; abort if the peer has not hung up after `close_seconds`."""
        if not self._closing and not self.closed.is_set():
            self.push(close_frame(code, reason))
            self._closing, self._accept = True, _swallow
            self._nursery.start_soon(self._abort_later)

    def _drop_slow_reader(self) -> None:
        kept = [self._waiting[0]] if self._begun else []
        self._waiting.clear()
        self._waiting.extend([*kept, close_frame(CloseCode.SLOW_CONSUMER, "slow consumer")])
        self._waiting_bytes = sum(map(len, self._waiting))
        self._closing, self._accept = True, _swallow
        self._nursery.start_soon(self._abort_later)

    async def _write_waiting(self) -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            while self._waiting:
                await trio.lowlevel.wait_writable(self._sock)
                self._write_some()
        if self._accept == self._keep:
            self._accept = self._send
        self._note_drained()

    def _write_some(self) -> None:
        """As much of the first frames as the kernel takes now."""
        if self.closed.is_set():  # since the kernel said that it takes some
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
        """Of as many frames as have JOINED_BYTES, or of all."""
        size = count = 0
        while count < len(self._waiting) and size < JOINED_BYTES:
            size += len(self._waiting[count])
            count += 1
        return self._waiting[0] if count == 1 else b"".join(self._waiting[:count])

    def _note_sent(self, sent: int) -> None:
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
        if self._drained is not None:
            self._drained.set()

    async def _abort_later(self) -> None:
        with trio.move_on_after(self._close_seconds):
            await self.closed.wait()
        self.abort()

    def abort(self) -> None:
        """Close the socket now; whoever waits for it is woken."""
        if not self.closed.is_set():
            self.closed.set()
            self._accept = _swallow
            self._waiting.clear()
            self._note_drained()
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    # The stream, as trio-websocket wants it

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """A control frame of the library's own, or its handshake."""
        if self.closed.is_set():
            raise trio.BrokenResourceError
        self.push(bytes(data))
        if data[:1] == CLOSE:
            self._closing, self._accept = True, _swallow
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._leaving:
            raise trio.ClosedResourceError
        return await self._read(max_bytes or 4096)

    async def _read(self, max_bytes: int) -> bytes:
        while True:
            if self.closed.is_set():
                raise trio.ClosedResourceError
            try:
                data = self._sock.recv(max_bytes)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
            except OSError as error:
                raise trio.BrokenResourceError from error
            else:
                self.received_at = trio.current_time()
                await trio.lowlevel.checkpoint()  # a flood from one peer lets others run, too
                return data

    async def aclose(self) -> None:
        """The library is done with the connection: let what waits out, and close when the peer has hung up, too."""
        if self._leaving:
            await self.closed.wait()
            return
        self._leaving = True
        try:
            with trio.move_on_after(self._close_seconds):
                await self._take_leave()
        finally:
            self.abort()

    async def _take_leave(self) -> None:
        """Let what waits out, and read to the end meanwhile.

        The kernel would answer what is unread with a reset, and that can overtake our Close. Of a peer whose bytes
        nobody takes it does not even take the acknowledgements, so that our own bytes would not leave.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard)
            if self._waiting:
                self._drained = trio.Event()
                await self._drained.wait()
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
                trio.lowlevel.notify_closing(self._sock)  # from here on nobody else reads

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
        """Or a little, while the library's reader still waits for the same; or until anybody is woken by a close."""
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except trio.BusyResourceError:
            await trio.sleep(BUSY_SECONDS)
        except trio.ClosedResourceError:
            await trio.lowlevel.checkpoint()


_swallow = len  # who is going, or gone: every frame is taken whole, and nothing becomes of it


def push_to_each(send_queues: Iterable[SendQueue], frame: bytes) -> None:
    """As `push` into each: a method called for each member would be a tenth of what a broadcast costs."""
    size = len(frame)
    for send_queue in send_queues:
        accept = send_queue._accept  # in two steps: Python 3.11 is slow to call what a slot holds
        try:
            taken = accept(frame)
        except BlockingIOError:
            taken = 0
        except OSError:
            send_queue.abort()
            continue
        if taken != size:
            send_queue._wait(frame[taken:], begun=taken > 0)
