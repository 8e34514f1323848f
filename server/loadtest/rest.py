"""A REST client for the server under load: keep-alive connections in a few threads.

REST only sets the rooms up; the load itself is on the websockets, so the standard library's blocking client suffices.
"""

import http.client
import json
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import trio

from server.loadtest.measures.plan import LoadRefused

AT_ONCE = 8  # requests: enough to keep the server busy
ANSWER_SECONDS = 20  # twice as long as the server waits for a room or the database
IDLE_SECONDS = 2.0  # shorter than the keep-alive time of servers

Body = dict[str, Any]


class RequestRefused(Exception):
    """The server answered a request with an error; `code` is its error code."""

    def __init__(self, request: str, status: int, code: str) -> None:
        super().__init__(f"{request} was answered {status} {code}")
        self.code = code


class RestClient:
    """A client of the REST API of one server, with at most AT_ONCE connections. Closed by the caller with `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        address = urlsplit(url)
        self._host = address.netloc
        self._connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    async def ask(
        self, method: str, path: str, token: str | None = None, body: Body | None = None, key: str | None = None
    ) -> Body:
        """Send a request and return the JSON of the answer.

        `path` is without `/api`; `token` is sent as a bearer token, `key` as the Idempotency-Key.
        Waits for one of AT_ONCE threads. Cancellation waits for the answer. Raises RequestRefused for an error, and
        LoadRefused if no halfminute server answers within ANSWER_SECONDS.
        """
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if key is not None:
            headers["Idempotency-Key"] = key
        request = partial(self._ask_in_thread, method, path, headers, body)
        return await trio.to_thread.run_sync(request, limiter=self._limiter)

    def close(self) -> None:
        """Close the idle connections."""
        for connection, _ in self._idle:
            connection.close()

    def _ask_in_thread(self, method: str, path: str, headers: dict[str, str], body: Body | None) -> Body:
        connection = self._take()
        try:
            connection.request(method, f"/api{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            found: Body = json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise LoadRefused(f"no halfminute server answers at {self._url}: {error or type(error).__name__}") from None
        self._idle.append((connection, time.monotonic()))
        if answer.status >= 400:
            raise RequestRefused(f"{method} {path}", answer.status, found.get("error", ""))
        return found

    def _take(self) -> http.client.HTTPConnection:
        """An idle connection that the server has not closed yet, or a new one."""
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return self._connect(self._host, timeout=ANSWER_SECONDS)
