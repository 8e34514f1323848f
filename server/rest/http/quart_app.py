"""Quart without the parts that this server does not use, since each of them takes time in each request.

Quart's own way through a request starts two tasks, of which one reads the body and waits for the end of the connection;
it makes the request and the app current in context variables; it looks for blueprints, signals, sessions and functions
that are not coroutines; and it sends a response in three parts. This app has none of these: its functions receive the
request. It runs in the one task that hypercorn starts for it, in which its view reads the body, and which `Http1`
cancels when the connection ends.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing
from typing import Any, Protocol, cast

from quart.utils import encode_headers
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest, TrioResponse
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from server.rest.http.bodies import BodyBounds, BodyReader


class BufferedResponse(TrioResponse):
    """A response whose body is in memory. Only this kind and StreamedResponse may leave the server.

    Quart's own `Response` iterates over any other body, also over that of a response without one, in asyncio's
    executor. Nothing in trio can wait for that: the answer is cut off, and asyncio is left with an error that nobody
    retrieves. A test keeps Quart's class out of `server`.
    """

    def __init__(self, body: bytes, status: int, content_type: str) -> None:
        super().__init__(body, status, content_type=content_type)
        self.body = body


class StaticResponse(BufferedResponse):
    """A response whose body is known compressed as well."""

    def __init__(self, body: bytes, gzipped: bytes, status: int, content_type: str) -> None:
        super().__init__(body, status, content_type)
        self.gzipped = gzipped


class Packer(Protocol):
    """Compresses a body part by part, as an object of zlib does; some parts become empty."""

    def compress(self, part: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class StreamedResponse(BufferedResponse):
    """A response whose body is `body` and then all `parts`, each of which is made when the one before it is sent.

    An exception of `parts` breaks the connection, so that the client does not take a part of the body for all of it.
    """

    def __init__(self, body: bytes, parts: AsyncGenerator[bytes, None], status: int, content_type: str) -> None:
        super().__init__(body, status, content_type)
        self.parts = parts
        self.packer: Packer | None = None  # compresses the body
        del self.headers["Content-Length"]


class AppRequest(TrioRequest):
    """A request whose body the view reads by `read_body`, and not by Quart's own attributes."""

    reader: BodyReader | None = None
    state: Any = None  # of the app's functions

    async def read_body(self) -> bytes:
        """Return the body, empty if there is none. Raises HTTPException as `BodyReader.read` does."""
        return b"" if self.reader is None else await self.reader.read()


class Steps(Protocol):
    """The steps of each request around its view; all coroutine functions.

    `begin` may answer instead of the view. `fail` answers an exception, also one of Quart for an unknown path. `finish`
    completes each response.
    """

    async def begin(self, request: AppRequest) -> BufferedResponse | None: ...

    async def fail(self, request: AppRequest, error: Exception) -> BufferedResponse: ...

    async def finish(self, request: AppRequest, response: BufferedResponse) -> BufferedResponse: ...


class App(QuartTrio):
    """A Quart app whose views take the request first, and return a BufferedResponse or a StreamedResponse.

    `paths` maps paths to the names of views, and may belong to several apps: none of them changes it.
    """

    def __init__(self, name: str, paths: Map, bounds: BodyBounds, steps: Steps) -> None:
        super().__init__(name, static_folder=None, template_folder=None)
        self.asgi_http_class = AppConnection
        self.request_class = AppRequest
        self.bounds = bounds
        self._steps = steps
        self.url_map = paths
        self._paths = paths.bind("")  # no rule has a host

    async def handle_request(self, request: Any) -> BufferedResponse:
        """Answer a request by `begin`, its view and `finish`; an exception becomes the response of `fail`."""
        try:
            return await self._steps.finish(request, await self._answer(request))
        except (Exception, BaseExceptionGroup) as error:
            response = await self._steps.fail(request, first_exception(error))
        return await self._steps.finish(request, response)

    async def _answer(self, request: AppRequest) -> BufferedResponse:
        try:
            found = self._paths.match(request.path, request.method, return_rule=True)
            request.url_rule, request.view_args = found  # type: ignore[assignment]  # reason: Quart has a class of its own
        except HTTPException as error:
            request.routing_exception = error
        answered = await self._steps.begin(request)
        if answered is not None:
            return answered
        if request.routing_exception is not None:
            raise request.routing_exception
        view: Any = self.view_functions[request.endpoint or ""]
        response: BufferedResponse = await view(request, **(request.view_args or {}))
        return response


def first_exception(error: BaseException) -> Exception:
    """Return the first exception in a group of any depth, or the exception itself. Raises a group that has none."""
    for each in _single(error):
        if isinstance(each, Exception):
            return each
    raise error


def _single(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions of a group of any depth that are no groups."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _single(each)
    else:
        yield error


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
        if isinstance(answer, StreamedResponse):
            async with aclosing(answer.parts):
                if self.scope["method"] != "HEAD":
                    await self._send_parts(send, answer)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})

    async def _send_parts(self, send: Any, answer: StreamedResponse) -> None:
        packer = answer.packer
        await send(_part(answer.body if packer is None else packer.compress(answer.body)))
        async for part in answer.parts:
            await send(_part(part if packer is None else packer.compress(part)))
        if packer is not None:
            await send(_part(packer.flush()))


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}


def announced_length(scope: Any) -> int | None:
    """Return the Content-Length of a request, 0 for a body of unknown length, None without a body (RFC 9112 §6.3)."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return 0
    return None
