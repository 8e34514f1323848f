"""What a payer is told of running out: once when it is known, again when the deadline moves, and when all is well."""

from domain.billing.meter import Meter
from domain.instant import Instant, rfc3339, seconds
from domain.protocol import events as m


class FundsWarning:
    """The warnings about one meter."""

    def __init__(self, channel: str, meter: Meter, budget: int | None = None) -> None:
        self._channel = channel
        self._meter = meter
        self._budget = budget
        self._told: tuple[bool, Instant | None] = (False, None)
        self._repeats = False

    def repeat(self) -> None:
        """A device of the payer's joined that has not heard the warning, if one stands."""
        self._repeats = True

    def events(self, low: bool, at: Instant) -> m.BalanceLow | m.BalanceOk | None:
        """`low`: the next block cannot be paid. None where there is nothing new to tell."""
        ends_at = self._meter.due_at() if low else None
        repeats, self._repeats = self._repeats and low, False
        if (low, ends_at) == self._told and not repeats:
            return None
        (was_low, _), self._told = self._told, (low, ends_at)
        if not low and not was_low:
            return None
        return (m.BalanceLow if low else m.BalanceOk)(
            channel=self._channel,
            balance=self._meter.funds.balance,
            required=self._meter.next_tokens,
            seconds_left=seconds(self._meter.left(at, self._budget)),
            ends_at=None if ends_at is None else rfc3339(ends_at),
        )
