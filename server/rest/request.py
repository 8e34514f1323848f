"""One request: who asks, what came with it, and under which key."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

from werkzeug.datastructures import Headers

from domain.ids import PostingKey, UserId, client_key
from server.access.tokens import bearer
from server.addresses import Origin, forwarded_origin
from server.context import Context
from server.ids import new_uuid
from server.rest.background_tasks import BackgroundTasks
from server.rest.query import Listed, Paging, next_link
from server.rest.strict_json import FieldError, InvalidRequest
from storage.paging import Paged

T = TypeVar("T")

KEY_CHARACTERS = 255
NOBODY = UserId(UUID(int=0))  # who asks where anyone may; no token with this subject is accepted


class Request:
    """What a handler may know of a request, and the headers that it adds to the answer."""

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
    ) -> None:
        self.context = context
        self.background_tasks = background_tasks
        self.path = path
        self.query = query
        self.headers = headers
        self.raw = raw
        self.peer = peer
        self.user_id = NOBODY
        self.is_operator = False
        self.key: str | None = None
        self.answer_headers: dict[str, str] = {}

    @property
    def origin(self) -> Origin:
        """How the client addressed the proxies in front of us, if there are any."""
        return forwarded_origin(self.peer, self.headers.getlist, self.context.settings.server.proxies)

    async def identify(self, *, overlays: bool = False) -> None:
        """Find out who asks, or whose overlay it is. Raises TokenRefused, StorageUnavailable."""
        token = bearer(self.headers.get("Authorization"))
        authenticator = self.context.authenticator
        identity = await authenticator.identity_of(token) if overlays else authenticator.verify(token)
        self.user_id, self.is_operator = identity.overlay_of or identity.user_id, identity.is_operator
        await self.context.user_cache.ensure_user(self.user_id)

    def listed(self, paged: Paged[T], asked: Paging) -> Listed[T]:
        """A page as it is answered, with the way to the next one."""
        if paged.next_before is not None:
            self.answer_headers["Link"] = next_link(self.path, self.query, paged.next_before)
        return Listed(paged.items, asked.limit, asked.offset, paged.total, paged.total_capped)

    def posting_key(self) -> PostingKey:
        """The key under which this request moves tokens: the client's own, or one that nobody will use again."""
        return client_key(self.user_id, self.key or str(new_uuid()))


def read_key(header: str | None) -> str | None:
    """An `Idempotency-Key`, bare or as a quoted string (RFC 8941): both name the same key. Raises InvalidRequest."""
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
    """The id of the caller's trace (W3C Trace Context), or one of our own making."""
    traced = _TRACEPARENT.fullmatch(traceparent or "")
    return traced[1] if traced else uuid4().hex


_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
