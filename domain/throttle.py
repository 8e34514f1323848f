"""A throttle for one client: a token bucket of single steps, by a clock in seconds. For rooms see `token_bucket.py`."""


class Throttle:
    """Allows `per_second` steps on average and `burst` steps at once.

    Its clock is any monotonic one in seconds; the caller passes the time in.
    """

    __slots__ = ("_burst", "_left", "_per_second", "_seen_at")

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._seen_at: float | None = None

    def take(self, now: float) -> float:
        """Take one step; return 0, or the number of seconds by which it is too early.

        An early step counts all the same, so a client that does not slow down waits longer and longer.
        """
        self._fill(now)
        self._left -= 1
        return max(0.0, -self._left / self._per_second)

    def take_if_due(self, now: float) -> bool:
        """Take one step if it is not too early, and return whether it was taken. A refused step does not count."""
        self._fill(now)
        due = self._left >= 1
        if due:
            self._left -= 1
        return due

    @property
    def left(self) -> int:
        """The number of steps that may be taken at once."""
        return max(0, int(self._left))

    @property
    def more_after_seconds(self) -> float:
        """The number of seconds until `left` grows by one."""
        return (self.left + 1 - self._left) / self._per_second

    def _fill(self, now: float) -> None:
        passed = 0.0 if self._seen_at is None else now - self._seen_at
        self._seen_at = now
        self._left = min(self._burst, self._left + passed * self._per_second)
