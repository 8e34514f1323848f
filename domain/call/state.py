"""The state of one call: its parts, the record that is stored of them, and the view that clients see."""

from collections.abc import Iterable
from typing import Any

import msgspec

from domain.billing.meter import Meter
from domain.call.events import CallEvents
from domain.call.parties import Parties
from domain.call.record import CallFacts, CallRecord, CallRules, CallView, Status, view_call
from domain.call.setup import CallSetup
from domain.ids import block_key
from domain.instant import Instant
from domain.protocol.events import HistoryTip
from domain.refusals import Code, Refusal
from domain.room.chat import ChatAndTips, RoomRef
from domain.room.effects import Effect, Save
from domain.room.members import Members, RoomRules
from domain.room.termination import Termination

ENDED = Refusal(Code.CALL_ENDED, "The call has ended")


class CallState:
    """Holds the parts of a call, which `Call`, `CallMembership` and `Holds` change.

    All three append the effects that they decide to `effects`, so that effects keep the order of the decisions.
    """

    def __init__(
        self,
        facts: CallFacts,
        rules: CallRules,
        meter: Meter,
        record: CallRecord,
        restarted_at: Instant | None,
        room_rules: RoomRules,
        tips: Iterable[HistoryTip],
    ) -> None:
        self.facts, self.rules, self.meter = facts, rules, meter
        self.events = CallEvents(facts, meter)
        self.members = Members(2 * rules.connections_per_party)
        room_ref = RoomRef(facts.id, facts.channel, meter.epoch, facts.creator_id, ENDED)
        self.chat_and_tips = ChatAndTips(room_ref, self.members, self.events.publish, room_rules, tips)
        self.parties = Parties(*facts.parties, rules, meter.clock)
        self.setup = CallSetup(facts, rules, record, restarted_at)
        self.termination = Termination(ENDED, record.ended_at, record.end_reason, self.members, self.chat_and_tips)
        self.to_give_back = range(0)  # numbers of blocks, set when the call ends; some may have no receipt yet
        self.effects: list[Effect] = []
        if restarted_at is not None:
            self._adopt(record, restarted_at)

    def _adopt(self, record: CallRecord, at: Instant) -> None:
        if self.meter.committed and self.setup.started_at is None:
            self.setup.start(at)  # a paid block proves that the call started, even if the stored record is older
        if self.setup.started_at is not None:
            self.parties.adopt(record, at)

    def take_effects(self) -> list[Effect]:
        """Return the effects decided since the last call of this method, and forget them."""
        decided, self.effects = self.effects, []
        return decided

    def save(self, at: Instant) -> None:
        """Store the present record; nothing once the call is over, since its last record is stored later."""
        if not self.termination.over:
            self.effects.append(Save(self.record(at)))

    def record(self, at: Instant) -> CallRecord:
        """Return the state to store; its active time never exceeds what was paid."""
        record = CallRecord(
            status=self._status(),
            accepted_at=self.setup.accepted_at,
            started_at=self.setup.started_at,
            ended_at=self.termination.ended_at,
            end_reason=self.termination.reason,
            fan_paused_at=self.parties.fan.paused_at,
            creator_paused_at=self.parties.creator.paused_at,
            fan_paused=self.parties.fan.paused_before,
            creator_paused=self.parties.creator.paused_before,
            holds=tuple(self.parties.names_of_holds()),
            active=self.meter.billed_active(at),
            set_back=self.meter.set_back,
        )
        given_back = [n for n in self.to_give_back if n <= self.meter.committed]
        if not given_back:
            return record
        keys = tuple(block_key(self.facts.id, self.meter.payer, n) for n in given_back)
        return msgspec.structs.replace(record, given_back=keys)

    def view(self, at: Instant) -> CallView:
        """Return the call as its parties see it at `at`."""
        return view_call(self.facts, self.record(at), self.meter.paid, self.meter.paid_through())

    def room(self, at: Instant) -> dict[str, Any]:
        """Return the view as the field `room` of `room:joined`."""
        return {"kind": "call", **msgspec.to_builtins(self.view(at))}

    def _status(self) -> Status:
        if self.termination.ended_at is not None:
            return "ended"
        if self.setup.ringing:
            return "ringing"
        return "paused" if self.parties.holds else "active"
