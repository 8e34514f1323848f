"""Streams as their users see them: a present owner, viewers, chat, tips, signals and overlays."""

from typing import Any

import msgspec
import pytest
import trio

from domain.ids import UserId
from server.context import Context
from tests.support.clients import Phone, go_live, send_tip, token_of
from tests.support.servers import add_creator, add_fan, give, online, running_server, settings

TTL_SECONDS = 5  # of a token that expires while its viewer watches


async def test_a_stream_from_its_start_to_its_end(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo)
            channel = stream["channel"]
            assert cleo.join(channel)["you"] == {"role": "owner"}
            joined = finn.join(channel)
            assert joined["you"]["role"] == "viewer"
            assert joined["room"]["kind"] == "stream" and joined["room"]["viewers"] == 2
            assert len(joined["members"]) == 2
            cleo.wait_for("member:joined", userId=str(fan))
            finn.ask_ok({"type": "chat:send", "channel": channel, "text": "hello\u0007 there"})
            assert cleo.wait_for("chat:new")["text"] == "hello there"
            tip_result = send_tip(finn, channel, 30, message="for the soup")
            assert tip_result["wallet"] == {"balance": 70}
            event = cleo.wait_for("tip:new")
            assert event["tipId"] == tip_result["tip"]["tipId"] and event["amountTokens"] == 30
            assert event["from"]["userId"] == str(fan) and event["message"] == "for the soup"
            assert cleo.wait_for("wallet:changed", cause="tip")["balance"] == 30
            ended = cleo.http.post(f"/streams/{stream['id']}/end").json()["stream"]
            assert (ended["status"], ended["endReason"]) == ("ended", "ended")
            assert finn.wait_for("stream:ended")["reason"] == "ended"
            finn.wait_for("room:closed")
            assert finn.join(channel)["error"] == "STREAM_ENDED"

        await trio.to_thread.run_sync(story)


async def test_the_same_key_tips_once_even_after_the_end(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo)
            channel = stream["channel"]
            finn.join(channel)
            first = send_tip(finn, channel, 30, key="k")
            again = send_tip(finn, channel, 30, key="k")
            assert first["tip"] == again["tip"] and first["wallet"] == again["wallet"]
            assert send_tip(finn, channel, 31, key="k")["error"] == "IDEMPOTENCY_CONFLICT"
            cleo.http.post(f"/streams/{stream['id']}/end")
            finn.wait_for("room:closed")
            late = send_tip(finn, channel, 30, key="k")
            assert late["tip"] == first["tip"] and late["wallet"] == first["wallet"]
            assert send_tip(finn, channel, 31, key="k")["error"] == "IDEMPOTENCY_CONFLICT"
            assert send_tip(finn, channel, 30, key="another")["error"] == "NOT_FOUND"
            assert finn.balance() == 70
            assert len(finn.all_events("tip:new")) == 1

        await trio.to_thread.run_sync(story)


async def test_a_metered_stream_charges_each_viewer_while_both_are_there(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 4)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo, type="private", rateTokensPerMin=60)
            channel = stream["channel"]
            joined = finn.join(channel)
            assert joined["you"]["balance"] == 4 and joined["you"]["paidThrough"] is None
            assert cleo.join(channel)["you"] == {"role": "owner"}  # the owner is present only from now on
            for number in (1, 2, 3, 4):
                block = finn.wait_for("block:charged", blockNo=number)
                assert block["streamId"] == stream["id"] and "seq" not in block
            assert finn.wait_for("balance:low")["required"] == 1
            assert finn.wait_for("access:revoked") == {
                "type": "access:revoked",
                "channel": channel,
                "reason": "insufficient_funds",
                "_seen": True,
            }
            assert cleo.wait_for("wallet:changed", balance=4)["earned"] == 4
            cleo.wait_for("member:left", userId=str(fan))
            refused = finn.join(channel)
            assert refused["error"] == "INSUFFICIENT_TOKENS" and refused["required"] == 1

        await trio.to_thread.run_sync(story)


