"""The client of load runs and tests receives every event in order, resumes, and reports when it cannot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio

from server.broadcast.codec import Encoding
from server.context import Context
from server.loadtest.client.client import (
    AnswerTimeout,
    Client,
    Disconnected,
    Event,
    OutOfOrder,
    Rejected,
    open_client,
)
from server.loadtest.client.close_codes import may_reconnect
from server.loadtest.client.positions import ReadPosition, ReadPositions
from tests.support.clients import token_of
from tests.support.servers import add_creator, add_fan, phone_of

both_subprotocols = pytest.mark.parametrize("encoding", Encoding)


def url_of(context: Context) -> str:
    return f"ws://127.0.0.1:{context.websocket_port}/ws"


@asynccontextmanager
async def a_call(context: Context, encoding: Encoding = Encoding.JSON) -> AsyncIterator[tuple[Client, Client, Event]]:
    """Return a fan and a creator in a running call, and the invitation."""
    fan_id, creator_id = await add_fan(context, 10_000), await add_creator(context, 60)
    async with (
        open_client(url_of(context), token_of(fan_id), encoding=encoding) as fan,
        open_client(url_of(context), token_of(creator_id), encoding=encoding, by_header=True) as creator,
    ):
        await ring(context, fan_id, creator_id)
        invitation = await creator.wait_for("call:ringing")
        assert (await creator.ask("call:accept", callId=invitation["callId"]))["type"] == "ok"
        for client in (creator, fan):
            assert (await client.join(invitation["channel"]))["type"] == "room:joined"
        await fan.wait_for("block:charged", blockNo=1)
        yield fan, creator, invitation


async def ring(context: Context, fan_id: UUID, creator_id: UUID) -> None:
    with phone_of(context, fan_id).http as http:
        answer = await trio.to_thread.run_sync(lambda: http.post("/calls/init", json={"creatorId": str(creator_id)}))
    assert answer.status_code == 201, answer.text


@both_subprotocols
async def test_the_events_of_a_call_arrive_in_order_in_both_subprotocols(context: Context, encoding: Encoding) -> None:
    async with a_call(context, encoding) as (fan, creator, invitation):
        for client in (fan, creator):
            for block_no in (2, 3):
                assert (await client.wait_for("block:charged", blockNo=block_no))["tokens"] == 1
        assert (await fan.ask("call:end", callId=invitation["callId"]))["type"] == "ok"
        for client in (fan, creator):
            assert (await client.wait_for("call:ended"))["blocks"] >= 3


async def test_events_are_handed_over_at_once_in_the_order_of_their_arrival(context: Context) -> None:
    received: list[Event] = []
    async with open_client(
        url_of(context), token_of(await add_fan(context, 0)), on_event=received.append, kept=0
    ) as client:
        for _ in range(3):
            await client.send("ping")
        await client.ask("ping")
        assert [event["type"] for event in received] == ["session:ready", "pong", "pong", "pong"]
        assert not client.kept


async def test_an_answer_goes_to_the_caller_that_asked_and_may_be_an_error(context: Context) -> None:
    async with open_client(url_of(context), token_of(await add_fan(context, 0))) as client:
        answer = await client.join("nowhere")
        assert (answer["type"], answer["error"]) == ("error", "NOT_FOUND")
        with pytest.raises(AnswerTimeout, match="error did not come"):
            await client.wait_for("error", seconds=0)


async def test_a_client_that_resumes_receives_what_it_missed(context: Context) -> None:
    async with a_call(context) as (fan, creator, invitation):
        await fan.lose_network()
        assert (fan.connected, fan.close_code, fan.may_reconnect) == (False, 1006, True)
        for command in ("call:pause", "call:resume"):
            assert (await creator.ask(command, callId=invitation["callId"]))["type"] == "ok"
        ready = await fan.resume()
        assert (ready["resumed"], ready["lost"]) == (True, [])
        await fan.wait_for("call:resumed")


async def test_the_answer_to_a_resume_that_was_given_up_is_not_taken_for_the_next_one(context: Context) -> None:
    async with a_call(context) as (fan, *_):
        given_up = {**fan.ready, "lost": ["another"]}
        await fan.lose_network()
        fan.kept.append(given_up)  # as if it had arrived when nobody waited for it any more
        assert (await fan.resume())["lost"] == []
        assert fan.ready["resumed"] is True


async def test_a_room_that_is_lost_is_not_asked_for_again(context: Context) -> None:
    async with a_call(context) as (fan, _, invitation):
        fan.positions.by_channel[invitation["channel"]].epoch += 1
        await fan.lose_network()
        assert (await fan.resume())["lost"] == [invitation["channel"]]
        assert fan.positions.resume_points() == []


async def test_a_client_that_is_replaced_does_not_reconnect(context: Context) -> None:
    token = token_of(await add_fan(context, 0))
    async with open_client(url_of(context), token) as first, trio.open_nursery() as nursery:
        second = Client(nursery, url_of(context), token)
        second.ready = first.ready
        await second.resume()
        assert (await first.wait_closed(), first.may_reconnect) == (4409, False)
        with pytest.raises(Disconnected, match="4409"):
            await first.ask("ping")
        await second.close()


async def test_a_connection_of_ours_that_was_replaced_ends_unnoticed(context: Context) -> None:
    async with open_client(url_of(context), token_of(await add_fan(context, 0))) as client:
        assert (await client.resume())["resumed"]
        assert (await client.ask("ping"))["type"] == "pong"
        assert client.connected


async def test_a_refused_client_receives_the_reason(context: Context) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(Disconnected, match="4401"):
            await Client(nursery, url_of(context), "no token").open()
        with pytest.raises(Rejected, match="400"):
            await Client(nursery, f"{url_of(context)}?token=secret", "no token").open()


async def test_a_hole_in_a_room_is_found(context: Context) -> None:
    with pytest.raises(OutOfOrder, match="1 lost"):
        async with a_call(context) as (fan, _, invitation):
            fan.positions.by_channel[invitation["channel"]].seq -= 1
            await fan.wait_for("block:charged")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, True) for code in (None, 1001, 1006, 4000, 4001, 4099)),
        *((code, False) for code in (1000, 1002, 1007, 1009, 4400, 4409, 4429)),
    ],
)
def test_a_close_code_says_whether_to_reconnect(code: int | None, expected: bool) -> None:
    assert may_reconnect(code) is expected


@pytest.mark.parametrize(
    ("read", "lost", "doubled"),
    [([1, 2, 3], 0, 0), ([1, 3], 1, 0), ([1, 4, 5], 2, 0), ([1, 1, 2], 0, 1), ([2, 1], 1, 1), ([], 0, 0)],
)
def test_a_room_position_counts_lost_and_duplicate_events(read: list[int], lost: int, doubled: int) -> None:
    place = ReadPosition()
    for seq in read:
        place.take(seq)
    assert (place.received, place.lost, place.doubled) == (len(read), lost, doubled)


def test_a_restarted_room_is_numbered_anew() -> None:
    places = ReadPositions()
    places.take({"type": "room:joined", "channel": "c", "epoch": 1, "seq": 4})
    places.take({"type": "chat:new", "channel": "c", "seq": 5})
    places.take({"type": "room:joined", "channel": "c", "epoch": 2, "seq": 0})
    places.take({"type": "chat:new", "channel": "c", "seq": 1})
    assert places.faults == []
    assert places.resume_points() == [{"channel": "c", "epoch": 2, "seq": 1}]
