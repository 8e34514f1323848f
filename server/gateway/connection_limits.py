"""Limits on open connections: in all, and by client address while nobody has proved who they are."""

from collections import Counter
from collections.abc import Sequence

from server.addresses import is_within, limited_as


class Admission:
    """One admitted connection's place in the counts. Every method may be called more than once."""

    __slots__ = ("_address", "_limits", "_open")

    def __init__(self, limits: "ConnectionLimits", address: str | None) -> None:
        self._limits = limits
        self._address = address  # under which it is counted; None if it is not counted by address
        self._open = True

    @property
    def address(self) -> str | None:
        """The address, or the /64 network, that it counts against; None if it counts against none."""
        return self._address

    def authenticated(self) -> None:
        """The user is known: other limits count the connection from now on, and its address has one more free."""
        self._limits._forget(self._address)
        self._address = None

    def release(self) -> None:
        """The connection is closed."""
        self.authenticated()
        self._limits._open -= self._open
        self._open = False


class ConnectionLimits:
    """Counts one listener's connections. An IPv6 address counts as its /64 network.

    `most` connections may be open, and `percent` of them (at least one) may come from one address without
    authentication. Connections from the networks in `uncounted` are not limited by address: a trusted proxy has many
    clients behind one address, whose requests are limited by their own.
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
        """A place for a connection from this address; None if there is none."""
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
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
