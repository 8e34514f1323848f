"""The clock and the blocks of one payer in a metered stream, computed a second time in another way."""

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds
from domain.instant import Duration, Instant


class Viewer:
    """The expected state of one payer."""

    def __init__(self, price: BlockPrice, active: Duration = 0, blocks: int = 0) -> None:
        self.price = price
        self.active = active
        self.seen = 0  # active time over all restarts: what they had of the stream
        self.unpaid = 0  # of it, time past the last paid block at the eviction
        self.committed = self.posted = blocks
        self.waiting: list[Instant] = []  # when the blocks fell due that have no receipt yet
        self.database_away = self.evict = False
        self.dropped_at: Instant | None = None  # since when all of their connections are silent
        self.absent = False  # silent, and the grace is over
        self.runs: list[tuple[Instant, Instant]] = []  # when the clock ran
        self.taken_back = 0  # of what they saw: the creator was away
        self.funds = Funds(0, -1)

    def update_funds(self, funds: Funds) -> None:
        self.funds = max(self.funds, funds, key=lambda changes: changes.n)

    @property
    def next_tokens(self) -> int:
        return self.price.tokens(self.posted + 1)

    @property
    def spendable(self) -> int:
        return self.funds.balance - sum(self.price.tokens(n) for n in range(self.committed + 1, self.posted + 1))

    @property
    def billed(self) -> Duration:
        return min(self.active, self.committed * self.price.block)

    @property
    def runs_on(self) -> bool:
        """All connections are silent, and the clock runs for the grace."""
        return self.dropped_at is not None and not self.absent

    def take_back(self, since: Instant) -> None:
        """Take back the time since then, in which the creator was absent."""
        taken = sum(max(0, over - max(begun, since)) for begun, over in self.runs)
        self.runs = [(begun, min(over, since)) for begun, over in self.runs if begun < since]
        self.active -= taken
        self.taken_back += taken

    def _drop_unpaid(self) -> None:
        """Drop the time beyond the paid blocks, the latest first."""
        excess = self.active - self.billed
        self.unpaid += excess
        self.active -= excess
        while excess and self.runs:
            begun, over = self.runs.pop()
            kept = max(0, over - begun - excess)
            excess -= over - begun - kept
            if kept:
                self.runs.append((begun, begun + kept))

    def little_used(self, limit: Duration) -> set[int]:
        """Return the blocks of which less than that was used, and which were not used up."""
        used = {n: self.active - (n - 1) * self.price.block for n in range(1, self.posted + 1)}
        return {n for n, active in used.items() if active < min(limit, self.price.block)}

    def may_come_in(self) -> bool:
        return self.active < self.posted * self.price.block or 0 <= self.spendable >= self.next_tokens

    def settle(self, outcome: str) -> None:
        self.waiting.pop(0)
        if outcome in ("COMMITTED", "ALREADY"):
            self.committed += 1
        elif outcome in ("INSUFFICIENT", "LIMITED"):
            self.evict = True
        if not self.waiting:
            self.database_away = False
            if self.evict:
                self._drop_unpaid()
                self.posted, self.evict = self.committed, False
