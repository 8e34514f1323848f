"""One wrong clock does not date the ledger: while the server's clock and the database's disagree, nothing is booked."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from domain.billing.posting import Kind, Posting
from domain.ids import LOSSES, PROMOTIONS, RoomId, client_key
from server.context import Context
from server.ids import new_uuid
from storage import wall_clock
from storage.database_errors import StorageUnavailable
from storage.ledger.spend_limits import set_spend_limit
from storage.market.business_figures import sum_up
from tests.server.rest.conftest import Caller
from tests.server.rest.problems import check
from tests.storage.ledger_pair import OPERATOR
from tests.support.clients import PATIENCE_SECONDS, ring_and_join
from tests.support.servers import add_creator, add_fan, give, online, running_server, settings

in_thread = trio.to_thread.run_sync
Move = Callable[[float], None]


@pytest.fixture
def move(monkeypatch: pytest.MonkeyPatch) -> Move:
    """Set this machine's clock, as the database compares it with its own, so many seconds ahead of the real time."""

    def move(seconds: float) -> None:
        monkeypatch.setattr(wall_clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=seconds))

    return move


async def latest_booking(context: Context) -> datetime:
    row = await context.postgres.fetchrow("SELECT booked_at FROM fence")
    assert row is not None
    moment: datetime = row[0]
    return moment


async def set_latest_booking(context: Context, ahead_seconds: float) -> None:
    """Leave the database as one whose clock was ahead and has been corrected."""
    await context.postgres.execute(
        "UPDATE fence SET booked_at = clock_timestamp() + make_interval(secs => $1)", ahead_seconds
    )


def gift(user_id: Any) -> Posting:
    return Posting(
        key=client_key(user_id, str(new_uuid())),
        kind=Kind.CREDIT,
        operator_id=OPERATOR,
        debit=PROMOTIONS,
        credit=user_id,
        tokens=7,
    )


async def waits(
    context: Context, work: Callable[[], Awaitable[object]], until_right: Callable[[], Awaitable[object]]
) -> None:
    """Check that the work is refused until the clocks are right, and is then done once."""
    refused_before, done = context.actor.clock_refusals, trio.Event()

    async def do() -> None:
        await work()
        done.set()

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do)
            while context.actor.clock_refusals < refused_before + 2:  # noqa: ASYNC110  # reason: a counter sets no event
                await trio.sleep(0.01)
            assert not done.is_set() and context.actor.away_seconds > 0
            await until_right()
    assert done.is_set() and context.actor.away_seconds == 0


@pytest.mark.parametrize("seconds", [6, -6, 36 * 3600, -36 * 3600])
async def test_while_the_clocks_disagree_nothing_is_booked_or_dated(
    context: Context, move: Move, seconds: float
) -> None:
    """The server's clock is ahead or behind; it also looks behind to a database whose clock has jumped ahead."""
    fan = await add_fan(context, 10)
    before = await latest_booking(context)
    move(seconds)

    async def set_right() -> None:
        assert await latest_booking(context) == before
        move(0)

    with capture_logs() as logs:
        await waits(context, lambda: context.actor.post([gift(fan)]), set_right)
    errors = [line for line in logs if line["event"] == "storage.clocks_disagree"]
    assert [line["log_level"] for line in errors] == ["error"]
    assert ("ahead of" if seconds > 0 else "behind") in errors[0]["reason"]
    assert f"halfminute_clock_refusals_total {context.actor.clock_refusals}.0" in context.metrics.exposition().decode()
    row = await context.postgres.fetchrow("SELECT balance FROM wallets WHERE id = $1", fan)
    assert row is not None and row[0] == 17


@pytest.mark.parametrize("seconds", [1, 4, -1, -4])
async def test_a_small_difference_is_none(context: Context, move: Move, seconds: float) -> None:
    """Time servers leave such a difference, or correct it in steps."""
    fan = await add_fan(context, 0)
    move(seconds)
    await give(context, fan, 5)
    assert context.actor.clock_refusals == 0


@pytest.mark.parametrize("seconds", [6, 36 * 3600])
async def test_a_database_behind_its_latest_posting_commits_nothing(context: Context, seconds: float) -> None:
    fan = await add_fan(context, 0)
    await set_latest_booking(context, seconds)
    with capture_logs() as logs:
        await waits(context, lambda: context.actor.post([gift(fan)]), lambda: set_latest_booking(context, 0))
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["storage.clocks_disagree"]


