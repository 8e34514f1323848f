"""The operators' reads of a tour through the REST routes, of users with many rows and with few."""

from tests.server.rest.conftest import Caller
from tests.storage.old_server import EARNER, LONG_CALL, LONG_FAN, STAR
from tests.storage.tour import PAGES, PERIODS, Tour, queries


async def look_at_users(tour: Tour, operator: Caller, call_id: str) -> None:
    """Request all reads of operators; `call_id` is an ended call."""
    for query in queries(({}, {"name": "a"}, {"name": "fan"}, {"userId": STAR}), PERIODS, PAGES[:2]):
        await tour.ask(operator, "GET /api/admin/users", **query)
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
