"""One REST request: the caller's identity, query, headers, body and idempotency key."""

import re
from collections.abc import Mapping, Sequence
from random import getrandbits
from typing import TypeVar
from uuid import UUID

from werkzeug.datastructures import Headers

from domain.ids import PostingKey, RoomId, UserId, client_key
from server.access.tokens import bearer
from server.addresses import Origin, forwarded_origin
from server.context import Context
from server.ids import new_uuid
from server.rest.background_tasks import BackgroundTasks
from server.rest.query import Listed, Paging, next_link
from server.rest.strict_json import FieldError, InvalidRequest
from storage.paging import Paged
from storage.people.personal_reads import note_reads

T = TypeVar("T")

KEY_CHARACTERS = 255
NOBODY = UserId(UUID(int=0))  # the caller of a route without authentication; no token with this subject is accepted


class Request:
    """The view of a request that handlers get, and the headers that they add to its answer."""

    __slots__ = (
        "answer_headers",
        "background_tasks",
        "context",
        "headers",
        "is_operator",
        "key",
        "path",
        "peer",
        "query",
        "raw",
        "route",
        "user_id",
    )

    def __init__(
        self,
        context: Context,
        background_tasks: BackgroundTasks,
        *,
        path: str,
        query: Mapping[str, Sequence[str]],
        headers: Headers,
        raw: bytes,
        peer: str,
        route: str,
    ) -> None:
        self.context = context
        self.background_tasks = background_tasks
        self.path = path
        self.query = query
        self.headers = headers
        self.raw = raw
        self.peer = peer
        self.route = route  # the path as it is declared
        self.user_id = NOBODY
        self.is_operator = False
        self.key: str | None = None
        self.answer_headers: dict[str, str] = {}

    @property
    def origin(self) -> Origin:
        """Return the scheme and host that the client used, if a trusted proxy forwards them."""
        return forwarded_origin(self.peer, self.headers.getlist, self.context.settings.server.proxies)

    async def identify(self, *, overlays: bool = False) -> None:
        """Authenticate the caller, and create its user if the token is the first one.

        With `overlays`, an overlay token is accepted too and stands for its creator.
        Raises TokenRefused, StorageUnavailable.
        """
        token = bearer(self.headers.get("Authorization"))
        authenticator = self.context.authenticator
        identity = await authenticator.identity_of(token) if overlays else authenticator.verify(token)
        self.user_id, self.is_operator = identity.overlay_of or identity.user_id, identity.is_operator
        await self.context.user_cache.ensure_user(self.user_id, identity.name, identity.email)

    def listed(self, paged: Paged[T], asked: Paging) -> Listed[T]:
        """Build the answer of a list route, and add a `Link` to the next page if there is one."""
        if paged.next_before is not None:
            self.answer_headers["Link"] = next_link(self.path, self.query, "before", paged.next_before)
        return Listed(paged.items, asked.limit, asked.offset, paged.total, paged.total_capped)

    async def note_read(self, *users: UserId | None, room_id: RoomId | None = None) -> None:
        """Record that the caller, an operator, reads the data of these users; None stands for a list over all users.

        A handler calls it before it reads. Raises StorageUnavailable, which refuses the request.
        """
        await note_reads(self.context.postgres, self.user_id, self.route, users or (None,), room_id)

    @property
    def user_key(self) -> PostingKey | None:
        """The idempotency key as one of the caller's own keys, or None without one."""
        return None if self.key is None else client_key(self.user_id, self.key)

    def posting_key(self) -> PostingKey:
        """Return the key of this request's posting: from the idempotency key, or a new one without it."""
        return self.user_key or client_key(self.user_id, str(new_uuid()))


def read_key(header: str | None) -> str | None:
    """Parse an `Idempotency-Key`, bare or as a quoted string (RFC 8941), which name the same key.

    Raises InvalidRequest.
    """
    if header is None:
        return None
    key = header.strip(" ")
    if key.startswith('"'):
        if not _QUOTED.fullmatch(key):
            raise InvalidRequest(FieldError("Idempotency-Key", "is not a quoted string"))
        key = re.sub(r"\\(.)", r"\1", key[1:-1])
    if not 1 <= len(key) <= KEY_CHARACTERS:
        raise InvalidRequest(FieldError("Idempotency-Key", f"must have 1 to {KEY_CHARACTERS} characters"))
    if not key.isascii() or not key.isprintable():
        raise InvalidRequest(FieldError("Idempotency-Key", "must be printable ASCII"))
    return key


_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\])*"')


def request_id(traceparent: str | None) -> str:
    """Return the trace id of `traceparent` (W3C Trace Context), or a new random id."""
    traced = _TRACEPARENT.fullmatch(traceparent or "")
    return traced[1] if traced else f"{getrandbits(128):032x}"  # it only has to be unique


_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
