"""The interfaces of hypercorn that `server/rest/http/http1.py` relies on."""

from types import MethodType
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio import task_group
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext

from server.rest.http import http1
from tests.libraries.reliance import Reliance, changes, taken_names

READ_IN = ("0.18",)
FILE, CONNECTIONS = "server/rest/http/http1.py", "server/rest/http/connections.py"
RELIANCES = (
    Reliance(
        H11Protocol,
        "__init__",
        CONNECTIONS,
        "`_Connection.run` makes one for each connection",
        ("self", "app", "config", "context", "task_group", "connection_state", "ssl", "client", "server", "send"),
        ("max_incomplete_event_size=self.config.h11_max_incomplete_size",),
    ),
    Reliance(
        H11Protocol,
        "handle",
        FILE,
        "`Http1.handle` does for RawData what this does, and leaves Closed to it; check that it does nothing else",
        ("self", "event"),
        (
            "if isinstance(event, RawData): self.connection.receive_data(event.data) await self._handle_events()",
            "elif isinstance(event, Closed): if self.stream is not None: await self._close_stream()",
        ),
    ),
    Reliance(
        H11Protocol,
        "_handle_events",
        FILE,
        "`Http1._handle_each` is in its place; check that it handles the same kinds of events",
        ("self",),
        (
            "if self.connection.they_are_waiting_for_100_continue:",
            "elif event is h11.PAUSED: await self.can_read.clear() await self.can_read.wait()",
            "if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:",
        ),
    ),
    Reliance(
        H11Protocol,
        "_create_stream",
        FILE,
        "`Http1._begin` is in its place; check that it gives the stream the same Request and counts the same",
        ("self", "request"),
        ("raw_path=request.target,", "state=self.connection_state,", "self.keep_alive_requests += 1"),
    ),
    Reliance(
        H11Protocol,
        "stream_send",
        FILE,
        "`Http1.respond` is in its place; check that it adds the same headers and ends in the same way",
        ("self", "event"),
        (
            'headers = list(chain(event.headers, self.config.response_headers("h11")))',
            "if self.keep_alive_requests >= self.config.keep_alive_max_requests: "
            'headers.append((b"connection", b"close"))',
            "elif isinstance(event, StreamClosed): await self._maybe_recycle()",
        ),
    ),
    Reliance(
        HTTPStream,
        "app_send",
        FILE,
        "`_Stream.app_send` is in its place; check that it handles the end of the app alone in the same way",
        ("self", "message"),
        (
            "if message is None: # ASGI App has finished sending messages if not self.closed: # Cleanup if required "
            "if self.state == ASGIHTTPState.REQUEST: await self._send_error_response(500) "
            "await self.send(StreamClosed(stream_id=self.stream_id))",
        ),
    ),
    Reliance(
        H11Protocol,
        "_maybe_recycle",
        CONNECTIONS,
        "`_Connection` ends the keep-alive time by the Updated and the Closed that it sends",
        ("self",),
        ("await self.send(Updated(idle=True))", "await self.send(Closed())", "await self.can_read.set()"),
    ),
    Reliance(
        HTTPStream,
        "__init__",
        FILE,
        "`Http1._begin` makes one for each request",
        ("self", "app", "config", "context", "task_group", "ssl", "client", "server", "send", "stream_id"),
        ("self.closed = False",),
    ),
    Reliance(
        HTTPStream,
        "handle",
        FILE,
        "`_Stream.handle` does for StreamClosed what this does, without waiting; check that it does nothing else",
        ("self", "event"),
        (
            'await self.app_put( {"type": "http.request", "body": bytes(event.data), "more_body": True} )',
            "elif isinstance(event, EndBody): "
            'await self.app_put({"type": "http.request", "body": b"", "more_body": False})',
            "elif isinstance(event, StreamClosed): self.closed = True if self.state != ASGIHTTPState.CLOSED: "
            "await self.config.log.access(self.scope, None, time() - self.start_time) "
            'if self.app_put is not None: await self.app_put({"type": "http.disconnect"})',
        ),
    ),
    Reliance(
        TaskGroup, "spawn_app", FILE, "it starts the app of a request", ("self", "app", "config", "scope", "send")
    ),
    Reliance(
        task_group,
        "_handle",
        FILE,
        "it runs `_Stream._serve`; check the arguments, and that it still ends the response of an app that has ended",
        ("app", "config", "scope", "receive", "send", "sync_spawn", "call_soon"),
        ("await app(scope, receive, send, sync_spawn, call_soon)", "finally: await send(None)"),
    ),
)


def protocol() -> Any:
    """Make the library's own protocol, as `_Connection.run` makes ours."""
    arguments: Any = (None, Config(), WorkerContext(None), None, {}, False, None, None, None)
    return H11Protocol(*arguments)


def stream() -> Any:
    arguments: Any = (None, Config(), WorkerContext(None), None, False, None, None, None, 1)
    return HTTPStream(*arguments)


def test_hypercorn_has_the_interfaces_that_we_rely_on() -> None:
    assert changes("hypercorn", READ_IN, RELIANCES) == []


def test_a_protocol_has_the_attributes_that_ours_uses() -> None:
    used = {
        *("app", "can_read", "client", "config", "connection", "connection_state", "context", "keep_alive_requests"),
        *("send", "server", "ssl", "stream", "task_group"),
    }
    assert used - vars(protocol()).keys() == set(), f"{FILE}: Http1 uses these"


async def test_the_app_gets_its_events_through_a_trio_channel() -> None:
    async def app(*_: Any) -> None:
        pass

    async def send(_: Any) -> None:
        pass

    async with TaskGroup() as tasks:
        put = await tasks.spawn_app(app, Config(), Any, send)  # type: ignore[arg-type]  # reason: no scope is needed
    assert isinstance(put, MethodType) and isinstance(put.__self__, trio.MemorySendChannel), (
        f"{FILE}: _Stream.handle takes the channel from app_put.__self__ to send without waiting"
    )


def test_our_subclasses_use_no_name_of_the_library() -> None:
    assert taken_names(http1.Http1, protocol(), ["handle"]) == []
    assert taken_names(http1._Stream, stream(), ["handle", "app_send"]) == []
    taken = [name for name in ("_app", "_protocol", "_serving", "_forwarding") if hasattr(stream(), name)]
    assert taken == [], f"{FILE}: rename these of _Stream"
