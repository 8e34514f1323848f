"""Passes a request on to the server that owns its room, and runs the requests that other servers pass on.

The whole request travels, so the other server checks it as if it had come there; only the limits have counted it.
"""

from typing import Any
from uuid import UUID

import msgspec
from werkzeug.datastructures import Headers

from server.cluster.requests import NoAnswer, Requests
from server.rest.http.client_address import CLIENT, ClientAddress
from server.rest.http.quart_app import App, AppRequest, BufferedResponse

RELAYED = "halfminute.relayed"  # key of the ASGI scope: the request comes from another server
# Of the request: what handlers read. Without Accept-Encoding, the answer comes as it is.
SENT_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key")
# Of the answer: what handlers set. The other headers are those of every answer.
KEPT_HEADERS = ("Content-Type", "Retry-After", "Www-Authenticate")


class RelayedRequest(msgspec.Struct, frozen=True, array_like=True):
    """A request on its way to another server."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[str, str]]
    body: bytes
    request_id: str


class RelayedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """The answer on its way back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(RelayedRequest).decode
_decode_answer = msgspec.msgpack.Decoder(RelayedAnswer).decode


def is_relayed(request: AppRequest) -> bool:
    """Whether the request comes from another server, and must not be passed on again."""
    return RELAYED in request.scope


async def relay(
    requests: Requests, server_id: UUID, request: AppRequest, body: bytes, request_id: str, seconds: float
) -> BufferedResponse | None:
    """Return what another server answers to the request; None if it did not answer within `seconds`."""
    headers = [(name, request.headers[name]) for name in SENT_HEADERS if name in request.headers]
    passed_on = RelayedRequest(request.method, request.path, request.query_string, headers, body, request_id)
    try:
        answer = _decode_answer(await requests.ask(server_id, _encode(passed_on), seconds))
    except NoAnswer:
        return None
    response = BufferedResponse(answer.body, answer.status, "")
    response.headers = Headers(answer.headers)
    return response


async def answer_relayed(app: App, message: bytes) -> bytes:
    """Run a request of another server through the app, and return its answer."""
    asked = _decode_request(message)
    headers = [*asked.headers, ("Traceparent", f"00-{asked.request_id}-{asked.request_id[:16]}-01")]
    if asked.method not in ("GET", "HEAD"):
        headers.append(("Content-Length", str(len(asked.body))))
    exchange = _Exchange(asked.body)
    await app(
        {  # type: ignore[arg-type]  # reason: the app reads these keys alone
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": asked.method,
            "scheme": "http",
            "path": asked.path,
            "raw_path": asked.path.encode(),
            "query_string": asked.query,
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "client": None,
            "server": None,
            "state": {},
            "extensions": {},
            CLIENT: ClientAddress("", exempt=True),
            RELAYED: True,
        },
        exchange.receive,
        exchange.send,
    )
    return _encode(RelayedAnswer(exchange.status, exchange.headers, bytes(exchange.body)))


class _Exchange:
    """One request and its response as an ASGI server would carry them."""

    def __init__(self, body: bytes) -> None:
        self._unread: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()

    async def receive(self) -> Any:
        return self._unread.pop() if self._unread else {"type": "http.disconnect"}

    async def send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            named = [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in event["headers"]]
            self.headers = [(name, value) for name, value in named if name in KEPT_HEADERS]
        else:
            self.body += event.get("body", b"")
