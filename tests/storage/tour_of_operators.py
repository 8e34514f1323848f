"""The operators' reads of a tour through the REST routes, of users with many rows and with few."""

from domain.ids import TOKEN_SALES
from tests.server.rest.conftest import Caller
from tests.storage.old_server import EARNER, FIRST_AT, LONG_CALL, LONG_FAN, STAR, STEP
from tests.storage.tour import EARLY, PAGES, PERIODS, Query, Tour, queries

SOON_AFTER = (FIRST_AT + 1_400 * STEP).isoformat()


SHORT: Query = {"from": EARLY, "to": SOON_AFTER}
FORMS: tuple[Query, ...] = ({}, {"format": "ndjson"}, {"format": "csv"})


async def read_accounts(tour: Tour, operator: Caller, old_user: Caller) -> None:
    """Request the journal, exports and statements, as pages and as a whole."""
    first = await tour.ask(operator, "GET /api/admin/journal", limit=1)
    behind = first.json()["items"][0]["id"]
    for query in queries(PERIODS, ({}, {"after": behind})):
        await tour.ask(operator, "GET /api/admin/journal", **query)
    wallets = (EARNER, LONG_FAN, STAR, TOKEN_SALES)
    for form in FORMS:
        await tour.ask(operator, "GET /api/admin/journal", **SHORT, **form)
        await tour.ask(old_user, "GET /api/wallet/export", **SHORT, **form)
        for wallet in wallets:
            await tour.ask(operator, "GET /api/admin/wallets/{walletId}/export", walletId=wallet, **SHORT, **form)
    for query in queries(PERIODS, ({}, {"after": 10})):
        await tour.ask(old_user, "GET /api/wallet/export", **query)
    month: Query = {"month": EARLY[:7], "tz": "Europe/Berlin"}
    await tour.ask(old_user, "GET /api/wallet/statement", **month)
    for wallet in wallets:
        await tour.ask(operator, "GET /api/admin/wallets/{walletId}/statement", walletId=wallet, **month)


async def look_at_users(tour: Tour, operator: Caller, call_id: str) -> None:
    """Request all reads of operators; `call_id` is an ended call."""
    for query in queries(({}, {"name": "a"}, {"name": "fan"}, {"email": "fan"}, {"userId": STAR}), PERIODS, PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/users", **query)
    await tour.ask(operator, "GET /api/admin/figures")
    for query in queries(({}, {"userId": STAR}), PERIODS, PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/credits", **query)
        await tour.ask(operator, "GET /api/admin/refunds", **query)
    for query in queries(({}, {"userId": STAR}, {"operatorId": operator.user_id}, {"route": "/api/none"}), PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/reads", **query)
    for user_id in (EARNER, LONG_FAN, STAR):
        for name in ("", "/wallet", "/sessions", "/bans", "/reports"):
            await tour.ask(operator, f"GET /api/admin/users/{{userId}}{name}", userId=user_id)
        for name in ("ledger", "blocks", "tips", "calls", "streams", "purchases", "payouts", "reports", "bans"):
            for query in queries(PERIODS, ({"limit": 500},)):
                await tour.ask(operator, f"GET /api/admin/users/{{userId}}/{name}", userId=user_id, **query)
    for ended in (call_id, LONG_CALL):
        await tour.ask(operator, "GET /api/admin/calls/{callId}", callId=ended)
    stream_id = (await tour.ask(operator, "GET /api/streams", limit=1)).json()["items"][0]["id"]
    await tour.ask(operator, "GET /api/admin/streams/{streamId}", streamId=stream_id)
    for query in queries(({}, {"userId": LONG_FAN})):
        await tour.ask(operator, "GET /api/admin/streams/{streamId}/blocks", streamId=stream_id, **query)
