"""Sessions over real websockets: which are admitted, what is answered, and the close code at the end."""

import gc
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import h11
import msgspec
import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from server.access.tokens import issue_token
from server.context import Context
from tests.support.clients import PATIENCE_SECONDS, SECRET, Phone, ring_and_join, token_of
from tests.support.servers import add_creator, add_fan, online, running_server, settings

JSON, MSGPACK = Subprotocol("halfminute.v1.json"), Subprotocol("halfminute.v1.msgpack")


def dial(context: Context, path: str = "/ws", subprotocol: Subprotocol = JSON, **more: Any) -> ClientConnection:
    found: ClientConnection = connect(
        f"ws://127.0.0.1:{context.websocket_port}{path}", subprotocols=[subprotocol], **more
    )
    return found


def close_code_after(connection: ClientConnection, *messages: str | bytes) -> int | None:
    """Return the code with which the server ends a connection that sends this first."""
    with connection:
        for message in messages:
            connection.send(message)
        with pytest.raises(ConnectionClosed):
            while True:
                connection.recv(timeout=PATIENCE_SECONDS)
        return connection.close_code


def _unpacked(connection: ClientConnection) -> Any:
    message = connection.recv(timeout=PATIENCE_SECONDS)
    assert isinstance(message, bytes)
    return msgspec.msgpack.decode(message)


async def in_thread(work: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(work)


async def test_a_session_opens_with_its_first_message(context: Context) -> None:
    user = uuid4()

    def story() -> None:
        with dial(context) as connection:
            connection.send(json.dumps({"type": "session:open", "ref": "a", "token": token_of(user)}))
            ready = json.loads(connection.recv(timeout=PATIENCE_SECONDS))
            assert (ready["type"], ready["ref"], ready["userId"]) == ("session:ready", "a", str(user))
            assert (ready["resumed"], ready["missed"], ready["lost"]) == (False, [], [])
            assert ready["heartbeatSeconds"] == 20
            assert ready["tokenExpiresAt"].endswith("Z")

    await in_thread(story)


async def test_a_session_opens_with_the_header_of_the_handshake(context: Context) -> None:
    def story() -> None:
        headers = {"Authorization": f"Bearer {token_of(uuid4())}"}
        with dial(context, additional_headers=headers) as connection:
            assert json.loads(connection.recv(timeout=PATIENCE_SECONDS))["type"] == "session:ready"

    await in_thread(story)


async def test_an_open_connection_keeps_no_handshake_parser(context: Context) -> None:
    def story() -> None:
        gc.collect()  # frees what other tests have left
        before = sum(isinstance(thing, h11.Connection) for thing in gc.get_objects())
        with dial(context) as connection:
            connection.send(json.dumps({"type": "session:open", "token": token_of(uuid4())}))
            connection.recv(timeout=PATIENCE_SECONDS)
            gc.collect()
            assert sum(isinstance(thing, h11.Connection) for thing in gc.get_objects()) == before

    await in_thread(story)


async def test_messagepack_carries_the_same_messages(context: Context) -> None:
    def story() -> None:
        with dial(context, subprotocol=MSGPACK) as connection:
            connection.send(msgspec.msgpack.encode({"type": "session:open", "token": token_of(uuid4())}))
            assert _unpacked(connection)["type"] == "session:ready"
            connection.send(msgspec.msgpack.encode({"type": "ping", "ref": "p"}))
            assert _unpacked(connection) == {"type": "pong", "ref": "p"}

    await in_thread(story)


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("no json", 4400),
        (b"\x00", 4400),
        ('{"type": "session:open", "token": "x.y.z"}', 4401),
        ('{"type": "ping"}', 4401),
        ('{"type": "session:open", "token": 5}', 4401),
        ("x" * 65_537, 1009),
    ],
)
async def test_a_bad_first_message_ends_it_with_its_own_code(context: Context, first: str | bytes, code: int) -> None:
    assert await in_thread(lambda: close_code_after(dial(context), first)) == code


