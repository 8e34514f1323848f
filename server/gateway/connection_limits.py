"""Limits on open connections: on their number, and on those of one address before they are authenticated."""

from collections import Counter
from collections.abc import Sequence

from server.addresses import is_within, limited_as


class Admission:
    """The share of one admitted connection in the counts. Every method is idempotent."""

    __slots__ = ("_address", "_limits", "_open")

    def __init__(self, limits: "ConnectionLimits", address: str | None) -> None:
        self._limits = limits
        self._address = address  # None if the connection is not counted by address
        self._open = True

    @property
    def address(self) -> str | None:
        """The address, or the /64 network, that the connection counts against; None if it counts against none."""
        return self._address

    def authenticated(self) -> None:
        """Stop counting the connection by address: the limits of its user apply from here on."""
        self._limits._forget(self._address)
        self._address = None

    def release(self) -> None:
        """Remove a closed connection from all counts."""
        self.authenticated()
        self._limits._open -= self._open
        self._open = False


class ConnectionLimits:
    """Counts the connections of one listener. An IPv6 address counts as its /64 network.

    At most `most` connections may be open, and `percent` per cent of them, but at least one, may come from one address
    without authentication. Connections from the networks in `uncounted` are not limited by address: a trusted proxy
    serves many clients from one address, and their requests are limited by their own addresses.
    """

    def __init__(self, most: int, percent: float, uncounted: Sequence[str] = ()) -> None:
        self.most = most
        self.most_of_address = max(1, int(most * percent / 100))
        self._uncounted = uncounted
        self._by_address: Counter[str] = Counter()
        self._open = 0

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._open

    def admit(self, peer: str) -> Admission | None:
        """Count a connection from this address; None if a limit is reached. The caller releases the admission."""
        if self._open >= self.most:
            return None
        address = None if is_within(peer, self._uncounted) else limited_as(peer)
        if address is not None:
            if self._by_address[address] >= self.most_of_address:
                return None
            self._by_address[address] += 1
        self._open += 1
        return Admission(self, address)

    def of_address(self, peer: str) -> int:
        """How many connections count against this address."""
        return self._by_address.get(limited_as(peer), 0)

    def _forget(self, address: str | None) -> None:
        """Uncount a connection of this address, and drop the address with its last one."""
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
