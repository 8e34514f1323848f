"""Unused sessions and memberships yield to new ones, so that no user is locked out by their own old connections."""

import msgspec
import pytest
import trio

from server.broadcast.codec import Encoding
from server.sessions import directory as server_sessions
from server.sessions import session as server_session
from tests.support.clients import PATIENCE_SECONDS, SECRET, go_live
from tests.support.servers import add_creator, add_fan, online, running_server, with_section
from tests.torture.raw import Target, raw_session, raw_websocket

in_thread = trio.to_thread.run_sync
LIMITED = with_section("websocket", listen="127.0.0.1:0", sessions_per_user=2)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (server_session, server_sessions):
        monkeypatch.setattr(module, "PROBE_SECONDS", 1.0)


async def test_half_open_sessions_yield_the_one_silent_for_longest_first(dsn: str) -> None:
    """The connections look open, and nobody reads there."""
    async with running_server(dsn, LIMITED) as context:
        target, user = Target(context.websocket_port, SECRET, ""), await add_fan(context, 0)
        token = target.token(user)
        with trio.fail_after(PATIENCE_SECONDS):
            async with raw_session(target, Encoding.JSON, token) as first:
                async with raw_session(target, Encoding.JSON, token):
                    oldest, newer = context.sessions.of(user)
                    async with online(context, user):
                        assert context.sessions.of(user)[0] is newer
                        assert oldest.connection is None
                        assert await first.end() == 4002, "a client that is alive after all comes back"


async def test_a_session_in_use_does_not_yield_to_a_silent_one(dsn: str) -> None:
    async with running_server(dsn, LIMITED) as context:
        target, user = Target(context.websocket_port, SECRET, ""), await add_fan(context, 0)
        async with online(context, user) as used:
            async with raw_session(target, Encoding.JSON, target.token(user)):
                async with online(context, user):
                    assert (await in_thread(lambda: used.ask({"type": "ping"})))["type"] == "pong"


async def test_a_further_ping_does_not_hide_that_an_earlier_one_is_unanswered(dsn: str) -> None:
    async with running_server(dsn, LIMITED) as context:
        target, user = Target(context.websocket_port, SECRET, ""), await add_fan(context, 0)
        async with raw_session(target, Encoding.JSON, target.token(user)):
            (session,) = context.sessions.of(user)
            connection = session.connection
            assert connection is not None and connection.unanswered_since is None
            connection.ping(trio.current_time())
            since = connection.unanswered_since
            assert since is not None
            connection.ping_soon()
            connection.check(trio.current_time())
            assert connection.unanswered_since == since


async def test_a_user_is_refused_only_if_all_their_sessions_are_in_use(dsn: str) -> None:
    async with running_server(dsn, LIMITED) as context:
        user = await add_fan(context, 0)
        async with online(context, user) as first, online(context, user) as second:
            target = Target(context.websocket_port, SECRET, "")
            async with raw_websocket(target, Encoding.JSON) as third:
                await third.send_command("session:open", token=target.token(user))
                assert await third.end() == 4429
            for phone in (first, second):
                assert (await in_thread(phone.ask, {"type": "ping"}))["type"] == "pong"
            await in_thread(first.lose_network)
            async with online(context, user):
                pass


async def test_a_room_that_evicted_its_viewer_does_not_count_for_their_session(dsn: str) -> None:
    async with running_server(dsn, with_section("websocket", rooms_per_session=1)) as context:
        fan = await add_fan(context, 0)
        async with (
            online(context, await add_creator(context, 60)) as cleo,
            online(context, await add_creator(context, 60)) as olga,
            online(context, fan) as finn,
        ):

            def story() -> None:
                first, second = go_live(cleo)["channel"], go_live(olga)["channel"]
                assert finn.join(first)["type"] == "room:joined"
                assert finn.join(second)["error"] == "OVERLOADED"
                cleo.join(first)
                cleo.ask_ok({"type": "member:remove", "channel": first, "userId": str(fan)})
                finn.wait_for("access:revoked", reason="removed")
                assert finn.join(second)["type"] == "room:joined"

            await in_thread(story)
            (session,) = context.sessions.of(fan)
            assert len(session.live_memberships()) == 1


async def test_a_viewers_dead_connections_do_not_keep_them_out_of_a_stream(dsn: str) -> None:
    """The connections look open, and nobody reads there."""
    wanted = with_section("streams", connections_per_payer=1)
    brisk = msgspec.structs.replace(wanted.websocket, party_heartbeat_seconds=0.2, presence_seconds=0.5)
    async with running_server(dsn, msgspec.structs.replace(wanted, websocket=brisk)) as context:
        fan = await add_fan(context, 1000)
        async with online(context, await add_creator(context, 60)) as cleo, online(context, fan) as finn:
            terms = {"type": "private", "rateTokensPerMin": 60}
            channel = (await in_thread(lambda: go_live(cleo, **terms)))["channel"]
            target = Target(context.websocket_port, SECRET, channel)
            with trio.fail_after(PATIENCE_SECONDS):
                async with raw_session(target, Encoding.JSON, target.token(fan)) as dead:
                    assert (await dead.ask("room:join", channel=channel))["type"] == "room:joined"
                    while (await in_thread(finn.join, channel))["type"] != "room:joined":  # noqa: ASYNC110  # reason: as a phone
                        await trio.sleep(0.2)  # a join without free connections is rate limited
                    assert await dead.end() == 4002