async def test_a_viewer_who_tops_up_goes_on_after_the_last_paid_block(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        state: dict[str, Any] = {}

        def until_evicted() -> None:
            state["stream"] = go_live(cleo, type="private", rateTokensPerMin=60)
            channel = state["stream"]["channel"]
            cleo.join(channel)
            finn.join(channel)
            finn.wait_for("block:charged", blockNo=1)
            finn.wait_for("access:revoked")

        await trio.to_thread.run_sync(until_evicted)
        await give(context, UserId(fan), 5)

        def on_again() -> None:
            finn.join(state["stream"]["channel"])
            finn.wait_for("block:charged", blockNo=2)
            finn.wait_for("block:charged", blockNo=3)

        await trio.to_thread.run_sync(on_again)


async def test_only_the_owner_mutes_and_removes(context: Context) -> None:
    creator, fan, other = await add_creator(context, 60), await add_fan(context, 100), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn, online(context, other) as faye:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            for phone in (cleo, finn, faye):
                phone.join(channel)
            mute = {"type": "member:mute", "channel": channel, "userId": str(fan)}
            assert faye.ask(mute)["error"] == "FORBIDDEN"
            cleo.ask_ok(mute)
            assert finn.ask({"type": "chat:send", "channel": channel, "text": "hey"})["error"] == "FORBIDDEN"
            assert send_tip(finn, channel, 5, message="I still pay")["tip"]["amountTokens"] == 5
            assert faye.wait_for("tip:new")["message"] is None
            cleo.ask_ok({"type": "member:remove", "channel": channel, "userId": str(fan)})
            assert finn.wait_for("access:revoked")["reason"] == "removed"
            faye.wait_for("member:left", userId=str(fan))
            assert finn.join(channel)["error"] == "FORBIDDEN"
            assert send_tip(finn, channel, 5)["error"] == "NOT_FOUND"

        await trio.to_thread.run_sync(story)


async def test_signals_pass_only_between_the_owner_and_a_viewer(context: Context) -> None:
    creator, fan, other = await add_creator(context, 60), await add_fan(context, 0), await add_fan(context, 0)
    async with online(context, creator) as cleo, online(context, fan) as finn, online(context, other) as faye:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            ids = {phone: phone.join(channel)["memberId"] for phone in (cleo, finn, faye)}

            def signal(sender: Phone, to: Phone, data: Any) -> dict[str, Any]:
                return sender.ask({"type": "signal:send", "channel": channel, "to": ids[to], "data": data})

            assert signal(finn, cleo, {"sdp": "offer"})["type"] == "ok"
            event = cleo.wait_for("signal:new")
            assert event["from"] == ids[finn] and event["data"] == {"sdp": "offer"}
            assert signal(cleo, finn, "answer")["type"] == "ok"
            assert finn.wait_for("signal:new")["data"] == "answer"
            assert signal(finn, faye, "hi")["error"] == "FORBIDDEN"
            assert signal(finn, cleo, "x" * 16_400)["error"] == "VALIDATION_FAILED"
            assert faye.all_events("signal:new") == []

        await trio.to_thread.run_sync(story)


async def test_an_overlay_receives_tips_alone_and_those_that_it_missed(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, creator) as scene, online(context, fan) as finn:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            finn.join(channel)
            overlay = {"type": "room:join", "channel": channel, "as": "overlay"}
            assert finn.ask(overlay)["error"] == "FORBIDDEN"
            joined = scene.ask(overlay)
            assert joined["you"] == {"role": "overlay"} and joined["history"] == []
            first = send_tip(finn, channel, 1)["tip"]["tipId"]
            finn.ask_ok({"type": "chat:send", "channel": channel, "text": "hey"})
            assert scene.wait_for("tip:new")["tipId"] == first
            scene.send({"type": "room:leave", "channel": channel})
            second, third = (send_tip(finn, channel, n)["tip"]["tipId"] for n in (2, 3))
            again = scene.ask({**overlay, "sinceTipId": first})
            assert [past["tipId"] for past in again["history"]] == [second, third]
            assert scene.all_events("chat:new") == []
            assert cleo.http.get("/me").status_code == 200

        await trio.to_thread.run_sync(story)


async def test_a_large_room_counts_its_members_instead_of_naming_them(dsn: str) -> None:
    usual = settings()
    small = msgspec.structs.replace(usual, rooms=msgspec.structs.replace(usual.rooms, presence_limit=2))
    async with running_server(dsn, small) as context:
        creator = await add_creator(context, 60)
        fans = [await add_fan(context, 0) for _ in range(3)]
        async with (
            online(context, creator) as cleo,
            online(context, fans[0]) as first,
            online(context, fans[1]) as second,
        ):

            def story() -> None:
                channel = go_live(cleo)["channel"]
                cleo.join(channel)
                first.join(channel)
                cleo.wait_for("member:joined", userId=str(fans[0]))
                joined = second.join(channel)
                assert [member["userId"] for member in joined["members"]] == [str(creator)]
                assert cleo.wait_for("room:presence")["count"] == 3
                second.send({"type": "room:leave", "channel": channel})
                assert cleo.wait_for("room:presence")["count"] == 2
                first.send({"type": "room:leave", "channel": channel})
                cleo.wait_for("member:left", userId=str(fans[0]))

            await trio.to_thread.run_sync(story)


@pytest.mark.parametrize("status", ["scheduled", "ended"])
async def test_a_stream_that_is_not_live_has_no_room(context: Context, status: str) -> None:
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:

        def story() -> None:
            answer = cleo.http.post("/streams", json={"title": "Soon", "type": "public"}).json()["stream"]
            if status == "ended":
                ended = cleo.http.post(f"/streams/{answer['id']}/end").json()["stream"]
                assert ended["endReason"] == "cancelled"
            expected = {"scheduled": "STREAM_NOT_LIVE", "ended": "STREAM_ENDED"}[status]
            assert cleo.join(answer["channel"])["error"] == expected

        await trio.to_thread.run_sync(story)


async def test_a_stranger_may_neither_start_nor_end_a_stream(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 0)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            mine = {"title": "Mine", "type": "public"}
            assert finn.http.post("/streams", json=mine).json()["error"] == "NOT_A_CREATOR"
            stream = go_live(cleo)
            assert finn.http.post(f"/streams/{stream['id']}/end").json()["error"] == "FORBIDDEN"
            second = cleo.http.post("/streams", json=mine).json()["stream"]
            assert cleo.http.post(f"/streams/{second['id']}/start").json()["error"] == "ALREADY_LIVE"

        await trio.to_thread.run_sync(story)


async def test_a_ticket_lets_its_holder_in_until_it_is_refunded(context: Context) -> None:
    creator, fan, other = await add_creator(context, 60), await add_fan(context, 100), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn, online(context, other) as faye:

        def story() -> None:
            stream = go_live(cleo, type="private", ticketPriceTokens=40)
            channel, tickets = stream["channel"], f"/streams/{stream['id']}/tickets"
            assert finn.join(channel)["error"] == "FORBIDDEN"
            assert finn.http.get(f"/streams/{stream['id']}/access").json()["reason"] == "ticket_required"
            bought = finn.http.post(tickets, headers={"Idempotency-Key": "t"})
            assert bought.status_code == 201 and bought.json()["wallet"] == {"balance": 60}
            assert finn.http.post(tickets, headers={"Idempotency-Key": "t"}).json() == bought.json()
            assert finn.http.post(tickets).json()["error"] == "ALREADY_PURCHASED"
            assert cleo.http.post(tickets).json()["error"] == "SELF_PAYMENT"
            assert finn.http.get(f"/streams/{stream['id']}/access").json() == {"hasAccess": True, "reason": "ticket"}
            assert finn.join(channel)["you"]["role"] == "viewer"
            cleo.join(channel)
            cleo.ask_ok({"type": "member:remove", "channel": channel, "userId": str(fan)})
            assert finn.wait_for("access:revoked")["reason"] == "removed"
            assert finn.wait_for("wallet:changed", cause="refund")["balance"] == 100
            assert (cleo.balance(), cleo.all_events("wallet:changed")) == (0, []), "it was in escrow"
            assert finn.http.post(tickets).json()["error"] == "FORBIDDEN"
            assert faye.http.post(tickets).status_code == 201
            assert faye.join(channel)["type"] == "room:joined"

        await trio.to_thread.run_sync(story)


async def test_a_cancelled_stream_refunds_its_tickets(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            wanted = {"title": "Soon", "type": "private", "ticketPriceTokens": 40}
            stream = cleo.http.post("/streams", json=wanted).json()["stream"]
            assert finn.http.post(f"/streams/{stream['id']}/tickets").json()["wallet"] == {"balance": 60}
            for _ in range(2):
                ended = cleo.http.post(f"/streams/{stream['id']}/end").json()["stream"]
                assert ended["endReason"] == "cancelled"
                assert (finn.balance(), cleo.balance()) == (100, 0)

        await trio.to_thread.run_sync(story)


async def test_a_viewer_whom_the_creator_blocks_is_evicted_at_once(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            finn.join(channel)
            assert cleo.http.put(f"/creators/me/blocks/{fan}").status_code == 200
            assert finn.wait_for("access:revoked")["reason"] == "banned"
            assert finn.join(channel)["error"] == "CREATOR_UNAVAILABLE"
            assert cleo.http.delete(f"/creators/me/blocks/{fan}").status_code == 200
            assert finn.join(channel)["type"] == "room:joined"

        await trio.to_thread.run_sync(story)


async def test_a_viewer_whose_token_expires_is_evicted_with_the_reason(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as guest:

        def story() -> None:
            channel = go_live(cleo)["channel"]
            cleo.join(channel)
            guest.join(channel)
            guest.ask_ok({"type": "token:refresh", "token": token_of(fan, ttl_seconds=TTL_SECONDS)})
            assert guest.wait_for("access:revoked")["reason"] == "token_expired"
            guest.wait_closed()
            assert guest.close_code == 4401
            cleo.wait_for("member:left", userId=str(fan))

        await trio.to_thread.run_sync(story)


async def test_a_creator_is_either_live_or_in_a_call(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo)
            call = {"creatorId": str(creator)}
            assert finn.http.post("/calls/init", json=call).json()["error"] == "CREATOR_BUSY"
            assert finn.http.get(f"/creators/{creator}").json()["busy"] is True
            cleo.http.post(f"/streams/{stream['id']}/end")
            assert finn.http.get(f"/creators/{creator}").json()["busy"] is False
            ringing = finn.http.post("/calls/init", json=call).json()
            cleo.ask_ok({"type": "call:accept", "callId": ringing["callId"]})
            later = cleo.http.post("/streams", json={"title": "Later", "type": "public"}).json()["stream"]
            assert cleo.http.post(f"/streams/{later['id']}/start").json()["error"] == "ALREADY_IN_CALL"

        await trio.to_thread.run_sync(story)
