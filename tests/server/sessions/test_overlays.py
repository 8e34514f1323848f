"""Overlays: views of a creator's room that connect with a token of their own and may only watch."""

from typing import Any

import httpx
import trio

from domain.ids import UserId
from server.context import Context
from tests.support.clients import Phone, go_live, send_tip
from tests.support.servers import add_creator, add_fan, online, phone_of


def make_token(creators: Phone) -> dict[str, Any]:
    made = creators.http.post("/overlay-tokens", json={"name": "Scene 1"})
    assert made.status_code == 201, made.text
    token: dict[str, Any] = made.json()
    return token


def scene_of(context: Context, creator: UserId, token: str) -> Phone:
    """Connect a creator's streaming software with an overlay's token."""
    scene = phone_of(context, creator)
    scene.token = token
    scene.http.headers["Authorization"] = f"Bearer {token}"
    return scene


async def test_an_overlay_finds_its_creators_stream_and_receives_tips_alone(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            finn.join(channel)
            with scene_of(context, creator, make_token(cleo)["secret"]) as scene:
                assert scene.ready["userId"] == str(creator)
                live = scene.http.get("/streams", params={"creatorId": str(creator), "status": "live"}).json()
                assert live["items"][0]["channel"] == channel
                assert scene.join(channel)["error"] == "FORBIDDEN"
                overlay = {"type": "room:join", "channel": channel, "as": "overlay"}
                assert scene.ask(overlay)["you"] == {"role": "overlay"}
                send_tip(finn, channel, 5)
                assert scene.wait_for("tip:new")["amountTokens"] == 5
                assert send_tip(scene, channel, 5)["error"] == "NOT_FOUND"
                cleo.wait_for("wallet:changed")
                assert scene.all_events("wallet:changed") == [], "what is the creator's own is not for a picture"

        await trio.to_thread.run_sync(story)


async def test_an_overlays_token_opens_nothing_else(context: Context) -> None:
    creator, other = await add_creator(context, 60), await add_creator(context, 60)
    async with online(context, creator) as cleo, online(context, other) as olga:

        def story() -> None:
            with scene_of(context, creator, make_token(cleo)["secret"]) as scene:
                for path in ("/me", "/wallet", "/calls/history", "/overlay-tokens"):
                    assert scene.http.get(path).json()["error"] == "UNAUTHENTICATED"
                theirs = {"type": "room:join", "channel": go_live(olga)["channel"], "as": "overlay"}
                assert scene.ask(theirs)["error"] == "FORBIDDEN"

        await trio.to_thread.run_sync(story)


async def test_a_creator_with_an_overlay_alone_is_not_online(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    cleo, finn = phone_of(context, creator), phone_of(context, fan)

    def story() -> None:
        with cleo.http, finn.http, scene_of(context, creator, make_token(cleo)["secret"]):
            assert finn.http.get(f"/creators/{creator}").json()["online"] is False

    await trio.to_thread.run_sync(story)


async def test_a_revoked_token_disconnects_its_overlay(context: Context) -> None:
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:

        def story() -> None:
            token = make_token(cleo)
            with scene_of(context, creator, token["secret"]) as scene:
                revoked: httpx.Response = cleo.http.delete(f"/overlay-tokens/{token['overlayTokenId']}")
                assert revoked.status_code == 200
                scene.wait_closed()
                assert scene.close_code == 4401
                assert scene.http.get("/streams").json()["error"] == "UNAUTHENTICATED"

        await trio.to_thread.run_sync(story)
