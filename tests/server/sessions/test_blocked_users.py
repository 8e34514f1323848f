"""A user whom a creator blocks leaves the call and the stream at once (contract.md, Access to rooms)."""

from typing import Any

import pytest
import trio

from server.context import Context
from server.rooms.kinds import call as call_kind
from server.rooms.kinds.stream import StreamKind
from server.sessions import room_commands
from storage.people.creator_blocks import block_user, blocked_between
from storage.rooms.streams import open_viewing_session
from tests.server.gateway.test_replaced_connections import Held
from tests.support.clients import PATIENCE_SECONDS, Phone, go_live, ring_and_join, send_tip
from tests.support.servers import add_creator, add_fan, give, online

in_thread = trio.to_thread.run_sync


def block(phone: Phone, user_id: object) -> None:
    answer = phone.http.put(f"/creators/me/blocks/{user_id}")
    assert answer.status_code == 200, answer.text


def tip_over_rest(phone: Phone, creator: object, **context: str) -> Any:
    wanted = {"toCreatorId": str(creator), "amountTokens": 1, "context": context}
    return phone.http.post("/tips/send", json=wanted).json()


async def test_blocking_the_fan_ends_the_call_and_no_chat_or_tip_follows_there(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            ring = ring_and_join(finn, cleo)
            block(cleo, fan)
            for phone in (finn, cleo):
                assert phone.wait_for("call:ended")["reason"] == "creator_ended"
            refused = finn.ask({"type": "chat:send", "channel": ring["channel"], "text": "hello?"})
            assert refused["type"] == "error"
            assert send_tip(finn, ring["channel"], 1)["type"] == "error"
            for context in ({"callId": ring["callId"]}, {"channel": ring["channel"]}):
                assert "error" in tip_over_rest(finn, creator, **context)
            assert tip_over_rest(finn, creator)["error"] == "CREATOR_UNAVAILABLE"
            assert finn.join(ring["channel"])["error"] == "CALL_ENDED"

        await in_thread(story)


async def test_blocking_the_fan_while_it_rings_declines_the_call(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            call_id = finn.http.post("/calls/init", json={"creatorId": str(creator)}).json()["callId"]
            block(cleo, fan)
            for phone in (finn, cleo):
                assert phone.wait_for("call:declined")["callId"] == call_id

        await in_thread(story)


async def test_a_creator_who_rang_another_cancels_the_call_by_blocking_them(context: Context) -> None:
    caller, called = await add_creator(context, 60), await add_creator(context, 60)
    await give(context, caller, 1000)
    async with online(context, caller) as carl, online(context, called) as cleo:

        def story() -> None:
            carl.http.post("/calls/init", json={"creatorId": str(called)})
            block(carl, called)
            for phone in (carl, cleo):
                phone.wait_for("call:cancelled")

        await in_thread(story)


async def test_an_invalid_block_ends_no_call(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            ring = ring_and_join(finn, cleo)
            assert finn.http.put(f"/creators/me/blocks/{creator}").json()["error"] == "NOT_A_CREATOR"
            # A creator who blocks themselves, which has no effect.
            assert cleo.http.put(f"/creators/me/blocks/{creator}").status_code == 200
            assert finn.ask({"type": "chat:send", "channel": ring["channel"], "text": "still here"})["type"] == "ok"
            assert cleo.all_events("call:ended") == []

        await in_thread(story)


async def test_a_block_stored_while_a_join_waits_for_the_database_keeps_the_viewer_out(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(open_viewing_session)
    monkeypatch.setattr(room_commands, "open_viewing_session", held)
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await in_thread(lambda: go_live(cleo, type="private", rateTokensPerMin=60))
        await in_thread(lambda: finn.send({"type": "room:join", "channel": stream["channel"], "ref": "join"}))
        await held.called.wait()
        await in_thread(block, cleo, fan)
        held.go_on.set()
        answer = await in_thread(lambda: finn.wait_until(lambda event: event.get("ref") == "join"))
        assert answer["error"] == "CREATOR_UNAVAILABLE"
        given = await in_thread(lambda: tip_over_rest(finn, creator, streamId=stream["id"]))
        assert given["error"] == "CREATOR_UNAVAILABLE"
    assert context.sessions.of(fan) == [] or context.sessions.of(fan)[0].live_memberships() == {}


async def test_a_block_that_lands_while_the_call_is_made_ends_it(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call was in the database already, and the room that the block could have ended did not exist yet."""
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    held = Held(blocked_between)
    monkeypatch.setattr(call_kind, "blocked_between", held)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        await in_thread(lambda: finn.http.post("/calls/init", json={"creatorId": str(creator)}))
        assert await block_user(context.postgres, creator, fan, most=10) is None  # no room was informed
        held.go_on.set()
        for phone in (finn, cleo):
            await in_thread(phone.wait_for, "call:declined")


async def test_a_block_that_lands_while_the_stream_opens_counts(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    read_past = StreamKind.read_past

    async def read_and_block(kind: StreamKind, stored: Any) -> Any:
        read = await read_past(kind, stored)
        assert await block_user(context.postgres, creator, fan, most=10) is None
        return read

    monkeypatch.setattr(StreamKind, "read_past", read_and_block)
    async with online(context, creator) as cleo:
        stream = await in_thread(go_live, cleo)
        room = context.registry.find_channel(stream["channel"])
        assert room is not None and room.stream is not None
        with trio.fail_after(PATIENCE_SECONDS):
            while fan not in room.stream.access_policy.blocked:  # noqa: ASYNC110  # reason: it sets no event
                await trio.sleep(0.01)
