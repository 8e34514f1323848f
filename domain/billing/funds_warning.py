"""The warnings that a payer's tokens run out: `balance:low` and `balance:ok`."""

from domain.billing.meter import Meter
from domain.instant import Instant, rfc3339_or_none, seconds
from domain.protocol import events as m


class FundsWarning:
    """The warnings of one meter.

    `balance:low` is sent once when the next block cannot be paid, and again when the deadline moves or a device joins;
    `balance:ok` once when it can be paid again.
    """

    def __init__(self, channel: str, meter: Meter, budget: int | None = None) -> None:
        """`budget` is the most that the payer spends in this room, in tokens; None without a limit."""
        self._channel = channel
        self._meter = meter
        self._budget = budget
        self._sent: tuple[bool, Instant | None] = (False, None)
        self._repeats = False
        self._resends = False

    def repeat(self) -> None:
        """Send a warning that still applies again with the next `events`, since a device of the payer has joined."""
        self._repeats = True

    def resend(self) -> None:
        """Send the present state with the next `events`, `balance:ok` included: a payer's session was resumed."""
        self._resends = True

    def events(self, low: bool, at: Instant) -> m.BalanceLow | m.BalanceOk | None:
        """Return the event to send now, or None if nothing has changed. `low`: the next block cannot be paid."""
        ends_at = self._meter.due_at() if low else None
        wanted = self._resends or (self._repeats and low)
        self._repeats = self._resends = False
        if (low, ends_at) == self._sent and not wanted:
            return None
        (was_low, _), self._sent = self._sent, (low, ends_at)
        if not (low or was_low or wanted):
            return None
        return (m.BalanceLow if low else m.BalanceOk)(
            channel=self._channel,
            balance=self._meter.funds.balance,
            required=self._meter.next_tokens,
            seconds_left=seconds(self._meter.left(at, self._budget)),
            ends_at=rfc3339_or_none(ends_at),
        )
