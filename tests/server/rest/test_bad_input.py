"""Invalid amounts and keys are refused by name, before any statement reaches the database."""

import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, TypeVar

import msgspec
import pytest
import trio

from domain.amounts import MAX_BALANCE_TOKENS, MAX_POSTING_TOKENS
from domain.ids import PROMOTIONS
from server import app
from server.context import Context
from server.rest.app import ROUTES
from server.rooms.leases import lease
from storage.postgres import LoneConnection, Postgres, Row, Work
from tests.server.rest.conftest import Caller, users_of
from tests.server.rest.problems import SOMEBODY, check
from tests.support.servers import running_server, settings

T = TypeVar("T")

NO_WHOLE_NUMBER: tuple[Any, ...] = ("5", "5e3", 5.5, 5.0, True, [], 2**63, 2**63 - 1, -(2**63) - 1, 10**30)
# Each route that takes an amount: the field, and the values just outside its limits.
AMOUNTS = {
    "/calls/init": ("maxTokens", (0, -1, MAX_BALANCE_TOKENS + 1)),
    "/calls/initiate": ("maxTokens", (0, -1, MAX_BALANCE_TOKENS + 1)),
    "/admin/credits": ("tokens", (0, None, MAX_POSTING_TOKENS + 1, -MAX_POSTING_TOKENS - 1)),
    "/payouts": ("tokens", (0, -1, None, MAX_POSTING_TOKENS + 1)),
    "/creators/me": ("rateTokensPerMin", (0, -1, None, MAX_POSTING_TOKENS + 1)),
    "/wallet/limits": ("dailySpendLimit", (-1, MAX_BALANCE_TOKENS + 1)),
}
BAD_KEYS = ("x" * 256, f'"{"x" * 256}"', "", '""', "a\tb", '"a', "\x7f")
SELDOM_SECONDS = 3600


class RecordedServer(NamedTuple):
    """An operator who is also a creator, another user, and every statement that was sent since the test began."""

    operator: Caller
    fan: Caller
    sent: list[str]

    def body(self, path: str) -> dict[str, Any]:
        """Return a body that would be accepted."""
        if path == "/admin/credits":
            return {"userId": str(self.fan.user_id), "tokens": 5, "reason": "welcome"}
        if path == "/wallet/limits":
            return {"dailySpendLimit": 5}
        bodies = {"/creators/me": {"rateTokensPerMin": 60}, "/payouts": {"tokens": 1000}}
        return bodies.get(path, {"creatorId": str(self.fan.user_id), "packId": "small"})

    async def send(self, path: str, body: dict[str, Any], key: str | None = None) -> Any:
        method = "PUT" if path in ("/creators/me", "/wallet/limits") else "POST"
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.operator.ask(method, path, json=body, headers=headers)


async def _no_periodic_work(_: Context) -> None:
    await trio.sleep_forever()


@pytest.fixture
async def recorded(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RecordedServer]:
    plain = settings()
    # The server sends no statements of its own: no periodic work, and the lease is renewed once.
    unhurried = msgspec.structs.replace(plain.server, lease_seconds=86_400)
    monkeypatch.setattr(app, "run_maintenance", _no_periodic_work)
    monkeypatch.setattr(lease, "PAUSE_SECONDS_MAX", SELDOM_SECONDS)
    async with (
        running_server(dsn, msgspec.structs.replace(plain, server=unhurried)) as context,
        users_of(context) as users,
    ):
        recorded = RecordedServer(await users.operator(), await users.fan(10), [])
        assert (await recorded.send("/creators/me", {"rateTokensPerMin": 60})).status_code == 200
        transaction, fetchrow = Postgres.transaction, LoneConnection.fetchrow

        async def spied(postgres: Postgres, work: Work[T], *, atomic: bool = True) -> T:
            recorded.sent.append("from the pool")
            return await transaction(postgres, work, atomic=atomic)

        async def spied_alone(connection: LoneConnection, sql: str, *args: Any, **limits: Any) -> Row | None:
            recorded.sent.append("from the actor")
            return await fetchrow(connection, sql, *args, **limits)

        monkeypatch.setattr(Postgres, "transaction", spied)
        monkeypatch.setattr(LoneConnection, "fetchrow", spied_alone)
        yield recorded


async def test_an_invalid_amount_reaches_no_database(recorded: RecordedServer) -> None:
    for path, (field, beyond) in AMOUNTS.items():
        for amount in (*beyond, *NO_WHOLE_NUMBER):
            fields = check(await recorded.send(path, {**recorded.body(path), field: amount}), 400, "VALIDATION_FAILED")
            assert [error["field"] for error in fields["errors"]] == [field], (path, amount)
    assert recorded.sent == []


async def test_an_invalid_key_reaches_no_database(recorded: RecordedServer) -> None:
    paths = [route.path.removeprefix("/api") for route in ROUTES if route.takes_key]
    keyed = [re.sub(r"\{\w+\}", str(SOMEBODY), path) for path in paths]
    assert {"/calls/init", "/admin/credits"} <= set(keyed)
    for path in keyed:
        for key in BAD_KEYS:
            fields = check(await recorded.send(path, recorded.body(path), key), 400, "VALIDATION_FAILED")
            assert [error["field"] for error in fields["errors"]] == ["Idempotency-Key"], (path, key)
    assert recorded.sent == []


async def test_values_at_their_limits_are_accepted(recorded: RecordedServer) -> None:
    longest = "x" * 255
    given = await recorded.send(
        "/admin/credits", {**recorded.body("/admin/credits"), "tokens": MAX_POSTING_TOKENS}, longest
    )
    assert given.json()["wallet"]["balance"] == MAX_POSTING_TOKENS + 10
    check(await recorded.send("/calls/init", recorded.body("/calls/init"), longest), 422, "IDEMPOTENCY_CONFLICT")
    assert recorded.sent != []


async def test_an_unknown_user_is_neither_called_nor_credited_nor_billed(recorded: RecordedServer) -> None:
    for user_id in (SOMEBODY, PROMOTIONS):
        check(await recorded.send("/calls/init", {"creatorId": str(user_id)}), 404, "NOT_FOUND")
        check(
            await recorded.send("/admin/credits", {**recorded.body("/admin/credits"), "userId": str(user_id)}),
            404,
            "NOT_FOUND",
        )
    check(await recorded.send("/calls/init", {"creatorId": str(recorded.operator.user_id)}), 400, "SELF_PAYMENT")
    for path in (
        "/calls/{}/accept",
        "/calls/{}/decline",
        "/calls/{}/cancel",
        "/billing/{}/pause",
        "/billing/{}/resume",
    ):
        check(await recorded.operator.post(path.format(SOMEBODY)), 404, "NOT_FOUND")
    check(await recorded.operator.post(f"/billing/{SOMEBODY}/stop"), 404, "NOT_FOUND")
    check(await recorded.operator.get(f"/billing/{SOMEBODY}"), 404, "NOT_FOUND")
    assert "from the actor" not in recorded.sent
