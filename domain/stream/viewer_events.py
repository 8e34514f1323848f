"""Tells the owner of a metered stream which viewers are present and paying (contract.md, Metered streams).

The owner's send queue is one, and many viewers join and leave. So each viewer's connection has at most one pending
change, which a later change replaces, and a token bucket limits the events per second.
"""

from collections import deque

from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol import events as m
from domain.room.effects import Effect, Send, SendToMember
from domain.stream.record import StreamFacts, StreamRules
from domain.token_bucket import Rate, TokenBucket

CATCHING_UP = 16  # sessions of the owner that receive all viewers at the same time; a user may have no more


class Viewer:
    """One connection of a viewer, and what the owner's sessions have received about it."""

    __slots__ = ("paused", "present", "sent", "sent_paused", "user_id")

    def __init__(self, user_id: UserId) -> None:
        self.user_id = user_id
        self.present = False
        self.paused = False  # present, and its payer's clock is stopped for a reason other than the owner
        self.sent = False  # the owner has received that it is present
        self.sent_paused = False


class Viewers:
    """The viewers of one metered stream; in other streams nothing is noted or sent."""

    def __init__(self, facts: StreamFacts, rules: StreamRules) -> None:
        self._channel, self._owner_id = facts.channel, facts.owner_id
        self._is_metered = facts.price is not None
        self._viewers: dict[MemberId, Viewer] = {}
        self._changed: dict[MemberId, None] = {}  # pending changes, oldest first
        self._catching_up: dict[MemberId, deque[MemberId]] = {}  # by the owner's session: viewers yet to send
        self._noted_at: Instant = 0  # when the newest pending change happened
        self._bucket = TokenBucket(Rate(rules.viewer_events_per_second, rules.viewer_events_burst))

    # State of the viewers

    def note_joined(self, member_id: MemberId, user_id: UserId, at: Instant) -> None:
        """Note a connection that joined; the owner's own are no viewers."""
        if self._is_metered and user_id != self._owner_id:
            viewer = self._viewers.setdefault(member_id, Viewer(user_id))
            viewer.present, viewer.paused, self._noted_at = True, False, at
            self._note_change(member_id, viewer)

    def note_left(self, member_id: MemberId, at: Instant) -> None:
        """Note that a viewer's connection left."""
        if (viewer := self._viewers.get(member_id)) is not None:
            viewer.present, self._noted_at = False, at
            self._note_change(member_id, viewer)

    def note_paused(self, member_id: MemberId, paused: bool, at: Instant) -> None:
        """Note whether the clock of the connection's payer is stopped, for a reason other than the owner's absence."""
        if (viewer := self._viewers.get(member_id)) is not None and viewer.present:
            viewer.paused, self._noted_at = paused, at
            self._note_change(member_id, viewer)

    def catch_up(self, session: MemberId, at: Instant) -> None:
        """Send everybody who is present to this session of the owner, which has a new connection."""
        if self._is_metered:
            self._noted_at = at
            self._catching_up.pop(session, None)
            if len(self._catching_up) >= CATCHING_UP:
                del self._catching_up[next(iter(self._catching_up))]
            self._catching_up[session] = deque(self._viewers)

    def _note_change(self, member_id: MemberId, viewer: Viewer) -> None:
        if viewer.present == viewer.sent and (viewer.paused == viewer.sent_paused or not viewer.present):
            self._changed.pop(member_id, None)
            if not viewer.present:
                del self._viewers[member_id]
        else:
            self._changed.setdefault(member_id)

    # Events for the owner

    def due_at(self) -> Instant | None:
        """Return when the next event may be sent; None if nothing is pending."""
        return max(self._noted_at, self._bucket.opens_at(1)) if self._changed or self._catching_up else None

    def send_due(self, at: Instant) -> list[Effect]:
        """Send what the rate allows now.

        Changes to all sessions of the owner come first, then the present viewers to single sessions.
        """
        sent: list[Effect] = []
        while self._changed and not self._bucket.wait(1, at):
            sent += self._send_change(next(iter(self._changed)), at)
        while self._catching_up and not self._bucket.wait(1, at):
            session, unknown = next(iter(self._catching_up.items()))
            if unknown:
                sent += self._send_again(session, unknown.popleft(), at)
            else:
                del self._catching_up[session]
        return sent

    def _send_change(self, member_id: MemberId, at: Instant) -> list[Effect]:
        viewer = self._viewers[member_id]
        kinds: list[type[m.ViewerChanged]] = []
        if viewer.present is not viewer.sent:
            kinds.append(m.ViewerJoined if viewer.present else m.ViewerLeft)
            viewer.sent, viewer.sent_paused = viewer.present, False
        if viewer.present and viewer.paused is not viewer.sent_paused:
            kinds.append(m.ViewerPaused if viewer.paused else m.ViewerResumed)
            viewer.sent_paused = viewer.paused
        self._note_change(member_id, viewer)
        return [Send(self._owner_id, event) for event in self._events(kinds, member_id, viewer, at)]

    def _send_again(self, session: MemberId, member_id: MemberId, at: Instant) -> list[Effect]:
        viewer = self._viewers.get(member_id)
        if viewer is None or not viewer.sent:  # it has left, or its pending change goes to all sessions
            return []
        kinds: list[type[m.ViewerChanged]] = (
            [m.ViewerJoined, m.ViewerPaused] if viewer.sent_paused else [m.ViewerJoined]
        )
        return [SendToMember(session, event) for event in self._events(kinds, member_id, viewer, at)]

    def _events(
        self, kinds: list[type[m.ViewerChanged]], member_id: MemberId, viewer: Viewer, at: Instant
    ) -> list[m.ViewerChanged]:
        self._bucket.spend(len(kinds), at)
        return [kind(channel=self._channel, member_id=member_id, user_id=viewer.user_id) for kind in kinds]
