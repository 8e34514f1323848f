"""One websocket connection, from its handshake to its close.

`serve_connection` owns the socket. It answers the handshake, has ClientProtocol open or resume a session with the first
message, and passes it every later message until either side closes.
"""

import socket

import trio
from structlog.contextvars import bind_contextvars
from trio_websocket import ConnectionClosed

from domain.protocol.commands import MAX_TOKEN
from server.broadcast.send_queue import SendQueue
from server.close_codes import CloseCode, CloseConnection
from server.config.settings import WebsocketSettings
from server.context import Context
from server.gateway.connection_limits import Admission
from server.gateway.frame_reader import FrameReader
from server.gateway.handshake import Offer, shake_hands
from server.gateway.protocol import ClientProtocol
from server.ids import new_uuid
from server.observability.redaction import Unredacted

RESUME_POINT_BYTES = 128  # of each room in session:open; a channel name has at most 64 characters
OPEN_BYTES = MAX_TOKEN + 1_024  # of session:open without its rooms


async def serve_connection(context: Context, sock: socket.socket, admission: Admission) -> None:
    """Serve one accepted socket until it is closed. An exception is a bug: the listener contains and counts it.

    The socket is closed on every way out, cancellation included, after at most `close_seconds`.
    """
    settings = context.settings.websocket
    bind_contextvars(connection=Unredacted(new_uuid()))  # in every log line that this connection causes
    async with trio.open_nursery() as nursery:
        send_queue = SendQueue(
            sock,
            nursery,
            context.idle_sockets,
            limit=settings.outbox_bytes,
            close_seconds=settings.close_seconds,
        )
        try:
            offer = await shake_hands(context, sock, send_queue)
            if offer is not None:
                reader = FrameReader(send_queue, settings, first_message_bytes(settings), context.faults)
                nursery.start_soon(reader.read)
                context.metrics.connection_closed(await _run_protocol(context, send_queue, reader, offer, admission))
        finally:
            with trio.CancelScope(shield=True):  # bounded by close_seconds, in aclose itself
                await send_queue.aclose()
            nursery.cancel_scope.cancel()


async def _run_protocol(
    context: Context, send_queue: SendQueue, reader: FrameReader, offer: Offer, admission: Admission
) -> int | None:
    """Open or resume the session and handle messages until either side closes.

    Returns the close code, or None if the connection ended without a Close frame. A session that was opened learns of
    the end on every way out, cancellation included.
    """
    protocol = ClientProtocol(context, send_queue, offer.encoding, limited=not offer.exempt)
    try:
        if offer.authorization is None:
            await protocol.open_by_message(await _first_message(context, reader))
        else:
            await protocol.open_by_header(offer.authorization)
    except ConnectionClosed as closed:
        return _code_of(closed)
    except CloseConnection as close:
        await _send_close(close, send_queue)
        return close.code
    admission.authenticated()
    reader.admit_messages()
    code = None
    try:
        await protocol.send_missed_events()
        while True:
            await protocol.handle_message(await reader.get_message())
    except ConnectionClosed as closed:
        code = _code_of(closed)
    except CloseConnection as close:
        code = close.code
        await _send_close(close, send_queue)
    finally:
        protocol.end(code)
    return code


def _code_of(closed: ConnectionClosed) -> int | None:
    """The code of the Close frame; None without one."""
    return None if closed.reason is None else closed.reason.code


async def _first_message(context: Context, reader: FrameReader) -> str | bytes:
    """Wait `open_seconds` for the first message, and longer after a stall. Raises CloseConnection(OPEN_TIMEOUT)."""
    while True:
        began = trio.current_time()
        with trio.move_on_after(context.settings.websocket.open_seconds):
            return await reader.get_message()
        if not context.clock.stalls.stalled_since(began):  # after a stall, the message may have arrived already
            raise CloseConnection(CloseCode.OPEN_TIMEOUT, "no session:open in time")


async def _send_close(close: CloseConnection, send_queue: SendQueue) -> None:
    """Send a Close frame and wait until the socket is closed, at most `close_seconds`."""
    send_queue.close(close.code, close.reason)
    await send_queue.closed.wait()


def first_message_bytes(settings: WebsocketSettings) -> int:
    """The largest `session:open`, in bytes. It is limited strictly, as its sender is not authenticated yet."""
    return min(settings.max_frame_bytes, OPEN_BYTES + RESUME_POINT_BYTES * settings.rooms_per_session)
