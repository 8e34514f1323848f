"""How fast somebody may go: a token bucket."""


class Pace:
    """`per_second` on average and `burst` at once. Who goes on though refused falls further behind."""

    __slots__ = ("_burst", "_left", "_per_second", "_seen_at")

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._seen_at: float | None = None

    def take(self, now: float) -> float:
        """Go one step; returns 0, or how many seconds too early it is."""
        passed = 0.0 if self._seen_at is None else now - self._seen_at
        self._seen_at = now
        self._left = min(self._burst, self._left + passed * self._per_second) - 1
        return max(0.0, -self._left / self._per_second)
