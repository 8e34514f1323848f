"""An operator settles a complaint with nothing but the served OpenAPI document, whose operations are called by name."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.server.rest.conftest import Caller
from tests.server.rest.ended_calls import call_of
from tests.server.rest.shop import Shop, open_shop
from tests.storage.ledger_pair import purchase

Json = dict[str, Any]


class Documented:
    """The operations of the document, called by their names and with the parameters that they describe."""

    def __init__(self, document: Json, caller: Caller) -> None:
        self._caller = caller
        self._operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    async def ask(self, operation_id: str, body: Json | None = None, /, **given: str) -> Any:
        method, path, operation = self._operations[operation_id]
        described = {each["name"]: each["in"] for each in operation["parameters"] if "name" in each}
        assert given.keys() <= described.keys(), "a parameter that is not described"
        inside = {name: value for name, value in given.items() if described[name] == "path"}
        query = {name: value for name, value in given.items() if described[name] == "query"}
        answer = await self._caller.ask(method, path.format(**inside).removeprefix("/api"), params=query, json=body)
        assert str(answer.status_code) in operation["responses"] and answer.is_success, answer.text
        return answer.json()


@pytest.fixture
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with open_shop(dsn) as opened:
        yield opened
        await opened.check_ledger()


async def test_a_complaint_is_found_refunded_and_on_record(shop: Shop) -> None:
    fan, creator, operator = shop.users.stranger(), await shop.users.creator(), await shop.users.operator()
    assert (await fan.put("/me", {"displayName": "Finn of Fulda"})).status_code == 200
    assert (await shop.context.actor.post([purchase(fan.user_id, 1_000)]))[0].paid
    call_id = str(await call_of(shop, fan, creator, 3))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{shop.context.http_port}") as web:
        office = Documented((await web.get("/api/openapi.json")).json(), operator)

    # "Finn of Fulda was charged for a call without a picture."
    (found,) = (await office.ask("getAdminUsers", name="finn of"))["items"]
    account = await office.ask("getAdminUsersUserId", userId=found["userId"])
    assert (account["user"]["displayName"], account["wallet"]["balance"]) == ("Finn of Fulda", 955)
    (call,) = (await office.ask("getAdminUsersUserIdCalls", userId=found["userId"]))["items"]
    shown = await office.ask("getAdminCallsCallId", callId=call["id"])
    assert (call["id"], shown["call"]["blocks"], shown["call"]["tokens"]) == (call_id, 3, 45)

    given = await office.ask("postAdminRefunds", {"callId": call["id"], "reason": "no picture"})
    assert given["tokens"] == 45
    entries = (await office.ask("getAdminUsersUserIdLedger", userId=found["userId"], kind="refund"))["items"]
    assert sum(entry["tokens"] for entry in entries) == 45
    assert (await office.ask("getAdminUsersUserIdWallet", userId=found["userId"]))["wallet"]["balance"] == 1_000
    month = await office.ask("getAdminWalletsWalletIdStatement", walletId=found["userId"])
    assert {line["kind"]: line["tokens"] for line in month["lines"]} == {"purchase": 1_000, "block": -45, "refund": 45}

    actions = (await office.ask("getAdminActions", targetId=found["userId"]))["items"]
    assert [each["tokens"] for each in actions] == [15, 15, 15]
    assert {(each["reason"], each["operatorId"]) for each in actions} == {("no picture", str(operator.user_id))}
    reads = (await office.ask("getAdminReads", userId=found["userId"]))["items"]
    assert {"/api/admin/calls/{callId}", "/api/admin/users/{userId}/ledger"} <= {each["route"] for each in reads}
