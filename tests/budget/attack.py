"""`python -m tests.budget.attack NAME HTTP_PORT WEBSOCKET_PORT TOKEN CHANNEL SECONDS`: one attack, from one address."""

import json
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from tests.server.test_handshakes import HOSTILE, KEY, UPGRADE
from tests.server.test_unauthenticated import frame_of

ATTACKER = ("127.0.0.2", 0)
SOCKETS_MAX = 2_500
WAIT_SECONDS = 0.2  # for an answer that may not come


class Target(NamedTuple):
    http: int
    websocket: int
    token: str
    channel: str


def dial(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=5, source_address=ATTACKER)
    sock.settimeout(WAIT_SECONDS)
    return sock


def exchange(port: int, data: bytes) -> None:
    """Send it, read a little, hang up."""
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


def hold(port: int, said: bytes) -> None:
    if len(held) >= SOCKETS_MAX:
        held.pop(0).close()
    with suppress(OSError):
        held.append(dial(port))
        held[-1].sendall(said)


def silent(target: Target) -> None:
    hold(target.http, b"")
    hold(target.websocket, b"")


def unread(target: Target) -> None:
    hold(target.http, b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 20)


def other_protocol(target: Target) -> None:
    exchange(target.http, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x08\x06\x00" * 1_000)


def hostile_handshakes(target: Target) -> None:
    for request in HOSTILE.values():
        exchange(target.websocket, request)


def parked(target: Target) -> None:
    handshake = b"GET /ws HTTP/1.1\r\nHost: x\r\n" + UPGRADE + KEY + b"\r\n"
    hold(target.websocket, handshake + frame_of(b"x" * 12_000)[:-1])


def commands(target: Target, *payloads: dict[str, object]) -> None:
    """As fast as they can be sent, over one websocket after the other."""
    authorization = f"Authorization: Bearer {target.token}\r\n".encode()
    with suppress(OSError), dial(target.websocket) as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\n" + authorization + UPGRADE + KEY + b"\r\n")
        for number in range(100):
            for payload in payloads:
                text = json.dumps({"channel": target.channel, **payload, "key": f"{id(sock)}-{number}"})
                sock.sendall(frame_of(text.encode()))
        while sock.recv(65_536):
            pass


def tips(target: Target) -> None:
    commands(target, {"type": "room:join"}, {"type": "tip:send", "amountTokens": 1})


def joins(target: Target) -> None:
    commands(target, {"type": "room:join"}, {"type": "room:leave"})


def rows(target: Target) -> None:
    exchange(target.http, posted(target, "/api/streams", b'{"title":"a show","type":"public"}'))


ATTACKS: dict[str, Callable[[Target], None]] = {
    "23 doubled keys": doubled_keys,
    "24 many faults": many_faults,
    "25 silent": silent,
    "25 unread": unread,
    "27 other protocol": other_protocol,
    "28 hostile handshakes": hostile_handshakes,
    "29 tips": tips,
    "30 parked": parked,
    "31 streams": rows,
    "32 joins": joins,
}


def main(name: str, http: str, websocket: str, token: str, channel: str, seconds: str) -> None:
    target, ends_at = Target(int(http), int(websocket), token, channel), time.monotonic() + float(seconds)
    while time.monotonic() < ends_at:
        ATTACKS[name](target)


if __name__ == "__main__":
    main(*sys.argv[1:])
