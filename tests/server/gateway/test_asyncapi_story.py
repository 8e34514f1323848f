"""The AsyncAPI document is true: every message that a server sends in a call or a stream is as described there."""

from uuid import uuid4

import msgspec
import pytest
import trio
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from domain.protocol import events as m
from server.context import Context
from tests.support.asyncapi import misfits, read_document
from tests.support.clients import Phone, go_live, ring_and_join, send_tip, token_of
from tests.support.json_schema import Json
from tests.support.servers import add_creator, add_fan, give, online, phone_of, running_server, settings

in_thread = trio.to_thread.run_sync

EVENTS_OF_A_CALL = {
    "ok", "error", "pong", "session:ready", "room:joined", "token:expiring",
    "call:ringing", "call:accepted", "call:declined", "call:missed", "call:cancelled",
    "call:started", "call:paused", "call:resumed", "block:charged", "call:ended",
    "member:joined", "member:left", "wallet:changed", "balance:low", "balance:ok",
}  # fmt: skip


EVENTS_OF_A_STREAM = {
    "ok", "error", "room:joined", "member:joined", "room:presence", "chat:new", "tip:new", "signal:new",
    "block:charged", "balance:low", "access:revoked", "wallet:changed", "stream:ended", "room:closed",
}  # fmt: skip


@pytest.fixture
def document() -> Json:
    return read_document()


async def test_all_that_is_sent_in_a_call_is_described(document: Json, dsn: str) -> None:
    wanted = settings(block_seconds=5, ring_seconds=3, ring_cooldown_seconds=0)
    async with running_server(dsn, wanted) as context:
        fan, creator = await add_fan(context, 5), await add_creator(context, 60)
        tablet = phone_of(context, creator)
        tablet.token = token_of(creator, ttl_seconds=30)
        async with online(context, fan) as fans, online(context, creator) as creators:
            await in_thread(_ring_in_vain, fans, creators)
            ring = await in_thread(ring_and_join, fans, creators)
            await in_thread(fans.wait_for, "balance:low")
            await give(context, fan, 100)
            await in_thread(_hold_call, fans, creators, ring)
            await in_thread(_see_token_expire, tablet)
            events = [event for phone in (fans, creators, tablet) for event in _received(phone)]
    assert [fault for event in events for fault in misfits(document, event)] == []
    assert {event["type"] for event in events} >= EVENTS_OF_A_CALL


async def test_all_that_is_sent_in_a_stream_is_described(document: Json, dsn: str) -> None:
    usual = settings()
    wanted = msgspec.structs.replace(usual, rooms=msgspec.structs.replace(usual.rooms, presence_limit=2))
    async with running_server(dsn, wanted) as context:
        creator, fan, guest = await add_creator(context, 60), await add_fan(context, 2), await add_fan(context, 20)
        async with (
            online(context, creator) as creators,
            online(context, creator) as scene,
            online(context, fan) as fans,
            online(context, guest) as guests,
        ):
            await in_thread(_stream, creators, scene, fans, guests)
            events = [event for phone in (creators, scene, fans, guests) for event in _received(phone)]
    assert [fault for event in events for fault in misfits(document, event)] == []
    assert {event["type"] for event in events} >= EVENTS_OF_A_STREAM


def _stream(creators: Phone, scene: Phone, fans: Phone, guests: Phone) -> None:
    stream = go_live(creators, type="private", rateTokensPerMin=60)
    channel = stream["channel"]
    owner = creators.join(channel)["memberId"]
    assert scene.ask({"type": "room:join", "channel": channel, "as": "overlay"})["type"] == "room:joined"
    fans.join(channel)
    fans.ask_ok({"type": "chat:send", "channel": channel, "text": "hello"})
    fans.ask_ok({"type": "signal:send", "channel": channel, "to": owner, "data": {"candidate": ""}})
    guests.join(channel)
    assert send_tip(guests, channel, 2, message="for the soup")["tip"]["message"] == "for the soup"
    assert send_tip(fans, channel, 50)["error"] == "INSUFFICIENT_TOKENS"
    fans.wait_for("access:revoked")
    scene.wait_for("tip:new")
    creators.wait_for("room:presence")
    fans.join(channel)
    creators.http.post(f"/streams/{stream['id']}/end")
    guests.wait_for("room:closed")


