"""Two servers with a broker between them: REST requests about a room of one may come to the other."""

import pytest
import trio

from server.cluster.requests import NoAnswer
from storage.rooms.leases import OnServer
from tests.server.cluster.conftest import Pair
from tests.server.cluster.stories import a_story, done
from tests.support.servers import add_creator, add_fan, online, phone_of

in_thread = trio.to_thread.run_sync


async def test_a_stream_is_ended_through_another_server(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            assert story.join() == "room:joined"
            ended = done(story.cleo_elsewhere.post(f"/streams/{story.stream['id']}/end"))["stream"]
            assert (ended["status"], ended["endReason"]) == ("ended", "ended")
            story.finn.wait_for("stream:ended")

        await in_thread(play)


async def test_a_tip_in_a_room_of_another_server_is_seen_there_and_its_key_counts_on_both(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            assert story.join() == "room:joined"
            context = {"streamId": story.stream["id"]}
            body = {"toCreatorId": str(story.cleo.user_id), "amountTokens": 7, "message": "hello", "context": context}
            key = {"Idempotency-Key": "one"}
            first = done(story.finn_elsewhere.post("/tips/send", json=body, headers=key))
            again = [
                done(http.post("/tips/send", json=body, headers=key))
                for http in (story.finn.http, story.finn_elsewhere)
            ]
            assert [each["tip"] for each in again] == [first["tip"]] * 2
            assert story.finn.wait_for("tip:new")["tipId"] == first["tip"]["tipId"]
            assert done(story.finn_elsewhere.get("/wallet"))["balance"] == 93

        await in_thread(play)


async def test_a_call_is_accepted_and_ended_through_another_server(pair: Pair) -> None:
    creator, fan = await add_creator(pair.first, 60), await add_fan(pair.first, 100)
    async with online(pair.first, creator) as cleo, online(pair.first, fan) as finn:
        elsewhere = [phone_of(pair.second, user_id).http for user_id in (creator, fan)]

        def play() -> None:
            rung = done(finn.http.post("/calls/init", json={"creatorId": str(creator)}))
            accepted = done(elsewhere[0].post(f"/calls/{rung['callId']}/accept"))
            assert accepted["call"]["status"] == "active"
            for phone in (cleo, finn):
                assert phone.join(rung["channel"])["type"] == "room:joined"
            finn.wait_for("block:charged")
            stopped = done(elsewhere[1].post(f"/billing/{rung['callId']}/stop"))
            assert stopped["call"]["endReason"] == "hangup"
            cleo.wait_for("call:ended")

        try:
            await in_thread(play)
        finally:
            for http in elsewhere:
                http.close()


async def test_the_other_server_checks_who_asks_and_its_refusals_come_back_whole(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            path = f"/streams/{story.stream['id']}/end"
            refused = story.finn_elsewhere.post(path)
            assert (refused.status_code, refused.json()["error"]) == (403, "FORBIDDEN")
            body = {
                "toCreatorId": str(story.cleo.user_id),
                "amountTokens": 1000,
                "context": {"streamId": story.stream["id"]},
            }
            short = story.finn_elsewhere.post("/tips/send", json=body)
            assert (short.status_code, short.json()["error"]) == (400, "INSUFFICIENT_TOKENS")
            assert short.headers["Content-Type"] == "application/problem+json"
            assert short.json()["requestId"] == short.headers["X-Request-Id"], "one id finds it in both logs"

        await in_thread(play)


async def test_without_an_answer_the_client_is_told_when_to_try_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_answer(*_: object) -> bytes:
        raise NoAnswer

    monkeypatch.setattr(pair.second.requests, "ask", no_answer)
    async with a_story(pair) as story:
        refused = await in_thread(story.cleo_elsewhere.post, f"/streams/{story.stream['id']}/end")
        assert (refused.status_code, refused.json()["error"]) == (503, "OVERLOADED")
        assert refused.headers["Retry-After"] == "5"


async def test_a_request_is_passed_on_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A room may move while a request is on its way to its server: the two could send it back and forth."""

    async def on_the_second(_: object) -> OnServer:
        return OnServer(pair.second.leases.server_id)

    async def ask_back(*_: object) -> bytes:
        raise AssertionError("it was passed on again")

    async with a_story(pair) as story:
        monkeypatch.setattr(pair.first.requests, "ask", ask_back)
        monkeypatch.setattr(pair.first.leases, "whereabouts", on_the_second)
        monkeypatch.setattr(pair.first.registry, "find", lambda _: None)
        refused = await in_thread(story.cleo_elsewhere.post, f"/streams/{story.stream['id']}/end")
        assert (refused.status_code, refused.json()["error"]) == (503, "OVERLOADED")