async def test_a_small_step_back_of_the_database_dates_no_booking_before_another(context: Context) -> None:
    fan = await add_fan(context, 0)
    await set_latest_booking(context, 4)
    stepped = await latest_booking(context)
    for _ in range(3):
        await give(context, fan, 5)
    rows = await context.postgres.fetch("SELECT created_at FROM journal WHERE credit_wallet = $1", fan)
    assert [row[0] for row in rows] == [stepped] * 3
    assert await latest_booking(context) == stepped
    assert context.actor.clock_refusals == 0


@pytest.mark.parametrize("name", ["refund", "release"])
async def test_refunds_and_releases_wait_as_well(context: Context, move: Move, name: str) -> None:
    before = await latest_booking(context)
    move(-36 * 3600)
    work = {
        "refund": lambda: context.actor.refund([gift(LOSSES).key], "sorry"),
        "release": lambda: context.actor.release(RoomId(new_uuid())),
    }

    async def set_right() -> None:
        assert await latest_booking(context) == before
        move(0)

    await waits(context, work[name], set_right)


@pytest.mark.parametrize("name", ["limit", "sums"])
async def test_every_other_statement_that_dates_the_ledger_is_refused(context: Context, move: Move, name: str) -> None:
    fan = await add_fan(context, 0)
    before = await latest_booking(context)
    move(-36 * 3600)
    with pytest.raises(StorageUnavailable):
        await (set_spend_limit(context.postgres, fan, 5) if name == "limit" else sum_up(context.postgres))
    assert await latest_booking(context) == before
    move(0)
    await set_latest_booking(context, 6)
    if name == "limit":
        with pytest.raises(StorageUnavailable):
            await set_spend_limit(context.postgres, fan, 5)


async def test_while_the_database_is_away_clients_receive_an_error_and_the_server_is_not_ready(
    dsn: str, move: Move
) -> None:
    usual = settings()
    wanted = msgspec.structs.replace(usual, http=msgspec.structs.replace(usual.http, answer_seconds=0.5))
    async with running_server(dsn, wanted) as context:
        creator, fan = await add_creator(context, 60), await add_fan(context, 100)
        base_url = f"http://127.0.0.1:{context.http_port}"
        async with httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, verify=False) as web:
            asker = Caller(web, fan)
            move(36 * 3600)
            body = {"toCreatorId": str(creator), "amountTokens": 5}
            check(await asker.post("/tips/send", body, key="k"), 503, "STORAGE_UNAVAILABLE")
            check(await asker.put("/wallet/limits", {"dailySpendLimit": 50}), 503, "STORAGE_UNAVAILABLE")
            assert (await web.get("/readyz")).status_code == 503
            move(0)
            with trio.fail_after(PATIENCE_SECONDS):  # on a busy machine one answer may take longer than half a second
                while (answer := await asker.post("/tips/send", body, key="k")).status_code == 503:
                    pass
            assert (answer.status_code, answer.json()["newBalance"]) == (200, 95)


async def test_a_call_waits_for_its_clock_as_for_the_database(dsn: str, move: Move) -> None:
    async with running_server(dsn, settings(storage_grace_seconds=1)) as context:
        creator, fan = await add_creator(context, 60), await add_fan(context, 100)
        async with online(context, creator) as cleo, online(context, fan) as finn:

            def story() -> None:
                ring = ring_and_join(finn, cleo)
                finn.wait_for("block:charged", blockNo=1)
                move(36 * 3600)
                assert finn.wait_for("call:paused")["holds"] == ["storage"]
                move(0)
                assert finn.wait_for("call:resumed")["holds"] == []
                cleo.ask_ok({"type": "call:end", "callId": ring["callId"]})
                ended = finn.wait_for("call:ended")
                numbers = [block["blockNo"] for block in finn.all_events("block:charged")]
                assert numbers == list(range(1, ended["blocks"] + 1))

            await in_thread(story)
        rows = await context.postgres.fetch("SELECT created_at FROM journal WHERE kind = 1")
        assert all(row[0] < datetime.now(UTC) + timedelta(seconds=5) for row in rows)
