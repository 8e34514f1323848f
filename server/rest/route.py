"""The table of routes: what each path takes, answers and may refuse, declared where its handler stands."""

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from inspect import signature
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

from domain.refusals import Code, Refusal

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)

JSON = "application/json"

# Which limit counts a request before its handler is asked: of its address, or the one that probes have for themselves.
# `proof` counts only requests whose proof does not hold: whoever has the secret is never locked out by others.
LimitedBy = Literal["address", "probe", "proof"]


class Needs(Enum):
    """Who may ask."""

    ANYONE = "anyone"
    USER = "user"
    ONLOOKER = "onlooker"  # a user, or an overlay of theirs
    OPERATOR = "operator"


class Retired(NamedTuple):
    """An older name: since when it should not be used (unix seconds), until when it works, and what comes after it."""

    since: int
    until: str
    successor: str

    @property
    def headers(self) -> dict[str, str]:
        """RFC 9745, RFC 8594 and RFC 8288."""
        return {
            "Deprecation": f"@{self.since}",
            "Sunset": self.until,
            "Link": f'<{self.successor}>; rel="successor-version"',
        }


class Route(msgspec.Struct, frozen=True):
    """One method of one path. `body`, `query` and `answer` are the types in the handler's own signature."""

    method: str
    path: str  # as OpenAPI writes it: /api/calls/{callId}; every parameter is a UUID
    handler: Handler
    needs: Needs
    status: int
    refuses: tuple[Code, ...]
    takes_key: bool
    closed_while_draining: bool  # refused with DRAINING before its handler runs
    retired: Retired | None
    proofs: tuple[tuple[str, ...], ...]  # headers that prove who asks, where no token does; one of the groups suffices
    media: str  # of the answer
    limit: LimitedBy
    body: type[msgspec.Struct] | None
    query: type[msgspec.Struct] | None
    answer: Any

    @property
    def endpoint(self) -> str:
        """Its name in the app."""
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """Their names."""
        return re.findall(r"\{(\w+)\}", self.path)


class Routes(list[Route]):
    """The routes of one noun."""

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
        return self._declare("GET", path, needs, refuses=refuses, media=media, limit=limit)

    def put(self, path: str = "", *, needs: Needs = Needs.USER, refuses: tuple[Code, ...] = ()) -> Callable[[H], H]:
        return self._declare("PUT", path, needs, refuses=refuses)

    def delete(self, path: str = "", *, needs: Needs = Needs.USER, refuses: tuple[Code, ...] = ()) -> Callable[[H], H]:
        return self._declare("DELETE", path, needs, refuses=refuses)

    def post(
        self,
        path: str = "",
        *,
        needs: Needs = Needs.USER,
        status: int = 200,
        refuses: tuple[Code, ...] = (),
        takes_key: bool = False,
        closed_while_draining: bool = False,
        retired: Retired | None = None,
        proofs: tuple[tuple[str, ...], ...] = (),
        media: str = JSON,
    ) -> Callable[[H], H]:
        limit: LimitedBy = "proof" if proofs else "address"
        return self._declare(
            "POST", path, needs, status, refuses, takes_key, closed_while_draining, retired, proofs, media, limit
        )

    def _declare(
        self,
        method: str,
        path: str,
        needs: Needs,
        status: int = 200,
        refuses: tuple[Code, ...] = (),
        takes_key: bool = False,
        closed_while_draining: bool = False,
        retired: Retired | None = None,
        proofs: tuple[tuple[str, ...], ...] = (),
        media: str = JSON,
        limit: LimitedBy = "address",
    ) -> Callable[[H], H]:
        def declare(handler: H) -> H:
            types = get_type_hints(handler)
            self.append(
                Route(
                    method=method,
                    path=self._prefix + path,
                    handler=handler,
                    needs=needs,
                    status=status,
                    refuses=(*refuses, Code.DRAINING) if closed_while_draining else refuses,
                    takes_key=takes_key,
                    closed_while_draining=closed_while_draining,
                    retired=retired,
                    proofs=proofs,
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
    """Of `X | Refusal` the X."""
    others = [kind for kind in get_args(answer) if kind is not Refusal]
    return others[0] if len(others) < len(get_args(answer)) else answer
