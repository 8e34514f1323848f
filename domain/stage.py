"""Whether a stream's creator is there: on an empty stage nobody pays, and after a while the stream is over."""

from domain.ids import MemberId
from domain.instant import Duration, Instant


class Stage:
    """The creator's connections that are heard; empty at first, and again while there are none."""

    def __init__(self, at: Instant) -> None:
        self.empty_since: Instant | None = at
        self.heard_at = at  # when the creator was last heard, as far as it is known here
        self._heard: set[MemberId] = set()

    def enter(self, member_id: MemberId, at: Instant) -> bool:
        """True for the first, with which the creator is there."""
        was_empty, self.empty_since = self.empty_since is not None, None
        self.heard_at = max(self.heard_at, at)
        self._heard.add(member_id)
        return was_empty

    def excuse(self, stalled: Duration) -> None:
        """The creator could not come back during a stall of the server."""
        if self.empty_since is not None:
            self.empty_since += stalled

    def leave(self, member_id: MemberId, heard_at: Instant, empty_since: Instant | None = None) -> bool:
        """True for the last. The absence counts from when the creator was last heard, or from `empty_since`."""
        if member_id not in self._heard:
            return False
        self._heard.discard(member_id)
        self.heard_at = max(self.heard_at, heard_at)
        if self._heard:
            return False
        self.empty_since = self.heard_at if empty_since is None else empty_since
        return True
