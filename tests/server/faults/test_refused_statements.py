"""A statement that the database refuses fails only its own command, its own request or its own part of a round."""

import pytest
import structlog.testing
import trio

from server.context import Context
from server.ids import new_uuid
from server.maintenance import tidy_database
from tests.storage.raising import raising
from tests.support.clients import go_live
from tests.support.servers import add_creator, add_fan, online, phone_of

OURS = ["22003", "23514", "42P01"]


@pytest.mark.parametrize("sqlstate", OURS)
async def test_a_join_that_is_refused_is_answered_and_leaves_no_membership_and_an_open_connection(
    context: Context, sqlstate: str
) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await trio.to_thread.run_sync(lambda: go_live(cleo, type="private", rateTokensPerMin=60))
        with structlog.testing.capture_logs() as logged:
            async with raising(context.postgres, "meters", sqlstate):
                answer = await trio.to_thread.run_sync(finn.join, stream["channel"])
        assert (answer["type"], answer["error"]) == ("error", "INTERNAL")
        assert "made to fail" not in str(answer), "nothing of the database reaches a client"
        assert [line["event"] for line in logged if line["log_level"] == "error"] == ["command.refused"]
        assert [session.live_memberships() for session in context.sessions.of(fan)] == [{}]
        joined = await trio.to_thread.run_sync(finn.join, stream["channel"])
        assert joined["type"] == "room:joined", "the connection is still open, and the room can be joined"
        assert 'halfminute_faults_total{where="command"} 1.0' in context.metrics.exposition().decode()


@pytest.mark.parametrize(("sqlstate", "code"), [("22003", 4003), ("53100", 4003)])
async def test_a_first_session_that_cannot_be_opened_ends_with_a_code_that_allows_a_reconnect(
    context: Context, sqlstate: str, code: int
) -> None:
    phone = phone_of(context, new_uuid())

    def open_and_wait() -> None:
        with pytest.raises(AssertionError):
            phone.open()
        phone.wait_closed()

    async with raising(context.postgres, "users", sqlstate):
        await trio.to_thread.run_sync(open_and_wait)
    assert phone.close_code == code


@pytest.mark.parametrize("sqlstate", ["22003", "53100"])
async def test_a_failure_in_the_ten_minute_maintenance_keeps_no_other_part_from_being_done(
    context: Context, sqlstate: str
) -> None:
    await context.postgres.execute(
        "INSERT INTO servers (id, lease_expires_at) VALUES (gen_random_uuid(), now() - interval '2 days')"
    )
    async with raising(context.postgres, "idempotency_keys", sqlstate):
        with structlog.testing.capture_logs() as logged:
            await tidy_database(context)
    assert [line["part"] for line in logged] == ["old_keys"]
    assert (await context.postgres.fetch("SELECT count(*) FROM servers WHERE lease_expires_at < now()"))[0][0] == 0
