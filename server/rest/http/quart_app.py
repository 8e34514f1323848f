"""Quart without what this server does not use, and each request would pay for.

Quart's own way through a request starts two tasks, of which one reads the body and waits for the end of the connection;
it looks for blueprints, signals, sessions and functions that are not coroutines; and it sends a response in three
parts. This app has none of these. A request without a body runs in the one task that hypercorn starts for it, and
`Http1` cancels that task when the connection ends.
"""

from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any, cast

from quart.sessions import NullSession, SessionInterface
from quart.utils import encode_headers
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioResponse

from server.rest.http.bodies import BodyBounds


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
        self.asgi_http_class = AppRequest
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


class AppRequest(TrioASGIHTTPConnection):
    """One request of the app."""

    app: App

    async def __call__(self, receive: Any, send: Any) -> None:
        """Run the app for this request and send its response. Cancelled if the connection ends before."""
        if has_body(self.scope):
            with closing(self.app.bounds.cut_off(receive, self.scope["path"])) as reader:
                await super().__call__(reader.receive, send)
            return
        request = self._create_request_from_scope(send)
        request.body.set_complete()
        await self._send_response(send, await self.app.handle_request(request))

    async def _send_response(self, send: Any, response: Any) -> None:
        answer = cast(BufferedResponse, response)
        headers = encode_headers(answer.headers)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def has_body(scope: Any) -> bool:
    """Return whether a request may have a body, by its headers (RFC 9112 §6.3)."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
