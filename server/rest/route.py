"""Declarations of routes: what each path takes, returns and may refuse, written as a decorator of its handler."""

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from inspect import signature
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

from domain.refusals import Code, Refusal
from server.rest.request import Request
from server.rest.responses import Streamed

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)
Verify = Callable[[Request], Refusal | None]

JSON = "application/json"

# The requests that a route serves while the server drains; any other is refused with DRAINING. A request repeats one
# if its idempotency key was used before: it begins nothing new, and is answered as always.
Serves = Literal["all", "repeats", "none"]

# The rate limit that counts a request before its handler runs: that of its address, or the separate one of probes.
# `proof` counts only requests with a wrong proof, so that others cannot lock out the holder of the secret.
LimitedBy = Literal["address", "probe", "proof"]


class Needs(Enum):
    """The identity that a route requires."""

    ANYONE = "anyone"
    USER = "user"
    ONLOOKER = "onlooker"  # a user, or an overlay token of the user
    OPERATOR = "operator"


class Retired(NamedTuple):
    """A deprecated route: deprecated `since` (unix seconds), served `until` (HTTP date), replaced by `successor`."""

    since: int
    until: str
    successor: str

    @property
    def headers(self) -> dict[str, str]:
        """Return `Deprecation`, `Sunset` and `Link` (RFC 9745, RFC 8594, RFC 8288)."""
        return {
            "Deprecation": f"@{self.since}",
            "Sunset": self.until,
            "Link": f'<{self.successor}>; rel="successor-version"',
        }


class Route(msgspec.Struct, frozen=True):
    """One method of one path. `body`, `query` and `answer` are the types in the handler's own signature."""

    method: str
    path: str  # in OpenAPI syntax: /api/calls/{callId}; every parameter is a UUID
    handler: Handler
    needs: Needs
    status: int
    refuses: tuple[Code, ...]
    takes_key: bool
    serves_while_draining: Serves
    retired: Retired | None
    proofs: tuple[
        tuple[str, ...], ...
    ]  # groups of headers that authenticate the caller instead of a token; one group suffices
    verify: Verify | None
    media: str  # of the answer
    limit: LimitedBy
    body: type[msgspec.Struct] | None
    query: type[msgspec.Struct] | None
    answer: Any

    @property
    def endpoint(self) -> str:
        """Return the endpoint name in the Quart app."""
        return f"{self.method} {self.path}"

    @property
    def names_parameters(self) -> bool:
        """Whether an unknown query parameter is refused.

        It is not on pages and probes, whose addresses people and scrapers extend, and not in the calls of other
        services, which would repeat a refused call for ever.
        """
        return self.path.startswith("/api/") and self.media == JSON and not self.proofs

    @property
    def parameters(self) -> list[str]:
        """Return the names of the path parameters."""
        return re.findall(r"\{(\w+)\}", self.path)


class Routes(list[Route]):
    """The routes of one noun: each method returns a decorator that declares its handler as a route.

    `needs` is the identity required, `refuses` are the errors of the handler itself, `takes_key` reads an
    `Idempotency-Key`. `serves_while_draining` names the requests that are served once the server drains; any other is
    refused with DRAINING after authentication and validation, before the handler. `verify` returns the refusal of a
    request whose proof does not hold, before every other check; a route with `proofs` and without `verify` checks the
    proof in its handler.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def get(
        self,
        path: str = "",
        *,
        needs: Needs = Needs.USER,
        refuses: tuple[Code, ...] = (),
        media: str = JSON,
        limit: LimitedBy = "address",
    ) -> Callable[[H], H]:
        """Declare a GET route."""
        return self._declare("GET", path, needs, refuses=refuses, media=media, limit=limit)

    def put(self, path: str = "", *, needs: Needs = Needs.USER, refuses: tuple[Code, ...] = ()) -> Callable[[H], H]:
        """Declare a PUT route."""
        return self._declare("PUT", path, needs, refuses=refuses)

    def delete(self, path: str = "", *, needs: Needs = Needs.USER, refuses: tuple[Code, ...] = ()) -> Callable[[H], H]:
        """Declare a DELETE route."""
        return self._declare("DELETE", path, needs, refuses=refuses)

    def post(
        self,
        path: str = "",
        *,
        needs: Needs = Needs.USER,
        status: int = 200,
        refuses: tuple[Code, ...] = (),
        takes_key: bool = False,
        serves_while_draining: Serves = "all",
        retired: Retired | None = None,
        proofs: tuple[tuple[str, ...], ...] = (),
        verify: Verify | None = None,
        media: str = JSON,
    ) -> Callable[[H], H]:
        """Declare a POST route."""
        limit: LimitedBy = "proof" if proofs else "address"
        return self._declare(
            "POST",
            path,
            needs,
            status,
            refuses,
            takes_key,
            serves_while_draining,
            retired,
            proofs,
            verify,
            media,
            limit,
        )

    def _declare(
        self,
        method: str,
        path: str,
        needs: Needs,
        status: int = 200,
        refuses: tuple[Code, ...] = (),
        takes_key: bool = False,
        serves_while_draining: Serves = "all",
        retired: Retired | None = None,
        proofs: tuple[tuple[str, ...], ...] = (),
        verify: Verify | None = None,
        media: str = JSON,
        limit: LimitedBy = "address",
    ) -> Callable[[H], H]:
        assert takes_key or serves_while_draining != "repeats", "only a key tells a repeat"

        def declare(handler: H) -> H:
            types = get_type_hints(handler)
            self.append(
                Route(
                    method=method,
                    path=self._prefix + path,
                    handler=handler,
                    needs=needs,
                    status=status,
                    refuses=refuses if serves_while_draining == "all" else (*refuses, Code.DRAINING),
                    takes_key=takes_key,
                    serves_while_draining=serves_while_draining,
                    retired=retired,
                    proofs=proofs,
                    verify=verify,
                    media=media,
                    limit=limit,
                    body=types.get("body"),
                    query=types.get("query"),
                    answer=_without_refusal(types["return"]),
                )
            )
            assert next(iter(signature(handler).parameters)) == "request", "a handler takes the request first"
            return handler

        return declare


def _without_refusal(answer: Any) -> Any:
    """Return X of the annotations `X | Refusal` and `X | Streamed | Refusal`."""
    others = [kind for kind in get_args(answer) if kind not in (Refusal, Streamed)]
    return others[0] if len(others) < len(get_args(answer)) else answer
