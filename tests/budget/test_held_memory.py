"""The memory that clients of one address can occupy before they are authenticated, also in a second wave."""

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.server.gateway.test_handshakes import KEY, UPGRADE
from tests.server.gateway.test_unauthenticated import frame_of
from tests.support.clients import SECRET
from tests.support.processes import ServerProcess

HELD_MIB_MAX = 64
GROWN_MIB_MAX = 16
ATTACKER = ("127.0.0.2", 0)
WEBSOCKETS, REQUESTS = 1_200, 150  # more than the share of one address
FIRST_MESSAGE = frame_of(b"x" * 12_000)[:-1]  # as large as allowed, and never complete
BODY = b"PUT /api/creators/me HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65_535
PATIENT = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_WEBSOCKET_OPEN_SECONDS": "60",
    "HALFMINUTE_HTTP_ANSWER_SECONDS": "60",
    "HALFMINUTE_LIMITS_ADDRESS_PERCENT": "5",
}


def mib_of(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def flood(stack: ExitStack, port: int, parts: list[bytes]) -> None:
    """Open a connection that sends this; it stays open, unless the server closes it."""
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=ATTACKER))
    sock.settimeout(5)
    with suppress(OSError):
        for number, part in enumerate(parts):
            sock.sendall(part)
            if number < len(parts) - 1:
                sock.recv(4_096)


def test_one_address_without_a_session_holds_at_most_64_mib(dsn: str, tmp_path: Path) -> None:
    handshake = b"GET /ws HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 14_000 + b"\r\n" + UPGRADE + KEY + b"\r\n"
    with ServerProcess(tmp_path / "data", settings={**PATIENT, "DATABASE_URL": dsn}) as server:
        before, held = mib_of(server.pid), list[float]()
        for _ in range(2):
            with ExitStack() as stack:
                for _ in range(WEBSOCKETS):
                    flood(stack, server.websocket_port, [handshake, FIRST_MESSAGE])
                for _ in range(REQUESTS):
                    flood(stack, server.http_port, [BODY])
                held.append(mib_of(server.pid) - before)
                assert server.get("/healthz").status_code == 200, "another address is answered meanwhile"
        print(f"{held} MiB held")
        assert max(held) < HELD_MIB_MAX
        assert held[1] - held[0] < GROWN_MIB_MAX, "what is held again is where it was before"
