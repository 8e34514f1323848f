"""The user's own profile, and the settings that a client must know."""

import httpx
import msgspec

from server.context import Context
from tests.server.rest.conftest import Users, client_of
from tests.support.servers import running_server, settings


async def test_a_first_valid_token_makes_the_user_and_the_wallet(context: Context, users: Users) -> None:
    stranger = users.stranger()
    me = (await stranger.get("/me")).json()
    user = {"userId": str(stranger.user_id), "displayName": "", "isCreator": False, "isOperator": False}
    wallet = {
        "balance": 0,
        "promotional": 0,
        "cashable": 0,
        "held": 0,
        "owed": 0,
        "lifetimeEarned": 0,
        "lifetimeSpent": 0,
        "limits": {"dailySpendLimit": None},
        "frozen": False,
    }
    assert me == {"user": user, "wallet": wallet}
    rows = await context.postgres.fetch("SELECT id FROM wallets WHERE user_id = $1", stranger.user_id)
    assert len(rows) == 1


async def test_me_answers_with_ones_own_profile(users: Users) -> None:
    creator, operator = await users.creator(), await users.operator()
    assert (await creator.get("/me")).json()["user"]["isCreator"] is True
    assert (await creator.get("/me")).json()["user"]["displayName"] == "Cleo"
    assert (await operator.get("/me")).json()["user"]["isOperator"] is True


async def test_the_public_settings_need_no_token(context: Context, web: httpx.AsyncClient) -> None:
    assert (await web.get("/api/config")).json() == {
        "websocketUrl": f"ws://127.0.0.1:{context.websocket_port}/ws",
        "blockSeconds": 1,
        "blockRounding": "up",
        "currency": "USD",
        "stunServers": ["stun:stun.l.google.com:19302"],
        "timings": {
            "ringSeconds": 30,
            "joinSeconds": 20,
            "dropGraceSeconds": 10,
            "dropLimitSeconds": 60,
            "pauseLimitSeconds": 600,
            "payeeEndSeconds": 10,
            "storageGraceSeconds": 60,
            "ringCooldownSeconds": 60,
            "presenceSeconds": 10,
            "pingTimeoutSeconds": 45,
            "sessionSeconds": 120,
            "streamDropLimitSeconds": 300,
            "ticketReleaseSeconds": 300,
        },
    }


async def test_the_websocket_is_at_the_host_that_the_client_used(context: Context, web: httpx.AsyncClient) -> None:
    port = context.websocket_port
    for host, expected in (
        ("calls.example:8000", f"ws://calls.example:{port}/ws"),
        ("[::1]:8000", f"ws://[::1]:{port}/ws"),
        ("<script>", f"ws://127.0.0.1:{port}/ws"),
    ):
        assert (await web.get("/api/config", headers={"Host": host})).json()["websocketUrl"] == expected


async def test_a_public_websocket_address_is_served_as_it_is_set(dsn: str) -> None:
    defaults = settings()
    websocket = msgspec.structs.replace(defaults.websocket, public_url="wss://calls.example/ws")
    async with running_server(dsn, msgspec.structs.replace(defaults, websocket=websocket)) as context:
        async with client_of(context) as web:
            assert (await web.get("/api/config")).json()["websocketUrl"] == "wss://calls.example/ws"


async def test_an_answer_does_not_depend_on_the_client_before(users: Users) -> None:
    first, second = await users.fan(3), await users.fan(5)
    for caller, balance in ((first, 3), (second, 5), (first, 3)):
        assert (await caller.get("/wallet")).json()["balance"] == balance
