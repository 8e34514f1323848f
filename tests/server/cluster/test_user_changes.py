"""Two servers with a broker between them: a ban, a block, a refund, a new name on one is out on the other at once."""

import trio

from domain.ids import UserId
from tests.server.cluster.conftest import Pair
from tests.server.cluster.stories import a_story, device, done
from tests.server.sessions.test_overlays import make_token, scene_of
from tests.support.clients import ring_and_join
from tests.support.servers import add_creator, add_fan, online

in_thread = trio.to_thread.run_sync


async def test_a_user_who_is_blocked_leaves_the_stream_and_comes_back_once_unblocked(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            assert story.join() == "room:joined"
            path = f"/creators/me/blocks/{story.finn.user_id}"
            done(story.cleo_elsewhere.put(path))
            assert story.finn.wait_for("access:revoked")["reason"] == "banned"
            assert story.join() == "error"
            done(story.cleo_elsewhere.delete(path))
            while story.join() != "room:joined":
                pass

        await in_thread(play)


async def test_a_call_ends_when_its_creator_blocks_the_fan(pair: Pair) -> None:
    creator, fan = await add_creator(pair.first, 60), await add_fan(pair.first, 100)
    async with online(pair.first, creator) as cleo, online(pair.first, fan) as finn:

        def play() -> None:
            ring_and_join(finn, cleo)
            with device(pair.second, cleo) as elsewhere:
                done(elsewhere.put(f"/creators/me/blocks/{fan}"))
            for phone in (finn, cleo):
                assert phone.wait_for("call:ended")["reason"] == "creator_ended"

        await in_thread(play)


async def test_a_new_name_is_in_what_the_user_says_next(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            assert story.join() == "room:joined"
            done(story.finn_elsewhere.put("/me", json={"displayName": "Finnegan"}))
            name = ""
            while name != "Finnegan":
                said = {"type": "chat:send", "channel": story.stream["channel"], "text": "Who am I?"}
                if story.finn.ask(said)["type"] == "ok":  # there is a limit for users who write fast
                    name = story.finn.wait_for("chat:new")["from"]["displayName"]

        await in_thread(play)


async def test_a_refunded_ticket_admits_no_more(pair: Pair) -> None:
    async with a_story(pair, type="private", ticketPriceTokens=50) as story:

        def play() -> None:
            done(story.finn.http.post(f"/streams/{story.stream['id']}/tickets"))
            assert story.join() == "room:joined"
            wanted = {"streamId": story.stream["id"], "userId": str(story.finn.user_id), "reason": "sorry"}
            done(story.operator_elsewhere.post("/admin/refunds", json=wanted))
            assert story.finn.wait_for("access:revoked")["reason"] == "ticket_refunded"
            assert story.join() == "error"

        await in_thread(play)


async def test_a_banned_user_is_disconnected(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            assert story.join() == "room:joined"
            done(
                story.operator_elsewhere.post("/admin/bans", json={"userId": str(story.finn.user_id), "reason": "rude"})
            )
            story.finn.wait_closed()
            assert story.finn.close_code == 4403

        await in_thread(play)


async def test_an_overlay_whose_token_is_revoked_is_disconnected(pair: Pair) -> None:
    async with a_story(pair) as story:

        def play() -> None:
            token = make_token(story.cleo)
            assert story.cleo.user_id is not None
            with scene_of(pair.first, UserId(story.cleo.user_id), token["secret"]) as scene:
                done(story.cleo_elsewhere.delete(f"/overlay-tokens/{token['overlayTokenId']}"))
                scene.wait_closed()
                assert scene.close_code == 4401

        await in_thread(play)
