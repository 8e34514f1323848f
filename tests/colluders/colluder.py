"""A user who colludes with others on a running server, the calls between them, and the money that goes in and out."""

from typing import Any, NamedTuple

from tests.server.rest.conftest import Caller
from tests.support.clients import Phone


class Step(NamedTuple):
    """One action of one user, perhaps on another; `tokens` also chooses among tips, streams and the like."""

    what: str  # the name of a method of History
    user: int
    further: int  # how many places behind `user` the other user is
    tokens: int


class Cash:
    """The money that came in and went out, over all histories of one server."""

    def __init__(self) -> None:
        self.bought_cents = 0
        self.reversed_cents = 0
        self.cashed_cents = 0


class Colluder:
    """One user with a device and a watcher."""

    def __init__(self, caller: Caller, device: Phone, watcher: Phone) -> None:
        self.caller, self.device, self.watcher = caller, device, watcher
        self.user_id = caller.user_id
        self.unsure = False  # a session was closed, or a room failed: some events may be lost
        self.tips: list[str] = []
        self.tickets: list[str] = []
        self.purchases: list[dict[str, Any]] = []

    def wallet_changes(self, cause: str | None = None) -> list[dict[str, Any]]:
        """Return each `wallet:changed` that the watcher has received, once."""
        changes = self.watcher.all_events("wallet:changed")
        return [change for change in changes if cause in (None, change["cause"])]

    async def agrees(self) -> bool:
        """Return whether the balance equals the sum of all wallet events."""
        balance: int = (await self.wallet())["balance"]
        return balance == sum(int(change["tokens"]) for change in self.wallet_changes())

    async def wallet(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.caller.get("/wallet")).json()
        return answer


class ActiveCall(NamedTuple):
    """A call and its parties."""

    call_id: str
    channel: str
    fan: Colluder
    creator: Colluder
