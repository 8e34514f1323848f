"""`python -m tests.budget.attack NAME TARGET SECONDS`: one attack, from one address; TARGET is a Target as JSON."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.server.gateway.test_handshakes import HOSTILE, KEY, UPGRADE
from tests.server.gateway.test_unauthenticated import frame_of

ATTACKER = ("127.0.0.2", 0)
SOCKETS_MAX = 2_500
WAIT_SECONDS = 0.2  # for an answer that may not arrive
# Errors of the client when the server refuses an attack.
REFUSED = (OSError, EOFError, WebSocketException, KeyError, StopIteration)

Json = dict[str, Any]


class Target(NamedTuple):
    """The target of an attack: the server, and a user with the rights for all requests of the attack."""

    http: int  # port
    websocket: int  # port
    token: str
    channel: str  # of a live stream
    call_id: str  # of a call of the attacker's own, with an accomplice
    creator_id: str  # somebody to ring and to report


def dial(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=ATTACKER)
    sock.settimeout(WAIT_SECONDS)
    return sock


def exchange(port: int, data: bytes) -> None:
    """Send the request, read a little of the response, and close."""
    with suppress(OSError), dial(port) as sock:
        sock.sendall(data)
        while sock.recv(65_536):
            pass


def posted(target: Target, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.token}\r\nConnection: close\r\n"
    typed = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + typed).encode() + body


def doubled_keys(target: Target) -> None:
    keys = b",".join(b'"key%05d":1' % number for number in range(4_600))
    exchange(target.http, posted(target, "/api/tips/send", b"{" + keys + b',"key00000":1}'))


def many_faults(target: Target) -> None:
    body = b'{"' + b"k" * 30_000 + b'":[' + b",".join([b"12345678901234567890"] * 1_600) + b"]}"
    exchange(target.http, posted(target, "/api/tips/send", body))


held: list[socket.socket] = []


def hold(port: int, data: bytes) -> None:
    if len(held) >= SOCKETS_MAX:
        held.pop(0).close()
    with suppress(OSError):
        held.append(dial(port))
        held[-1].sendall(data)


def silent(target: Target) -> None:
    hold(target.http, b"")
    hold(target.websocket, b"")


def unread(target: Target) -> None:
    hold(target.http, b"GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 20)


def other_protocol(target: Target) -> None:
    exchange(target.http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x08\x06\x00" * 1_000)


def hostile_handshakes(target: Target) -> None:
    for request in HOSTILE.values():
        exchange(target.websocket, request)


def parked(target: Target) -> None:
    handshake = b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n"
    hold(target.websocket, handshake + frame_of(b"x" * 12_000)[:-1])


@contextmanager
def session(target: Target, resume: Json | None = None) -> Iterator[ClientConnection]:
    """Yield a websocket with an open session; it is cut, not closed, so that the session can be resumed."""
    sock = dial(target.websocket)
    sock.settimeout(None)
    websocket = connect(
        "ws://127.0.0.1/ws", sock=sock, proxy=None, ping_interval=None, open_timeout=5, close_timeout=0, legacy=True
    )
    try:
        opened: Json = {"type": "session:open", "token": target.token}
        websocket.send(json.dumps(opened if resume is None else {**opened, "resume": resume}))
        yield websocket
    finally:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        websocket.close()


def answer(websocket: ClientConnection, kind: str) -> Json:
    """Return the next event of this kind. Raises TimeoutError, ConnectionClosed."""
    while (event := json.loads(websocket.recv(WAIT_SECONDS)))["type"] != kind:
        pass
    found: Json = event
    return found


def commands(target: Target, *payloads: Json, sockets: int = 4) -> None:
    """Send commands as fast as possible, over a few websockets at once."""
    with ExitStack() as stack, suppress(*REFUSED):
        websockets = [stack.enter_context(session(target)) for _ in range(sockets)]
        for websocket in websockets:
            websocket.send(json.dumps({"type": "room:join", "channel": target.channel}))
        for number in range(100):
            for websocket in websockets:
                for payload in payloads:
                    key = f"{os.getpid()}-{id(websocket)}-{number}"
                    websocket.send(json.dumps({"channel": target.channel, **payload, "key": key}))
        for websocket in websockets:
            answer(websocket, "nothing like this")


def signals(target: Target) -> None:
    """Fill the send queue of a stream's owner as far as one viewer can."""
    to = ""
    with session(target) as websocket, suppress(*REFUSED):
        websocket.send(json.dumps({"type": "room:join", "channel": target.channel}))
        joined = answer(websocket, "room:joined")
        owner = joined["room"]["creator"]["userId"]
        to = next(member["memberId"] for member in joined["members"] if member["userId"] == owner)
    commands(target, {"type": "signal:send", "to": to, "data": "x" * 16_000})


def tips(target: Target) -> None:
    commands(target, {"type": "tip:send", "amountTokens": 1})


def joins(target: Target) -> None:
    commands(target, {"type": "room:leave"}, {"type": "room:join"})


def pauses(target: Target) -> None:
    commands(target, *({"type": kind, "callId": target.call_id} for kind in ("call:pause", "call:resume")))


def resumes(target: Target) -> None:
    """Cut and resume a session again and again."""
    resume: Json | None = None
    with suppress(*REFUSED):
        for _ in range(20):
            with session(target, resume) as websocket:
                ready = answer(websocket, "session:ready")
                websocket.send(json.dumps({"type": "room:join", "channel": target.channel}))
                joined = answer(websocket, "room:joined")
                place = {name: joined[name] for name in ("channel", "epoch", "seq")}
                resume = {"sessionId": ready["sessionId"], "channels": [place]}


def rings(target: Target) -> None:
    """Ring and cancel again and again."""
    with suppress(OSError), dial(target.http) as sock:
        sock.sendall(posted(target, "/api/calls/init", json.dumps({"creatorId": target.creator_id}).encode()))
        rung = sock.recv(65_536).partition(b"\r\n\r\n")[2]
        if b'"callId"' in rung:
            exchange(target.http, posted(target, f"/api/calls/{json.loads(rung)['callId']}/cancel", b""))


def rows(target: Target) -> None:
    """Send the requests that insert rows."""
    exchange(target.http, posted(target, "/api/streams", b'{"title":"a show","type":"public"}'))
    exchange(target.http, posted(target, "/api/overlay-tokens", b'{"name":"a scene"}'))
    report = {"userId": target.creator_id, "reason": f"rude at {time.monotonic()}"}
    exchange(target.http, posted(target, "/api/reports", json.dumps(report).encode()))


ATTACKS: dict[str, Callable[[Target], None]] = {
    "doubled keys": doubled_keys,
    "many faults": many_faults,
    "silent sockets": silent,
    "unread answers": unread,
    "signals": signals,
    "another protocol": other_protocol,
    "hostile handshakes": hostile_handshakes,
    "tips": tips,
    "parked messages": parked,
    "rows": rows,
    "joins": joins,
    "pauses": pauses,
    "resumes": resumes,
    "rings": rings,
}


def main(name: str, target: str, seconds: str) -> None:
    attack, attacked = ATTACKS[name], Target(**json.loads(target))
    ends_at = time.monotonic() + float(seconds)
    rounds = 0
    while time.monotonic() < ends_at:
        attack(attacked)
        rounds += 1
    print(f"{name}: {rounds} rounds", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
