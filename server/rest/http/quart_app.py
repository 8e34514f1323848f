"""Quart without the parts that this server does not use, since each of them takes time in each request.

Quart's own way through a request starts two tasks, of which one reads the body and waits for the end of the connection;
it looks for blueprints, signals, sessions and functions that are not coroutines; and it sends a response in three
parts. This app has none of these. A request runs in the one task that hypercorn starts for it, in which its view reads
the body, and which `Http1` cancels when the connection ends.
"""

from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, cast

from quart.sessions import NullSession, SessionInterface
from quart.utils import encode_headers
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest, TrioResponse

from server.rest.http.bodies import BodyBounds, BodyReader


class BufferedResponse(TrioResponse):
    """A response whose body is in memory. It is the only kind that may leave the server.

    Quart's own `Response` iterates over any other body, also over that of a response without one, in asyncio's
    executor. Nothing in trio can wait for that: the answer is cut off, and asyncio is left with an error that nobody
    retrieves. A test keeps Quart's class out of `server`.
    """

    def __init__(self, body: bytes, status: int, content_type: str) -> None:
        super().__init__(body, status, content_type=content_type)
        self.body = body


Begin = Callable[[], Awaitable[BufferedResponse | None]]
Finish = Callable[[BufferedResponse], Awaitable[BufferedResponse]]


class NoSessions(SessionInterface):
    """No request has a session: there are no cookies, only tokens."""

    _none = NullSession()

    async def open_session(self, *_: Any) -> NullSession:
        return self._none


class App(QuartTrio):
    """A Quart app whose functions are all coroutine functions, and whose responses are all BufferedResponse.

    `begin` runs before the view, and may answer instead of it; `finish` runs after it, also for an error's response.
    """

    def __init__(self, name: str, bounds: BodyBounds, begin: Begin, finish: Finish) -> None:
        super().__init__(name, static_folder=None, template_folder=None)
        self.session_interface = NoSessions()  # type: ignore[assignment]  # reason: it is typed as its default
        self.asgi_http_class = AppConnection
        self.request_class = AppRequest
        self.after_request(finish)  # Quart's own way, for the response to an exception in `finish`
        self.bounds = bounds
        self._begin, self._finish = begin, finish

    def ensure_async(self, func: Any) -> Any:
        """Return the function itself."""
        return func

    async def full_dispatch_request(self, request_context: Any = None) -> BufferedResponse:
        """Run the view of a request between `begin` and `finish`; an exception becomes the response of its handler."""
        response: Any
        try:
            response = await self._begin()
            if response is None:
                response = await self.dispatch_request(request_context)
        except (Exception, BaseExceptionGroup) as error:
            response = await self.handle_user_exception(error)
        return await self._finish(response)


class AppRequest(TrioRequest):
    """A request whose body the view reads by `read_body`, and not by Quart's own attributes."""

    reader: BodyReader | None = None

    async def read_body(self) -> bytes:
        """Return the body, empty if there is none. Raises HTTPException as `BodyReader.read` does."""
        return b"" if self.reader is None else await self.reader.read()


class AppConnection(TrioASGIHTTPConnection):
    """Runs one request of the app, as the ASGI server calls it."""

    app: App

    async def __call__(self, receive: Any, send: Any) -> None:
        """Run the app for this request and send its response. Cancelled if the connection ends before."""
        request = cast(AppRequest, self._create_request_from_scope(send))
        length = announced_length(self.scope)
        if length is None:
            await self._send_response(send, await self.app.handle_request(request))
            return
        with closing(BodyReader(self.app.bounds, receive, self.scope["path"], length)) as request.reader:
            response = await self.app.handle_request(request)
            if not await request.reader.finish():
                response.headers["Connection"] = "close"
            await self._send_response(send, response)

    async def _send_response(self, send: Any, response: Any) -> None:
        answer = cast(BufferedResponse, response)
        headers = encode_headers(answer.headers)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def announced_length(scope: Any) -> int | None:
    """Return the Content-Length of a request, 0 for a body of unknown length, None without a body (RFC 9112 §6.3)."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return 0
    return None
