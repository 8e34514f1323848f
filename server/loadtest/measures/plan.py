"""The plan of a load run, and its limits.

The limits are those of the load program, not of the server: a larger plan would measure the program instead.
"""

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from server.broadcast.codec import Encoding

RoomKind = Literal["calls", "streams", "mixed"]

CALL_MEMBERS_MAX = 16  # two parties, each with as many connections as a call takes (calls.connections_per_party)
MEMBERS_MAX = 100_000  # in total: more sockets than a process may open by default
SECONDS_MAX = 3600  # every round trip is kept for its percentiles
RATE_MAX = 10_000  # commands a second: more than one process can send
TIPS_A_SECOND_OF_ONE = 5  # a quarter of what a session may send (websocket.messages_per_second)


class LoadRefused(Exception):
    """The load run is refused or cannot start; the message is one line with the reason."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The size of a load run; `tips_per_second` and `chats_per_second` are sums over all rooms.

    `members` is the number of connections in each room, its owner included. `seconds` is the duration of the traffic,
    without setup and end.
    """

    url: str
    rooms: int
    members: int
    seconds: float
    tips_per_second: float = 0
    chats_per_second: float = 0
    kind: RoomKind = "streams"
    subprotocol: str = Encoding.JSON.value

    @property
    def encoding(self) -> Encoding:
        return Encoding(self.subprotocol)

    def kind_of(self, room_no: int) -> Literal["call", "stream"]:
        """Return the kind of a room; in a mixed load, calls and streams alternate."""
        if self.kind == "mixed":
            return "stream" if room_no % 2 else "call"
        return "call" if self.kind == "calls" else "stream"

    @property
    def fans_in_a_stream(self) -> int:
        """As many viewers as the tips of one room take, if there are so many."""
        wanted = -(-self.tips_per_second // (self.rooms * TIPS_A_SECOND_OF_ONE))
        return max(1, min(int(wanted), self.members - 1))


def check_plan(plan: Plan) -> None:
    """Check a plan. Raises LoadRefused for one beyond the limits, with the name of the option."""
    if plan.members < 2:
        raise LoadRefused("--members must be at least 2: a payer and a payee")
    if plan.kind != "streams" and plan.members > CALL_MEMBERS_MAX:
        raise LoadRefused(f"--members must be at most {CALL_MEMBERS_MAX} in a call; ask for --kind streams")
    for name, value, most in (
        ("--rooms times --members", plan.rooms * plan.members, MEMBERS_MAX),
        ("--seconds", plan.seconds, SECONDS_MAX),
    ):
        if not 0 < value <= most:
            raise LoadRefused(f"{name} must be more than 0 and at most {most:,}")
    for name, value in (("--tips-per-second", plan.tips_per_second), ("--chats-per-second", plan.chats_per_second)):
        if not 0 <= value <= RATE_MAX:
            raise LoadRefused(f"{name} must be at least 0 and at most {RATE_MAX:,}")


def check_target(url: str, yes_really: bool) -> None:
    """Check the address of the server, of REST or of the websocket.

    Raises LoadRefused for another machine without `yes_really`, because a load run against it would be an attack on its
    owner.
    """
    address = urlsplit(url)
    if address.scheme not in ("http", "https", "ws", "wss") or address.hostname is None:
        raise LoadRefused(f"{url!r} is no address of a server, as http://127.0.0.1:8000 is one")
    if not yes_really and not _is_loopback(address.hostname):
        raise LoadRefused(f"{address.hostname} is not this machine; pass --yes-really if the server there is yours")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