def _received(phone: Phone) -> list[Json]:
    """Return every message, without the fields that the client adds."""
    phone.all_events("")
    return [{name: value for name, value in event.items() if name != "_seen"} for event in phone.events]


def _ring_in_vain(fans: Phone, creators: Phone) -> None:
    for who, command, outcome in (
        (fans, "call:cancel", "call:cancelled"),
        (creators, "call:decline", "call:declined"),
        (None, "", "call:missed"),
    ):
        call_id = _ring(fans, creators)
        if who is not None:
            who.ask_ok({"type": command, "callId": call_id})
        for phone in (fans, creators):
            phone.wait_for(outcome, callId=call_id)


def _ring(fans: Phone, creators: Phone) -> str:
    rung = fans.http.post("/calls/init", json={"creatorId": str(creators.user_id)})
    assert rung.status_code == 201, rung.text
    return str(creators.wait_for("call:ringing", callId=rung.json()["callId"])["callId"])


def _hold_call(fans: Phone, creators: Phone, ring: Json) -> None:
    fans.wait_for("balance:ok")
    fans.wait_for("wallet:changed", cause="credit")
    for command in ("call:pause", "call:resume"):
        assert creators.ask_ok({"type": command, "callId": ring["callId"]}).keys() >= {"call"}
    fans.wait_for("call:resumed")
    assert fans.ask({"type": "ping"})["type"] == "pong"
    assert fans.ask_ok({"type": "token:refresh", "token": fans.token}).keys() >= {"tokenExpiresAt"}
    for refused in ({"type": "no:such"}, {"type": "call:accept", "callId": ring["callId"]}, {"type": "call:end"}):
        assert fans.ask(refused)["type"] == "error"
    assert fans.ask_ok({"type": "room:leave", "channel": ring["channel"]}).keys() >= {"channel"}
    creators.wait_for("member:left")
    assert fans.join(ring["channel"])["type"] == "room:joined"
    fans.ask_ok({"type": "call:end", "callId": ring["callId"]})
    for phone in (fans, creators):
        phone.wait_for("call:ended")


def _see_token_expire(phone: Phone) -> None:
    with phone:
        phone.wait_for("token:expiring")


async def test_messages_in_messagepack_have_the_same_fields(document: Json, context: Context) -> None:
    for event in await in_thread(_converse_in_messagepack, context.websocket_port):
        assert misfits(document, event) == []


def _converse_in_messagepack(port: int) -> list[Json]:
    messages = ({"type": "session:open", "token": token_of(uuid4())}, {"type": "ping", "ref": "1"}, {"type": "no:such"})
    with connect(f"ws://127.0.0.1:{port}/ws", subprotocols=[Subprotocol("halfminute.v1.msgpack")]) as socket:
        answers = []
        for message in messages:
            socket.send(msgspec.msgpack.encode(message))
            answers.append(msgspec.msgpack.decode(socket.recv(decode=False)))
    assert [each["type"] for each in answers] == ["session:ready", "pong", "error"]
    return answers


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"balance": "12"}, "$.balance: '12' is not of type 'integer'"),
        ({"endsAt": "soon"}, "$.endsAt: 'soon' is not valid under any of the given schemas"),
        ({"extra": 1}, "$: extra is not described"),
        ({"type": "balance:unknown"}, "balance:unknown is not described"),
    ],
)
def test_a_message_that_is_not_as_described_is_found(document: Json, change: Json, fault: str) -> None:
    warning = m.BalanceLow(channel="c", balance=1, required=30, seconds_left=2.5, ends_at="2026-11-22T12:00:00.000Z")
    fields = msgspec.to_builtins(warning)
    assert misfits(document, fields) == []
    assert misfits(document, fields | change) == [fault]
    del fields["required"]
    assert misfits(document, fields) == ["$: 'required' is a required property"]
