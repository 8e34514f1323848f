"""A tour through the REST routes: sends requests of users, and announces each route before its request."""

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from uuid import UUID

import httpx

from tests.server.rest.conftest import Caller, Users
from tests.storage.old_server import FIRST_AT, STEP
from tests.support.servers import BILLING_SECRET
from tests.support.stripe_stand_in import signature

Query = dict[str, Any]

EARLY, LATE, NEVER = ((FIRST_AT + steps * STEP).isoformat() for steps in (1_000, 90_000, 900_000))
PERIODS: tuple[Query, ...] = ({}, {"from": EARLY, "to": LATE}, {"from": NEVER})
PAGES: tuple[Query, ...] = ({}, {"limit": 100, "offset": 10_000}, {"limit": 100, "before": "15000"})
ANSWER_SECONDS_MAX = 120.0  # the audit reads a million postings, on a machine that may be busy


class Tour:
    """Sends requests of users, and announces each route before its request."""

    def __init__(self, web: httpx.AsyncClient, users: Users, trying: Callable[[str], None]) -> None:
        self._web = web
        self._trying = trying
        self.users = users
        self.tried: set[str] = set()

    async def ask(
        self, who: Caller | None, name: str, /, *, body: Any = None, raw: bytes | None = None, **given: Any
    ) -> httpx.Response:
        """Request a route by its name; arguments that are not in its path become the query."""
        self._trying(name)
        self.tried.add(name)
        method, path = name.split()
        query = {key: value for key, value in given.items() if f"{{{key}}}" not in path}
        headers = {"X-Billing-Secret": BILLING_SECRET, "Idempotency-Key": "the same"}
        if raw is not None:
            headers["Stripe-Signature"] = signature(raw, time.time())
        if who is not None:
            headers["Authorization"] = f"Bearer {who.token}"
        place = path.format(**given)
        answer = await self._web.request(
            method, place, json=body, content=raw, params=query, headers=headers, timeout=ANSWER_SECONDS_MAX
        )
        assert answer.status_code in (200, 201), f"{name} {given}: {answer.text}"
        return answer

    def old(self, user_id: UUID) -> Caller:
        """A user of the large database."""
        return Caller(self._web, user_id)  # type: ignore[arg-type]  # reason: every id of a user is one


def queries(*filters: tuple[Query, ...]) -> Iterator[Query]:
    """Return each combination of one query of each filter."""
    for chosen in product(*filters):
        yield {name: value for part in chosen for name, value in part.items()}