@pytest.mark.parametrize(("size", "code"), [(65_536, 4400), (65_537, 1009)])
async def test_a_frame_of_an_open_session_may_have_64_kib(context: Context, size: int, code: int) -> None:
    opening = json.dumps({"type": "session:open", "token": token_of(uuid4())})
    assert await in_thread(lambda: close_code_after(dial(context), opening, "x" * size)) == code


async def test_a_bad_header_ends_it_as_unauthenticated(context: Context) -> None:
    headers = {"Authorization": "Bearer nonsense"}
    assert await in_thread(lambda: close_code_after(dial(context, additional_headers=headers))) == 4401


async def test_an_expired_token_does_not_open_a_session(context: Context) -> None:
    old = issue_token(SECRET, uuid4(), role=None, ttl_seconds=60, now=time.time() - 3600)
    message = json.dumps({"type": "session:open", "token": old})
    assert await in_thread(lambda: close_code_after(dial(context), message)) == 4401


async def test_a_session_ends_when_its_token_does(context: Context) -> None:
    message = json.dumps({"type": "session:open", "token": token_of(uuid4(), ttl_seconds=2)})
    assert await in_thread(lambda: close_code_after(dial(context), message)) == 4401


@pytest.mark.parametrize("path", ["/ws?token=abc", "/ws?access_token=abc", "/other", "/"])
async def test_a_wrong_address_is_refused_in_the_handshake(context: Context, path: str) -> None:
    def story() -> int:
        with pytest.raises(InvalidStatus) as refused:
            dial(context, path).close()
        return refused.value.response.status_code

    assert await in_thread(story) == 400


async def test_an_unknown_subprotocol_is_refused_in_the_handshake(context: Context) -> None:
    def story() -> None:
        with pytest.raises(InvalidStatus):
            dial(context, subprotocol=Subprotocol("soap")).close()

    await in_thread(story)


async def test_a_connection_without_a_session_is_closed_in_time(dsn: str) -> None:
    wanted = settings()
    wanted = msgspec.structs.replace(wanted, websocket=msgspec.structs.replace(wanted.websocket, open_seconds=0.2))
    async with running_server(dsn, wanted) as context:
        assert await in_thread(lambda: close_code_after(dial(context))) == 4408


