"""Runs a request through its route: limits, authentication, validation, the handler, and one shape of every error."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
import trio
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.datastructures import Headers
from werkzeug.exceptions import MethodNotAllowed

from domain.refusals import DRAINING, Code, Refusal
from server.access.rate_limits import Name, Taken, why_not
from server.access.tokens import TokenRefused
from server.context import Context
from server.observability.redaction import Unredacted
from server.rest.background_tasks import BackgroundTasks
from server.rest.cors import cross_origin, preflight
from server.rest.http.client_address import CLIENT, ClientAddress
from server.rest.http.compression import compress
from server.rest.http.quart_app import AppRequest, BufferedResponse
from server.rest.http.relay import is_relayed, relay
from server.rest.query import decode_query, find_unknown_parameter
from server.rest.request import Request, read_key, request_id
from server.rest.responses import answered, challenge, refusal_of, refused
from server.rest.route import Needs, Route
from server.rest.strict_json import decode_body, require_json
from server.rooms.leases.absent_rooms import RoomElsewhere
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


class RequestState:
    """The state of a request between the steps of the app; `headers` are for its answer."""

    __slots__ = ("address", "begun_at", "exempt", "headers", "request_id", "taken")

    def __init__(self, request_id: str, address: str, exempt: bool) -> None:
        self.begun_at = trio.current_time()
        self.request_id = request_id
        self.address = address  # that limits count
        self.exempt = exempt  # from all limits
        self.headers: dict[str, str] = {}
        self.taken: list[Taken] = []  # the limits that have counted it


class Dispatch:
    """The steps and views of the Quart app of one server."""

    def __init__(self, context: Context, background_tasks: BackgroundTasks, routes: Iterable[Route]) -> None:
        self._context = context
        self._background_tasks = background_tasks
        self._limits = {route.endpoint: route.limit for route in routes}

    async def begin(self, request: AppRequest) -> BufferedResponse | None:
        """Start a request: give it an id, count it under its address's limit, and answer a CORS preflight.

        Runs for unknown paths as well. Returns an answer if the request ends here, else None.
        """
        client: ClientAddress = request.scope[CLIENT]  # type: ignore[literal-required]  # reason: the server adds this key
        state = RequestState(request_id(request.headers.get("Traceparent")), client.limited_as, client.exempt)
        request.state = state
        clear_contextvars()
        # In every log line of this request and of the tasks that it starts.
        bind_contextvars(request_id=Unredacted(state.request_id))
        limit = self._limits.get(request.endpoint or "", "address")
        limited = None if limit == "proof" else await self._count(state, limit, state.address)
        if limited is not None:
            return refused(limited, state.request_id)
        return preflight(request, self._context.settings.http.allowed_origins)

    def view_of(self, route: Route) -> Callable[..., Awaitable[BufferedResponse]]:
        """Return the Quart view of a route."""

        async def view(asked: AppRequest, **path: Any) -> BufferedResponse:
            state: RequestState = asked.state
            if route.retired is not None:
                state.headers.update(route.retired.headers)
            # Read the body even if the route takes none: answering before its end would break the connection.
            raw = b"" if asked.method in ("GET", "HEAD") else await asked.read_body()
            request = Request(
                self._context,
                self._background_tasks,
                path=asked.path,
                query=dict(asked.args.lists()) if asked.query_string else {},
                headers=asked.headers,
                raw=raw,
                peer=asked.remote_addr or "",
                route=route.path,
            )
            request.answer_headers = state.headers
            result = await self._carry_out(state, route, request, path)
            if isinstance(result, RoomElsewhere) and (relayed := await self._relay(result, asked, raw)) is not None:
                return relayed
            return refused(result, state.request_id) if isinstance(result, Refusal) else answered(result, route.status)

        return view

    async def _relay(self, refusal: RoomElsewhere, asked: AppRequest, raw: bytes) -> BufferedResponse | None:
        """Return what the room's server answers; None if it cannot be asked, or this request comes from another one."""
        if is_relayed(asked):
            return None
        seconds = self._context.settings.http.answer_seconds
        return await relay(self._context.requests, refusal.server_id, asked, raw, asked.state.request_id, seconds)

    async def finish(self, request: AppRequest, response: BufferedResponse) -> BufferedResponse:
        """Compress the answer, add the headers that every answer has, and log it."""
        state: RequestState = request.state
        origins = self._context.settings.http.allowed_origins
        shared, packed = cross_origin(request, origins), compress(response, request.headers.get("Accept-Encoding", ""))
        # Built at once: to replace single headers, each time all are searched.
        headers = {
            **HEADERS,
            **dict(response.headers),
            **state.headers,
            **_limits(state.taken),
            **shared,
            **packed,
            "X-Request-Id": state.request_id,
        }
        if vary := [part["Vary"] for part in (shared, packed) if "Vary" in part]:
            headers["Vary"] = ", ".join(vary)
        response.headers = Headers(list(headers.items()))
        took = round((trio.current_time() - state.begun_at) * 1000, 1)
        log.info("http.answered", method=request.method, rule=_rule(request), status=response.status_code, ms=took)
        return response

    async def fail(self, request: AppRequest, error: Exception) -> BufferedResponse:
        """Convert an exception to an error answer.

        An unexpected exception is logged with its traceback and answered INTERNAL without details.
        """
        state: RequestState = request.state
        if isinstance(error, TokenRefused):
            state.headers["WWW-Authenticate"] = challenge(error)
        if isinstance(error, MethodNotAllowed):
            state.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        refusal = refusal_of(error)
        if refusal is None:
            self._context.faults.note(
                "request", error, "http.fault", {"method": request.method, "rule": _rule(request)}
            )
            refusal = Refusal(
                Code.INTERNAL, "Something went wrong on our side; the request id helps us to find out what"
            )
        return refused(refusal, state.request_id)

    async def _carry_out(self, state: RequestState, route: Route, request: Request, arguments: dict[str, Any]) -> Any:
        """Check a request, then run its handler and return its result."""
        refusal = await self._why_not(state, route, request, arguments)
        result = await route.handler(request, **arguments) if refusal is None else refusal
        if route.limit == "proof" and isinstance(result, Refusal) and result.code in PROOF_FAILED:
            return await self._count(state, "proof", state.address) or result
        return result

    async def _why_not(
        self, state: RequestState, route: Route, request: Request, arguments: dict[str, Any]
    ) -> Refusal | None:
        """Check a request in the documented order of refusals, and add its query and body to `arguments`."""
        if route.verify is not None and (unproved := route.verify(request)) is not None:
            return unproved
        if route.needs is not Needs.ANYONE:
            await request.identify(overlays=route.needs is Needs.ONLOOKER)
            bind_contextvars(user=Unredacted(request.user_id))
            # The stricter limit slows down a person; an operator may credit many users in a row.
            moves_own = route.takes_key and not request.is_operator
            limited = await self._count(state, "money" if moves_own else "user", str(request.user_id))
            if limited is not None:
                return limited
            if self._context.bans.forbids(request.user_id, route.method, route.path):
                return bans.REFUSAL
        if route.needs is Needs.OPERATOR and not request.is_operator:
            return Refusal(Code.FORBIDDEN, "Only operators may do this")
        if route.takes_key:
            request.key = read_key(request.headers.get("Idempotency-Key"))
        if route.names_parameters and (unknown := find_unknown_parameter(request.query, route.query)) is not None:
            return unknown
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

    async def _count(self, state: RequestState, name: Name, key: str) -> Refusal | None:
        """Count this request under a limit. Raises RateLimitsUnavailable: uncounted requests are refused."""
        if state.exempt:
            return None
        taken = await self._context.rate_limits.take(name, key)
        state.taken.append(taken)
        return why_not(taken)


def _limits(taken: list[Taken]) -> dict[str, str]:
    """Build RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers-11."""
    if not taken:
        return {}
    return {
        "RateLimit-Policy": ", ".join(each.limit.policy for each in taken),
        "RateLimit": ", ".join(each.state for each in taken),
    }


def _rule(request: AppRequest) -> str:
    """Return the path as declared, without its parameters: ids do not belong in the log."""
    return request.url_rule.rule if request.url_rule is not None else ""
