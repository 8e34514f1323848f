"""What the owner of a metered stream is told of its viewers, so that nobody watches unbilled (CONTRACT §5).

An owner has one queue, and many viewers come and go. So each viewer's connection has at most one change that waits
to be told, a later change replaces it, and only so many events are told each second.
"""

from collections import deque

from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol import events as m
from domain.room.effects import Effect, Send, SendToMember
from domain.stream.record import StreamFacts, StreamRules
from domain.token_bucket import Rate, TokenBucket

CATCHING_UP = 16  # sessions of the owner that are told of everybody at once: as many as a user may have


class Viewer:
    """One connection of a viewer, and what the owner was told of it."""

    __slots__ = ("paused", "present", "sent", "sent_paused", "user_id")

    def __init__(self, user_id: UserId) -> None:
        self.user_id = user_id
        self.present = False
        self.paused = False  # joined, and its payer's clock stands for a cause on the payer's side
        self.sent = False  # the owner knows that it is present
        self.sent_paused = False


class Viewers:
    """The viewers of one metered stream. In other streams nothing is noted, and nothing told."""

    def __init__(self, facts: StreamFacts, rules: StreamRules) -> None:
        self._channel, self._owner_id = facts.channel, facts.owner_id
        self._is_metered = facts.price is not None
        self._viewers: dict[MemberId, Viewer] = {}
        self._changed: dict[MemberId, None] = {}  # the change that has waited for longest comes first
        self._catching_up: dict[MemberId, deque[MemberId]] = {}  # of each session: whom it has yet to be told of
        self._noted_at: Instant = 0  # the latest of what waits to be told: it is not told before it happened
        self._bucket = TokenBucket(Rate(rules.viewer_events_per_second, rules.viewer_events_burst))

    # What is so

    def note_joined(self, member_id: MemberId, user_id: UserId, at: Instant) -> None:
        if self._is_metered and user_id != self._owner_id:
            viewer = self._viewers.setdefault(member_id, Viewer(user_id))
            viewer.present, viewer.paused, self._noted_at = True, False, at
            self._note_change(member_id, viewer)

    def note_left(self, member_id: MemberId, at: Instant) -> None:
        if (viewer := self._viewers.get(member_id)) is not None:
            viewer.present, self._noted_at = False, at
            self._note_change(member_id, viewer)

    def note_paused(self, member_id: MemberId, paused: bool, at: Instant) -> None:
        """Whether the clock of its payer stands, other than for want of the owner."""
        if (viewer := self._viewers.get(member_id)) is not None and viewer.present:
            viewer.paused, self._noted_at = paused, at
            self._note_change(member_id, viewer)

    def catch_up(self, session: MemberId, at: Instant) -> None:
        """A session of the owner has a new connection: tell it of everybody who is present."""
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

    # What is told

    def due_at(self) -> Instant | None:
        """When something more may be told."""
        return max(self._noted_at, self._bucket.opens_at(1)) if self._changed or self._catching_up else None

    def send_due(self, at: Instant) -> list[Effect]:
        """What may be told now: changes to all sessions of the owner, then what single sessions have yet to learn."""
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
        if viewer is None or not viewer.sent:  # it has left, or all sessions will be told
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
