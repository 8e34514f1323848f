"""The state of one stream: its parts, the record that is stored of them, and the view that clients see."""

from typing import Any

import msgspec

from domain.ids import MemberId
from domain.instant import Instant
from domain.refusals import Code, Refusal
from domain.room.chat import ChatAndTips, RoomRef
from domain.room.effects import Effect
from domain.room.members import Members, RoomRules
from domain.room.presence import Presence
from domain.room.record_queue import Records
from domain.room.termination import Termination
from domain.stream.access_policy import AccessPolicy
from domain.stream.events import StreamEvents
from domain.stream.host_presence import HostPresence
from domain.stream.record import (
    StreamFacts,
    StreamHistory,
    StreamRecord,
    StreamRules,
    StreamView,
    view_stream,
)
from domain.stream.ticket_release import TicketRelease
from domain.stream.viewer_events import Viewers
from domain.stream.viewing_sessions import ViewingSessions

ENDED = Refusal(Code.STREAM_ENDED, "The stream has ended")


class StreamState:
    """Holds the parts of a stream, which `Stream` and `StreamMembership` change.

    Both append the effects that they decide to `effects`, so that effects keep the order of the decisions.
    """

    def __init__(
        self,
        facts: StreamFacts,
        rules: StreamRules,
        room_rules: RoomRules,
        epoch: int,
        record: StreamRecord,
        history: StreamHistory,
        at: Instant,
    ) -> None:
        self.facts, self.rules = facts, rules
        self.events = StreamEvents(facts, epoch)
        self.members = Members(rules.members)
        self.viewing_sessions = ViewingSessions(facts, rules, epoch)
        self.access_policy = AccessPolicy(facts, history.tickets, history.blocked, record.removed)
        self.presence = Presence(self.members, self.events.publish, room_rules.presence_limit)
        self.chat_and_tips = ChatAndTips(
            RoomRef(facts.id, facts.channel, epoch, facts.owner_id, ENDED),
            self.members,
            self.events.publish,
            room_rules,
            history.tips,
            record.muted,
            (*record.removed, *history.blocked),
            self.clock_stands,
        )
        self.termination = Termination(ENDED, record.ended_at, record.end_reason, self.members, self.chat_and_tips)
        self.viewers = Viewers(facts, rules)
        self.host_presence = HostPresence(at, record.present)
        self.release = TicketRelease(facts, rules, record, self.host_presence)
        self.earned = history.earned  # tokens of all blocks of all payers so far
        self.effects: list[Effect] = []
        self.records = Records(self.record)
        self._started_at = record.started_at

    def take_effects(self) -> list[Effect]:
        """Return the effects decided since the last call of this method, and forget them."""
        decided, self.effects = self.effects, []
        return decided

    def clock_stands(self, member_id: MemberId) -> bool:
        """Whether a member pays by the block, and its clock does not run now."""
        member = self.members.find(member_id)
        viewing = None if member is None else self.viewing_sessions.find(member.user_id)
        return viewing is not None and member_id not in self.access_policy.operators and not viewing.meter.clock.running

    def save(self, at: Instant) -> None:
        """Store the present record, or do so once the record under way is stored; nothing once the stream is over."""
        if not self.termination.over:
            self.effects += self.records.save(at)

    def save_stopped(self, at: Instant) -> None:
        """Store the present record if a payer's or the creator's clock has stopped and this is not stored yet."""
        if self.viewing_sessions.has_unstored or self.release.has_unstored(at):
            self.save(at)

    def record(self, at: Instant) -> StreamRecord:
        """Return the state to store."""
        return msgspec.structs.replace(
            self._record_without_clocks(),
            viewing_sessions=self.viewing_sessions.unstored(at),
            set_backs=self.viewing_sessions.set_backs(),
            present=self.host_presence.present(at),
        )

    def view(self) -> StreamView:
        """Return the stream as anybody may see it now."""
        return view_stream(self.facts, self._record_without_clocks(), len(self.members))

    def room(self) -> dict[str, Any]:
        """Return the view as the field `room` of `room:joined`."""
        return {"kind": "stream", **msgspec.to_builtins(self.view())}

    def _record_without_clocks(self) -> StreamRecord:
        return StreamRecord(
            status="live" if self.termination.ended_at is None else "ended",
            started_at=self._started_at,
            ended_at=self.termination.ended_at,
            end_reason=self.termination.reason,
            muted=tuple(self.chat_and_tips.muted),
            removed=tuple(self.access_policy.removed),
        )
