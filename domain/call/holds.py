"""Starts and stops the clock of a call as holds are set and lifted, and announces each change to the room."""

from collections.abc import Callable

from domain.call.parties import Hold
from domain.call.state import CallState
from domain.instant import Instant
from domain.protocol import events as m


class Holds:
    """Sets and lifts the holds of one call. The clock runs while there is no hold (contract.md, Holds)."""

    def __init__(self, state: CallState, catch_up: Callable[[Instant], None]) -> None:
        """`catch_up(at)` runs the deadlines that are due once the clock runs again."""
        self._state = state
        self._parties, self._setup, self._termination = state.parties, state.setup, state.termination
        self._catch_up = catch_up

    def hold(self, hold: Hold, at: Instant) -> None:
        """Stop the clock for one more reason; nothing if it is held for this reason already or the call is over."""
        if not self._termination.over and self._parties.hold(hold, at):
            self._announce(m.CallPaused, at)

    def lift(self, holds: set[Hold], at: Instant) -> None:
        """Lift these holds where they are set; the clock runs again when none is left. Does nothing after the end."""
        if not self._termination.over and self._parties.lift(holds, at):
            self._announce(m.CallPaused if self._parties.holds else m.CallResumed, at)
            self._catch_up(at)

    def start_when_met(self, at: Instant) -> None:
        """Start the clock once both parties of an accepted call are present for the first time: block 1 is due."""
        waits = self._setup.waits_for_parties and not self._termination.over
        if waits and not self._parties.absent():
            self._setup.start(at)
            self._state.meter.clock.start(at)
            self._state.save(at)
            self._catch_up(at)

    def _announce(self, kind: type[m.CallStateChanged], at: Instant) -> None:
        self._state.save(at)
        self._state.effects += self._state.events.state(kind, self._parties.names_of_holds(), at)
