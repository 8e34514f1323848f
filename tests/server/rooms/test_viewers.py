"""No viewer watches a metered stream unbilled, and no member fills another's send queue, on a running server."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio

from server.context import Context
from server.money.refunds_due import give_back_due
from tests.support.clients import Phone, go_live
from tests.support.processes import eventually
from tests.support.servers import add_creator, add_fan, online, phone_of, running_server, with_section

in_thread = trio.to_thread.run_sync
METERED = {"type": "private", "rateTokensPerMin": 60}


@pytest.fixture
async def slow_server(dsn: str) -> AsyncIterator[Context]:
    """A server with blocks of their usual length."""
    async with running_server(dsn, with_section("streams")) as running:
        yield running


def signal(channel: str, to: str, data: Any) -> dict[str, Any]:
    return {"type": "signal:send", "channel": channel, "to": to, "data": data}


async def test_an_owner_is_notified_when_a_viewer_disconnects_and_signals_do_not_reach_them(dsn: str) -> None:
    """Otherwise media would flow between the two for 110 s while the clock is stopped."""
    async with running_server(dsn, with_section("streams", drop_grace_seconds=0.5)) as context:
        fan = await add_fan(context, 1000)
        async with online(context, await add_creator(context, 60)) as cleo, online(context, fan) as finn:

            def story() -> None:
                channel = go_live(cleo, **METERED)["channel"]
                owner = cleo.join(channel)["memberId"]
                viewer = finn.join(channel)["memberId"]
                fields = {"channel": channel, "memberId": viewer, "userId": str(fan)}
                assert fields.items() <= cleo.wait_for("viewer:joined").items()
                block = cleo.wait_for("block:charged", blockNo=1)
                assert block["userId"] == str(fan)
                earned = cleo.wait_for("wallet:changed", cause="block")
                assert earned["ref"]["userId"] == str(fan)
                assert cleo.ask(signal(channel, viewer, "offer"))["type"] == "ok"
                for _ in range(3):
                    finn.lose_network()
                    assert fields.items() <= cleo.wait_for("viewer:paused").items()
                    refused = cleo.ask(signal(channel, viewer, "offer"))
                    assert (refused["error"], refused["status"]) == ("NOT_PRESENT", 409)
                    finn.open(resume=True)
                    assert fields.items() <= cleo.wait_for("viewer:resumed").items()
                    assert finn.ask(signal(channel, owner, "answer"))["type"] == "ok"
                finn.ask_ok({"type": "room:leave", "channel": channel})
                assert fields.items() <= cleo.wait_for("viewer:left").items()
                assert cleo.ask(signal(channel, viewer, "offer"))["error"] == "NOT_FOUND"
                assert finn.ask(signal(channel, owner, "offer"))["error"] == "NOT_FOUND"

            await in_thread(story)


async def test_in_a_large_room_an_owner_is_notified_of_each_viewer_who_joins_and_leaves(dsn: str) -> None:
    """The members only see a number; without the event, media would go to a viewer who has left."""
    async with running_server(dsn, with_section("rooms", presence_limit=2)) as context:
        fans = [await add_fan(context, 1000) for _ in range(3)]
        async with (
            online(context, await add_creator(context, 60)) as cleo,
            online(context, fans[0]) as first,
            online(context, fans[1]) as second,
            online(context, fans[2]) as third,
        ):

            def story() -> None:
                channel = go_live(cleo, **METERED)["channel"]
                cleo.join(channel)
                for phone in (first, second, third):
                    viewer = phone.join(channel)["memberId"]
                    fields = {"channel": channel, "memberId": viewer, "userId": str(phone.user_id)}
                    assert fields.items() <= cleo.wait_for("viewer:joined", memberId=viewer).items()
                    assert cleo.wait_for("block:charged", blockNo=1)["userId"] == str(phone.user_id)
                assert viewer not in [event["memberId"] for event in cleo.all_events("member:joined")], (
                    "the room is large"
                )
                third.ask_ok({"type": "room:leave", "channel": channel})
                assert fields.items() <= cleo.wait_for("viewer:left").items()
                assert cleo.ask(signal(channel, viewer, "offer"))["error"] == "NOT_FOUND"

            await in_thread(story)


async def test_a_viewer_who_hides_between_resumes_is_billed_for_the_grace_each_time(dsn: str) -> None:
    async with running_server(dsn, with_section("streams", drop_grace_seconds=2)) as context:
        fan = await add_fan(context, 1000)
        async with online(context, await add_creator(context, 60)) as cleo, online(context, fan) as finn:

            def story() -> None:
                channel = go_live(cleo, **METERED)["channel"]
                cleo.join(channel)
                finn.join(channel)
                finn.wait_for("block:charged", blockNo=1)
                for _ in range(3):
                    finn.lose_network()
                    cleo.wait_for("viewer:paused")
                    finn.open(resume=True)
                    cleo.wait_for("viewer:resumed")
                assert finn.join(channel)["you"]["secondsLeft"] < 970 // 30 * 30 + 30 - 5.5

            await in_thread(story)


async def test_the_owners_sessions_are_sent_all_viewers_again_after_a_resume(context: Context) -> None:
    creator, fans = await add_creator(context, 60), [await add_fan(context, 1000) for _ in range(2)]
    async with online(context, creator) as cleo, online(context, fans[0]) as finn, online(context, fans[1]) as faye:

        def story() -> None:
            channel = go_live(cleo, **METERED)["channel"]
            ids = {phone.join(channel)["memberId"] for phone in (finn, faye)}
            for _ in ids:
                cleo.wait_for("viewer:joined")
            cleo.lose_network()
            cleo.open(resume=True)
            assert {cleo.wait_for("viewer:joined")["memberId"] for _ in ids} == ids
            with phone_of(context, creator) as tablet:
                assert {tablet.wait_for("viewer:joined")["memberId"] for _ in ids} == ids
            assert finn.all_events("viewer:joined") == []

        await in_thread(story)


async def test_a_viewers_four_sockets_do_not_push_the_creator_over_the_send_queue(dsn: str) -> None:
    """The creator reads nothing meanwhile: every signal waits in their queue, and all are far less than 1 MiB."""
    quick = with_section("websocket", messages_per_second=1000, messages_burst=1000)
    async with running_server(dsn, quick) as context:
        fan = await add_fan(context, 0)
        async with online(context, await add_creator(context, 60)) as cleo:
            async with trio.open_nursery() as nursery:
                phones = [phone_of(context, fan) for _ in range(4)]
                for phone in phones:
                    await in_thread(phone.open)
                stream = await in_thread(lambda: go_live(cleo))
                channel, refused = stream["channel"], list[dict[str, Any]]()
                to = (await in_thread(cleo.join, channel))["memberId"]

                def flood(phone: Phone) -> None:
                    phone.join(channel)
                    answers = [phone.ask(signal(channel, to, "x" * 16_000)) for _ in range(100)]
                    refused.extend(answer for answer in answers if answer["type"] == "error")

                for phone in phones:
                    nursery.start_soon(in_thread, flood, phone)
            assert {answer["error"] for answer in refused} == {"RATE_LIMITED"}
            assert len(refused) >= 380 and all(answer["retryAfterSeconds"] > 0 for answer in refused)
            assert cleo.close_code is None
            assert (await in_thread(cleo.ask, {"type": "ping"}))["type"] == "pong"
            assert len(cleo.all_events("signal:new")) == 400 - len(refused)
            for phone in phones:
                await in_thread(phone.__exit__)


@pytest.mark.parametrize("how", ["end", "remove"])
async def test_a_block_just_begun_is_refunded_if_the_owner_ends_it_and_both_are_notified(
    context: Context, how: str
) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 1000)
    async with online(context, creator) as cleo, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo, **METERED)
            channel = stream["channel"]
            cleo.join(channel)
            finn.join(channel)
            finn.wait_for("block:charged", blockNo=1)
            if how == "end":
                cleo.http.post(f"/streams/{stream['id']}/end")
            else:
                cleo.ask_ok({"type": "member:remove", "channel": channel, "userId": str(fan)})
            back = finn.wait_for("wallet:changed", cause="refund")
            assert (back["balance"], back["ref"]["streamId"]) == (1000, stream["id"])
            assert cleo.wait_for("wallet:changed", cause="refund")["balance"] == 0
            assert (finn.balance(), cleo.balance()) == (1000, 0)

        await in_thread(story)


@pytest.mark.parametrize("how", ["end", "remove"])
async def test_a_viewers_block_that_a_server_had_no_time_to_refund_is_refunded_by_the_next(
    slow_server: Context, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = slow_server

    async def crash(*_: object) -> None:
        raise RuntimeError("the server stops here")

    monkeypatch.setattr("server.rooms.room_storage.give_back_blocks", crash)
    fan = await add_fan(context, 1000)
    async with online(context, await add_creator(context, 60)) as cleo, online(context, fan) as finn:

        def story() -> None:
            stream = go_live(cleo, **METERED)
            _pay_one_block(finn, cleo, stream["channel"])
            if how == "end":
                cleo.http.post(f"/streams/{stream['id']}/end")
                finn.wait_for("stream:ended")
            else:
                cleo.ask_ok({"type": "member:remove", "channel": stream["channel"], "userId": str(fan)})
                finn.wait_for("access:revoked")
            eventually(lambda: cleo.http.get("/wallet").json()["owed"] == 30, "a block that is owed")
            assert (finn.balance(), cleo.balance()) == (970, 30)

        await in_thread(story)
        await context.postgres.execute("UPDATE refunds_due SET next_try_at = now()")
        for _ in range(2):
            await give_back_due(context.postgres, context.actor)
            assert await in_thread(finn.balance) == 1000
        assert await context.postgres.fetch("SELECT FROM refunds_due") == []


async def test_a_refund_that_an_owner_cannot_cover_is_owed_until_they_earn_as_much(
    slow_server: Context,
) -> None:
    context = slow_server
    fan, friend = await add_fan(context, 1000), await add_creator(context, 60)
    async with (
        online(context, await add_creator(context, 60)) as cleo,
        online(context, fan) as finn,
        online(context, friend) as fred,
    ):

        def tip(sender: Phone, receiver: Phone) -> None:
            wanted = {"toCreatorId": str(receiver.user_id), "amountTokens": 30}
            sender.http.post("/tips/send", json=wanted).raise_for_status()

        def pass_on() -> None:
            stream = go_live(cleo, **METERED)
            _pay_one_block(finn, cleo, stream["channel"])
            tip(cleo, fred)
            cleo.http.post(f"/streams/{stream['id']}/end")
            finn.wait_for("stream:ended")
            assert cleo.http.get("/wallet").json()["owed"] == 30
            assert finn.balance() == 970

        await in_thread(pass_on)
        await in_thread(tip, fred, cleo)
        await context.postgres.execute("UPDATE refunds_due SET next_try_at = now()")
        await give_back_due(context.postgres, context.actor)
        assert await in_thread(finn.balance) == 1000
        wallet = (await in_thread(cleo.http.get, "/wallet")).json()
        assert (wallet["balance"], wallet["owed"]) == (0, 0)


def _pay_one_block(fan: Phone, creator: Phone, channel: str) -> None:
    creator.join(channel)
    fan.join(channel)
    fan.wait_for("block:charged", blockNo=1)


async def test_a_loop_of_joins_and_leaves_is_bounded_for_all_rooms_and_devices_of_a_user(dsn: str) -> None:
    usual = with_section("websocket", messages_per_second=1000, messages_burst=1000)
    bounded = msgspec.structs.replace(usual.limits, joins_per_second=1, joins_burst=10)
    async with running_server(dsn, msgspec.structs.replace(usual, limits=bounded)) as context:
        fan = await add_fan(context, 0)
        async with (
            online(context, await add_creator(context, 60)) as cleo,
            online(context, fan) as finn,
            online(context, fan) as tablet,
        ):

            def story() -> None:
                channel = go_live(cleo)["channel"]
                cleo.join(channel)
                answers = []
                for phone in (finn, tablet):
                    for _ in range(100):
                        answers.append(phone.join(channel))
                        phone.ask_ok({"type": "room:leave", "channel": channel})
                refused = [answer for answer in answers if answer["type"] == "error"]
                assert {answer["error"] for answer in refused} == {"RATE_LIMITED"}
                assert len(refused) >= 170 and refused[-1]["retryAfterSeconds"] > 0
                cleo.ask({"type": "ping"})
                assert len(cleo.all_events("member:joined")) <= 1 + len(answers) - len(refused)

            await in_thread(story)
