"""The adapter of calls: their rows, their rules, and the end that both parties receive."""

from collections.abc import Iterable, Mapping

import msgspec

from domain.billing.meter import Meter, StoredMeter
from domain.billing.payee_end import blocks_given_back
from domain.call.call import Call
from domain.call.events import ended_outside
from domain.call.record import CallRecord, CallRules
from domain.ids import MemberId, RoomId, UserId, block_key
from domain.instant import Instant, rfc3339, seconds
from domain.protocol.events import CallEnded, HistoryTip
from domain.room.effects import Effect
from domain.room.members import RoomRules
from server.rooms.room import LiveRoom, RoomSessions
from server.rooms.room_storage import retry_storage
from storage.people.creator_blocks import blocked_between
from storage.postgres import Postgres
from storage.rooms.calls import StoredCall, find_call, save_call
from storage.rooms.tips import recent_tips


class CallKind:
    """The adapter of calls for `RoomLifecycle`; their past is the list of recent tips, oldest first."""

    def __init__(self, postgres: Postgres, sessions: RoomSessions, rules: CallRules, room_rules: RoomRules) -> None:
        self._postgres = postgres
        self._sessions = sessions
        self._rules = rules
        self._room_rules = room_rules

    async def find(self, room_id: RoomId) -> StoredCall | None:
        """Read the call, live or ended."""
        return await retry_storage(lambda: find_call(self._postgres, room_id))

    async def read_past(self, stored: StoredCall) -> list[HistoryTip]:
        """Read the recent tips of the call."""
        facts, limit = stored.facts, self._room_rules.recent_events
        creator, since = facts.creator_id, facts.created_at
        return await retry_storage(lambda: recent_tips(self._postgres, facts.id, creator, since, (), limit))

    async def read_meters(self, stored: StoredCall, members: Iterable[MemberId]) -> Mapping[MemberId, StoredMeter]:
        """Nothing: the one meter of a call is read with the call itself."""
        return {}

    async def blocked_since(self, stored: StoredCall, past: list[HistoryTip]) -> Iterable[UserId]:
        """Read which party was blocked by the other: that ends the call, whenever it was."""
        return await retry_storage(lambda: blocked_between(self._postgres, *stored.facts.parties))

    def open(
        self, stored: StoredCall, past: list[HistoryTip], at: Instant, *, is_new: bool
    ) -> tuple[Call, Iterable[Effect]]:
        """Make the rules. A new call sends `call:ringing`; any other waits for both parties to join again."""
        facts = stored.facts
        meter = Meter(
            room_id=facts.id,
            payer=facts.fan_id,
            payee=facts.creator_id,
            price=facts.price,
            epoch=stored.epoch,
            funds=stored.fan_funds,
            committed=stored.paid.blocks,
            tokens=stored.paid.tokens,
            active=stored.record.active,
            set_back=stored.record.set_back,
            refunded=stored.paid[2:],
        )
        restarted_at = None if is_new else at
        call = Call(facts, self._rules, meter, stored.record, restarted_at, self._room_rules, past)
        return call, call.events.ringing() if is_new and call.ringing else ()

    async def save(self, room_id: RoomId, epoch: int, record: CallRecord) -> bool:
        """Store a record; False, with nothing stored, if the call has a later epoch."""
        return await retry_storage(lambda: save_call(self._postgres, room_id, epoch, record))

    def end_by_fault(self, stored: StoredCall, at: Instant) -> CallRecord:
        """Return the record of the end. Blocks from which the fan had nothing are listed for a refund."""
        facts, record, blocks = stored.facts, stored.record, stored.paid.blocks
        is_exact = blocks <= record.set_back.block_no  # otherwise the active time is older than the last block
        unused = blocks_given_back(facts.price, blocks, record.active, 0) if is_exact else ()
        return msgspec.structs.replace(
            record,
            status="ended",
            ended_at=at,
            end_reason="server_fault",
            holds=(),
            given_back=tuple(block_key(facts.id, facts.fan_id, n) for n in unused),
        )

    def publish_end(self, room: LiveRoom, stored: StoredCall, record: CallRecord) -> None:
        """Send `call:ended` with the totals to the members, and to all other sessions of both parties."""
        assert record.ended_at is not None, "the record is that of the end"
        paid = stored.paid
        ended = CallEnded(
            channel=room.channel,
            seq=room.fanout.last_seq + 1,
            at=rfc3339(record.ended_at),
            call_id=room.id,
            reason="server_fault",
            blocks=paid.blocks,
            tokens=paid.kept_tokens,
            active_seconds=seconds(record.active),
        )
        room.fanout.publish(ended)
        for user_id in room.parties:
            self._sessions.send_to_user(user_id, ended_outside(ended), but=room.fanout.members())