async def test_half_a_handshake_is_not_waited_for(dsn: str) -> None:
    wanted = settings()
    wanted = msgspec.structs.replace(wanted, websocket=msgspec.structs.replace(wanted.websocket, handshake_seconds=0.2))

    def story(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as half:
            half.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
            return half.recv(100)

    async with running_server(dsn, wanted) as context:
        port = context.websocket_port
        assert await in_thread(lambda: story(port)) == b""


async def test_commands_that_are_refused_are_answered_and_lose_nothing(context: Context) -> None:
    user = await add_fan(context, 0)
    async with online(context, user) as phone:

        def story() -> None:
            for message in (
                {"type": "no:such"},
                {"type": "room:join"},
                {"type": "room:join", "channel": 5},
                {"type": "call:end", "callId": "no uuid"},
                {"type": "session:open", "token": "again"},
            ):
                answer = phone.ask(message)
                assert (answer["type"], answer["error"], answer["status"]) == ("error", "VALIDATION_FAILED", 400)
            assert phone.ask({"type": "ping"})["type"] == "pong"
            for channel in ("nowhere", "x" * 22, "x" * 64):
                assert phone.ask({"type": "room:join", "channel": channel})["error"] == "NOT_FOUND"
            for channel in ("no\u0000where", "", "x" * 65, "x" * 22 + "\n", "n\u00f6where", "a b"):
                assert phone.ask({"type": "room:join", "channel": channel})["error"] == "VALIDATION_FAILED"
            assert phone.ask({"type": "call:end", "callId": str(uuid4())})["error"] == "NOT_FOUND"
            assert phone.ask({"type": "ping", "more": "than we know"})["type"] == "pong"

        await in_thread(story)


async def test_a_token_is_refreshed_only_for_the_same_user(context: Context) -> None:
    user = await add_fan(context, 0)
    async with online(context, user) as phone:

        def story() -> None:
            assert phone.ask({"type": "token:refresh", "token": token_of(uuid4())})["error"] == "FORBIDDEN"
            assert phone.ask({"type": "token:refresh", "token": "x"})["error"] == "UNAUTHENTICATED"
            assert "tokenExpiresAt" in phone.ask_ok({"type": "token:refresh", "token": token_of(user)})

        await in_thread(story)


async def test_a_command_sent_just_before_the_close_still_counts(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:

        def story() -> str:
            ring = ring_and_join(fans, creators)
            fans.wait_for("block:charged", blockNo=1)
            fans.send({"type": "call:end", "callId": ring["callId"]})
            fans.hang_up_network()
            return str(creators.wait_for("call:ended")["reason"])

        assert await in_thread(story) == "hangup"


async def test_a_party_that_joins_too_late_gets_the_end_of_the_call_and_a_stranger_not_found(
    context: Context,
) -> None:
    fan, creator, stranger = await add_fan(context, 100), await add_creator(context, 60), await add_fan(context, 0)
    async with (
        online(context, fan) as fans,
        online(context, creator) as creators,
        online(context, stranger) as strangers,
    ):

        def story() -> None:
            ring = ring_and_join(fans, creators)
            fans.ask_ok({"type": "call:end", "callId": ring["callId"]})
            fans.wait_for("call:ended")
            assert fans.join(ring["channel"])["error"] == "CALL_ENDED"
            assert strangers.join(ring["channel"])["error"] == "NOT_FOUND"

        await in_thread(story)


async def test_members_see_the_same_events_in_the_same_order_without_a_hole(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:

        def story() -> None:
            ring = ring_and_join(fans, creators)
            fans.wait_for("block:charged", blockNo=2)
            creators.ask_ok({"type": "call:end", "callId": ring["callId"]})
            for phone in (fans, creators):
                phone.wait_for("call:ended")
            of_fan, of_creator = _sequenced(fans), _sequenced(creators)
            assert [event["seq"] for event in of_creator] == list(range(2, len(of_creator) + 2))
            assert of_fan == of_creator[-len(of_fan) :]

        await in_thread(story)


def _sequenced(phone: Phone) -> list[dict[str, Any]]:
    kept = [event for event in phone.all_events("call:ended") and phone.events if "seq" in event]
    return [
        {name: value for name, value in event.items() if name != "_seen"}
        for event in kept
        if event["type"] != "room:joined"
    ]


async def test_a_reader_that_never_reads_is_closed_and_delays_nobody(dsn: str) -> None:
    wanted = settings()
    wanted = msgspec.structs.replace(
        wanted,
        websocket=msgspec.structs.replace(
            wanted.websocket, outbox_bytes=65_536, send_buffer_bytes=4096, close_seconds=0.3
        ),
    )
    async with running_server(dsn, wanted) as context:
        deaf, other = await add_fan(context, 0), await add_fan(context, 0)
        async with online(context, other) as phone:

            def flood() -> socket.socket:
                request = (
                    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    f"Authorization: Bearer {token_of(deaf)}\r\n\r\n"
                )
                raw = socket.create_connection(("127.0.0.1", context.websocket_port), timeout=PATIENCE_SECONDS)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.sendall(request.encode())
                while b"session:ready" not in raw.recv(4096):
                    pass
                return raw

            raw = await in_thread(flood)
            connection = next(
                session.connection for session in context.sessions.by_member.values() if session.user_id == deaf
            )
            assert connection is not None
            for _ in range(4000):
                connection.send_queue.push(connection.encoding.frame({"type": "noise", "text": "x" * 2000}))
            with trio.fail_after(PATIENCE_SECONDS):
                await connection.wait_closed()
            assert (await in_thread(lambda: phone.ask({"type": "ping"})))["type"] == "pong"
            raw.close()
