"""The budget of one input: every route and every command, with the largest and most hostile there is of it.

`-m long` tries every kind of input on each, with a table on standard output; otherwise a part of them.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import get_args

import msgspec
import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from domain.protocol.commands import AnyCommand
from server.broadcast.codec import Encoding
from server.context import Context
from server.rest.app import ROUTES
from server.rest.route import Route
from server.rest.strict_json import decode_body
from tests.budget.hostile_inputs import LARGEST, Frame, Request, frames, requests
from tests.budget.measure import Cost, Meter, ask
from tests.server.gateway.test_handshakes import HOSTILE, KEY, PLAIN, UPGRADE, exchange
from tests.support import asyncapi, openapi
from tests.support.clients import PATIENCE_SECONDS, go_live, token_of
from tests.support.servers import add_creator, add_fan, online, running_server, with_section

CPU_MS_MAX = 60.0  # of the event loop: a block is due in the middle of it, and may be as late
HELD_KIB_MAX = 4_096
PROBLEM_BYTES_MAX = 8_192 + 2_048  # with the answer's headers
PAGE_BYTES_MAX = 1_048_576
EVENT_BYTES_MAX = 65_536  # room:joined of a quiet room
LOG_BYTES_MAX = 2_048
HEAD = "\n| {} | input | CPU ms | KiB held | answer bytes | log bytes | answer |\n|---|---|---|---|---|---|---|"

KINDS = pytest.mark.parametrize("long", [False, pytest.param(True, marks=pytest.mark.long)], ids=["short", "long"])


def row(what: str, kind: str, cost: Cost) -> str:
    return (
        f"| {what} | {kind} | {cost.cpu_ms:.1f} | {cost.held_kib} | {cost.answer_bytes} | {cost.log_bytes} |"
        f" {cost.answer[:40].split(bytes((13,)))[0].decode(errors='replace')} |"
    )


def beyond(cost: Cost, answer_bytes_max: int) -> list[str]:
    """Return the measurements that exceed the budget."""
    found = {
        f"{cost.cpu_ms:.1f} ms of CPU": cost.cpu_ms > CPU_MS_MAX,
        f"{cost.held_kib} KiB held": cost.held_kib > HELD_KIB_MAX,
        f"{cost.answer_bytes} bytes answered": cost.answer_bytes > answer_bytes_max,
        f"{cost.log_bytes} bytes logged": cost.log_bytes > LOG_BYTES_MAX,
    }
    return [text for text, holds in found.items() if holds]


def cost_of_request(meter: Meter, port: int, token: str, request: Request) -> Cost:
    head = request.head + f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode()
    return steady_cost(meter, partial(ask, port, head + request.body))


def steady_cost(meter: Meter, exchange: Callable[[], bytes]) -> Cost:
    """Return the lower cost of two: a first exchange may build a document that is kept, or load a module."""
    cost = meter.cost(exchange)
    return min(cost, meter.cost(exchange)) if beyond(cost, PAGE_BYTES_MAX) else cost


@KINDS
async def test_every_route_keeps_within_its_budget_whatever_is_sent(context: Context, long: bool) -> None:
    token = token_of(await add_creator(context, 60), role="operator")
    meter, faults, measured = Meter(), list[str](), set[str]()
    print(HEAD.format("route"))
    for request in requests(openapi.read_document(), long):
        cost = await trio.to_thread.run_sync(cost_of_request, meter, context.http_port, token, request)
        measured.add(request.route)
        print(row(request.route, request.kind, cost))
        most = PAGE_BYTES_MAX if cost.answer.startswith(b"HTTP/1.1 2") else PROBLEM_BYTES_MAX
        faults += [f"{request.route}, {request.kind}: {fault}" for fault in beyond(cost, most)]
        if not cost.answer.startswith(b"HTTP/1.1 ") or cost.answer.startswith(b"HTTP/1.1 500"):
            faults.append(f"{request.route}, {request.kind}: {cost.answer[:100]!r}")
    assert faults == []
    assert measured == {route.endpoint for route in ROUTES}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body is not None], ids=lambda each: each.endpoint)
def test_the_largest_body_of_a_route_is_one_that_fits(route: Route) -> None:
    (body,) = [
        request.body
        for request in requests(openapi.read_document(), long=False)
        if (request.route, request.kind) == (route.endpoint, LARGEST)
    ]
    assert route.body is not None and isinstance(decode_body(body, route.body), route.body)


def test_the_largest_frame_of_a_command_is_one_that_fits() -> None:
    decoded = {
        type(
            Encoding.MSGPACK.decode(frame.payload) if frame.is_packed else Encoding.JSON.decode(frame.payload.decode())
        )
        for frame in frames(asyncapi.read_document(), "c" * 21, long=False)
        if frame.kind == LARGEST
    }
    assert decoded == set(get_args(AnyCommand))


class Session:
    """A session that leaves the server idle after each `exchange`."""

    def __init__(self, port: int, token: str, channel: str, *, packs: bool) -> None:
        self._port, self._token, self._channel, self._packs = port, token, channel, packs
        self._websocket: ClientConnection | None = None

    def exchange(self, frame: Frame) -> bytes:
        """Send a frame and a ping. Return the events up to the pong, or the close code."""
        websocket = self._connected()
        answer = b""
        try:
            websocket.send(frame.payload, text=not self._packs)
            self._send({"type": "ping", "ref": "behind it"})
            while b"behind it" not in (event := self._received()):
                answer += event
            if frame.command == "room:leave":  # join again, as the next frames must come from a member
                self._send({"type": "room:join", "channel": self._channel})
                while b"room:joined" not in self._received():
                    pass
        except ConnectionClosed as closed:
            self._websocket = None
            return f"closed {closed.rcvd.code if closed.rcvd else None}".encode()
        return answer

    def _send(self, command: dict[str, str]) -> None:
        assert self._websocket is not None
        self._websocket.send(msgspec.msgpack.encode(command) if self._packs else json.dumps(command))

    def _received(self) -> bytes:
        assert self._websocket is not None
        event = self._websocket.recv(PATIENCE_SECONDS)
        return event if isinstance(event, bytes) else event.encode()

    def _connected(self) -> ClientConnection:
        if self._websocket is None:
            headers = {"Authorization": f"Bearer {self._token}"}
            address = f"ws://127.0.0.1:{self._port}/ws"
            subprotocol = Subprotocol(Encoding.MSGPACK.value if self._packs else Encoding.JSON.value)
            self._websocket = connect(
                address,
                additional_headers=headers,
                subprotocols=[subprotocol],
                proxy=None,
                ping_interval=None,
                legacy=True,
            )
            self._received()
            self._send({"type": "room:join", "channel": self._channel})
            self._received()
        return self._websocket

    def close(self) -> None:
        if self._websocket is not None:
            self._websocket.close()


@KINDS
async def test_every_command_keeps_within_its_budget_whatever_is_sent(dsn: str, long: bool) -> None:
    unhurried = with_section("websocket", listen="127.0.0.1:0", messages_per_second=1_000, messages_burst=10_000)
    meter, faults = Meter(), list[str]()
    async with running_server(dsn, unhurried) as context, online(context, await add_creator(context, 60)) as creators:
        fan = await add_fan(context, 100_000)
        stream = await trio.to_thread.run_sync(go_live, creators)
        lines = [
            Session(context.websocket_port, token_of(fan), stream["channel"], packs=packs) for packs in (False, True)
        ]
        print(HEAD.format("command"))
        for frame in frames(asyncapi.read_document(), stream["channel"], long):
            line = lines[frame.is_packed]
            await trio.to_thread.run_sync(line._connected)
            cost = await trio.to_thread.run_sync(steady_cost, meter, partial(line.exchange, frame))
            print(row(frame.command, frame.kind + " (packed)" * frame.is_packed, cost))
            faults += [f"{frame.command}, {frame.kind}: {fault}" for fault in beyond(cost, EVENT_BYTES_MAX)]
        for line in lines:
            await trio.to_thread.run_sync(line.close)
    assert faults == []


async def test_every_handshake_keeps_within_its_budget_whatever_is_sent(context: Context) -> None:
    meter, faults = Meter(), list[str]()
    long = b"GET /other HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 15_000 + b"\r\n" + UPGRADE + KEY + b"\r\n"
    print(HEAD.format("port"))
    for port in (context.websocket_port, context.http_port):
        for kind, request in {**HOSTILE, **PLAIN, "long header": long}.items():
            cost = await trio.to_thread.run_sync(steady_cost, meter, partial(exchange, port, request))
            print(row("websocket" if port == context.websocket_port else "HTTP", kind, cost))
            faults += [f"{port}, {kind}: {fault}" for fault in beyond(cost, PROBLEM_BYTES_MAX)]
    assert faults == []
