"""Runs a request through its route: limits, authentication, validation, the handler, and one shape of every error."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
import trio
from quart import g
from quart import request as incoming
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.exceptions import MethodNotAllowed

from domain.refusals import DRAINING, Code, Refusal
from server.access.rate_limits import Name, Taken, why_not
from server.access.tokens import TokenRefused
from server.context import Context
from server.rest.background_tasks import BackgroundTasks
from server.rest.cors import cross_origin, preflight
from server.rest.http.client_address import CLIENT, ClientAddress
from server.rest.query import decode_query
from server.rest.request import Request, read_key, request_id
from server.rest.responses import BufferedResponse, answered, challenge, refusal_of, refused
from server.rest.route import Needs, Route
from server.rest.strict_json import decode_body, require_json
from server.sessions import bans
from storage.idempotency import is_used

PROOF_FAILED = (Code.FORBIDDEN, Code.UNAUTHORIZED)  # how a route with proofs refuses a wrong proof
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}

log = structlog.get_logger(__name__)


class Dispatch:
    """The callbacks and views of the Quart app of one server."""

    def __init__(self, context: Context, background_tasks: BackgroundTasks, routes: Iterable[Route]) -> None:
        self._context = context
        self._background_tasks = background_tasks
        self._limits = {route.endpoint: route.limit for route in routes}

    async def begin(self) -> BufferedResponse | None:
        """Start a request: give it an id, count it under its address's limit, and answer a CORS preflight.

        Runs for unknown paths as well. Returns an answer if the request ends here, else None.
        """
        g.begun = trio.current_time()
        g.request_id = request_id(incoming.headers.get("Traceparent"))
        clear_contextvars()
        bind_contextvars(request_id=g.request_id)  # in every log line of this request and of the tasks that it starts
        g.headers = {}
        g.taken = []
        client: ClientAddress = incoming.scope[CLIENT]  # type: ignore[literal-required]  # reason: the server adds this key
        g.address, g.exempt = client.limited_as, client.exempt
        limit = self._limits.get(incoming.endpoint or "", "address")
        limited = None if limit == "proof" else await self._count(limit, g.address)
        if limited is not None:
            return refused(limited, g.request_id)
        return preflight(incoming, self._context.settings.http.allowed_origins)

    def view_of(self, route: Route) -> Callable[..., Awaitable[BufferedResponse]]:
        """Return the Quart view of a route."""

        async def view(**path: Any) -> BufferedResponse:
            if route.retired is not None:
                g.headers.update(route.retired.headers)
            # Read the body even if the route takes none: answering before its end would break the connection.
            raw = b"" if incoming.method in ("GET", "HEAD") else await _body()
            request = Request(
                self._context,
                self._background_tasks,
                path=incoming.path,
                query=_query(),
                headers=incoming.headers,
                raw=raw,
                peer=incoming.remote_addr or "",
            )
            request.answer_headers = g.headers
            result = await self._carry_out(route, request, path)
            return refused(result, g.request_id) if isinstance(result, Refusal) else answered(result, route.status)

        return view

    async def finish(self, response: BufferedResponse) -> BufferedResponse:
        """Add the headers that every answer has, and log it."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.update(g.headers)
        response.headers.update(_limits(g.taken))
        response.headers.update(cross_origin(incoming, self._context.settings.http.allowed_origins))
        response.headers["X-Request-Id"] = g.request_id
        took = round((trio.current_time() - g.begun) * 1000, 1)
        log.info("http.answered", method=incoming.method, rule=_rule(), status=response.status_code, ms=took)
        return response

    async def fail(self, error: Exception) -> BufferedResponse:
        """Convert an exception to an error answer.

        An unexpected exception is logged with its traceback and answered INTERNAL without details.
        """
        if isinstance(error, TokenRefused):
            g.headers["WWW-Authenticate"] = challenge(error)
        if isinstance(error, MethodNotAllowed):
            g.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        refusal = refusal_of(error)
        if refusal is None:
            self._context.faults.note("request", error, "http.fault", {"method": incoming.method, "rule": _rule()})
            refusal = Refusal(
                Code.INTERNAL, "Something went wrong on our side; the request id helps us to find out what"
            )
        return refused(refusal, g.request_id)

    async def _carry_out(self, route: Route, request: Request, arguments: dict[str, Any]) -> Any:
        """Check a request, then run its handler and return its result."""
        refusal = await self._why_not(route, request, arguments)
        result = await route.handler(request, **arguments) if refusal is None else refusal
        if route.limit == "proof" and isinstance(result, Refusal) and result.code in PROOF_FAILED:
            return await self._count("proof", g.address) or result
        return result

    async def _why_not(self, route: Route, request: Request, arguments: dict[str, Any]) -> Refusal | None:
        """Check a request in the documented order of refusals, and add its query and body to `arguments`."""
        if route.verify is not None and (unproved := route.verify(request)) is not None:
            return unproved
        if route.needs is not Needs.ANYONE:
            await request.identify(overlays=route.needs is Needs.ONLOOKER)
            bind_contextvars(user=str(request.user_id))
            # The stricter limit slows down a person; an operator may credit many users in a row.
            moves_own = route.takes_key and not request.is_operator
            limited = await self._count("money" if moves_own else "user", str(request.user_id))
            if limited is not None:
                return limited
            if self._context.bans.forbids(request.user_id, route.method, route.path):
                return bans.REFUSAL
        if route.needs is Needs.OPERATOR and not request.is_operator:
            return Refusal(Code.FORBIDDEN, "Only operators may do this")
        if route.takes_key:
            request.key = read_key(request.headers.get("Idempotency-Key"))
        if route.query is not None:
            arguments["query"] = decode_query(request.query, route.query)
        if route.body is not None:
            require_json(request.headers.get("Content-Type"))
            arguments["body"] = decode_body(request.raw, route.body)
        return DRAINING if self._context.draining and not await self._serves_while_draining(route, request) else None

    async def _serves_while_draining(self, route: Route, request: Request) -> bool:
        match route.serves_while_draining:
            case "all":
                return True
            case "repeats":
                return await is_used(self._context.postgres, request.user_key)
            case "none":
                return False

    async def _count(self, name: Name, key: str) -> Refusal | None:
        """Count this request under a limit. Raises RateLimitsUnavailable: uncounted requests are refused."""
        if g.exempt:
            return None
        taken = await self._context.rate_limits.take(name, key)
        g.taken.append(taken)
        return why_not(taken)


def _limits(taken: list[Taken]) -> dict[str, str]:
    """Build RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers-11."""
    if not taken:
        return {}
    return {
        "RateLimit-Policy": ", ".join(each.limit.policy for each in taken),
        "RateLimit": ", ".join(each.state for each in taken),
    }


async def _body() -> bytes:
    """Read the body. Raises HTTPException if it is too large or does not arrive in time."""
    return await incoming.get_data(cache=False, as_text=False, parse_form_data=False)


def _query() -> dict[str, list[str]]:
    return dict(incoming.args.lists()) if incoming.query_string else {}


def _rule() -> str:
    """Return the path as declared, without its parameters: ids do not belong in the log."""
    return incoming.url_rule.rule if incoming.url_rule is not None else ""
