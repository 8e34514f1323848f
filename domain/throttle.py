"""How fast somebody may go: a token bucket."""


class Throttle:
    """`per_second` on average and `burst` at once. Who goes on though refused falls further behind."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen_at")

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._seen_at: float | None = None

    def take(self, now: float) -> float:
        """Go one step; returns 0, or how many seconds too early it is."""
        self._fill(now)
        self._left -= 1
        return max(0.0, -self._left / self._per_second)

    def take_if_due(self, now: float) -> bool:
        """Go one step if it is not too early. Who is refused here does not fall behind."""
        self._fill(now)
        due = self._left >= 1
        if due:
            self._left -= 1
        return due

    @property
    def left(self) -> int:
        """Steps that may follow at once."""
        return max(0, int(self._left))

    @property
    def more_after_seconds(self) -> float:
        """Until there is one more of them."""
        return (self.left + 1 - self._left) / self._per_second

    def _fill(self, now: float) -> None:
        passed = 0.0 if self._seen_at is None else now - self._seen_at
        self._seen_at = now
        self._left = min(self._burst, self._left + passed * self._per_second)
