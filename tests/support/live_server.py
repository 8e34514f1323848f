"""Server fixture: a server in a process of its own, and its clients, which use HTTP and websockets only."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from server.ids import new_uuid
from tests.support.clients import PATIENCE_SECONDS, SECRET, Phone
from tests.support.processes import ServerProcess

BILLING_SECRET = "only-for-tests-billing-0123456789-0123456789"
SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "BILLING_WEBHOOK_SECRET": BILLING_SECRET,
    "HALFMINUTE_CALLS_BLOCK_SECONDS": "1",
}


class LiveServer:
    """A running server and the factory of its clients.

    Users are made as in production: by a first token and operators' credits.
    """

    def __init__(self, server: ServerProcess, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack
        self.operator = Phone(server.http_port, server.websocket_port, role="operator")
        stack.callback(self.operator.http.close)

    def fan(self, tokens: int, *, packs: bool = False) -> Phone:
        """Return a new user with tokens and an open session. `packs`: it uses MessagePack."""
        fan = self.phone(packs=packs)
        credit = {"userId": str(fan.user_id), "tokens": tokens, "reason": "welcome"}
        answer = self.operator.http.post("/admin/credits", json=credit)
        assert answer.status_code == 201, answer.text
        return fan

    def creator(self, rate_tokens_per_min: int = 60) -> Phone:
        """Return a new creator who accepts calls, with an open session."""
        creator = self.phone()
        terms = {"displayName": "Cleo", "rateTokensPerMin": rate_tokens_per_min, "acceptsCalls": True}
        answer = creator.http.put("/creators/me", json=terms)
        assert answer.status_code == 200, answer.text
        return creator

    def phone(self, user_id: UUID | None = None, token: str | None = None, *, packs: bool = False) -> Phone:
        """Return a device with an open session, of a new user unless `user_id` is given."""
        phone = Phone(self.server.http_port, self.server.websocket_port, user_id or new_uuid(), packs=packs)
        if token is not None:
            phone.token = token
        return self._stack.enter_context(phone)

    def sweep(self, secret: str = BILLING_SECRET) -> httpx.Response:
        """Request a billing sweep, as a cron does every thirty seconds."""
        return httpx.post(
            f"http://127.0.0.1:{self.server.http_port}/api/billing/meter",
            headers={"X-Billing-Secret": secret},
            timeout=PATIENCE_SECONDS,
            verify=False,  # there is no TLS here
        )

    def check_ledger(self) -> None:
        """Run the server's ledger audit. Raises AssertionError if a proof does not hold."""
        audit: dict[str, Any] = self.operator.http.get("/admin/audit").json()
        assert audit["holds"], [proof for proof in audit["proofs"] if not proof["holds"]]


@contextmanager
def live_server_on(dsn: str, directory: Path, **settings: str | None) -> Iterator[LiveServer]:
    """Run a server on this database. `settings` are environment variables; one that is None is not set."""
    wanted = {**SETTINGS, "DATABASE_URL": dsn, **settings}
    given = {name: value for name, value in wanted.items() if value is not None}
    with ServerProcess(directory / "data", settings=given) as server:
        with ExitStack() as stack:
            yield LiveServer(server, stack)
