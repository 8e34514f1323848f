"""Makes live rooms of calls: for a new call, from the rows of another server's call, and after a crash."""

from functools import partial

import msgspec

from domain.billing.meter import Meter
from domain.billing.payee_end import blocks_given_back
from domain.call.call import Call
from domain.call.events import ended_outside
from domain.call.record import CallRecord, CallRules
from domain.ids import CallId, MemberId, RoomId, UserId, block_key
from domain.instant import Instant, rfc3339, seconds
from domain.protocol.events import CallEnded, PastTip
from domain.room import inputs
from server.rooms.lifecycle import RoomLifecycle, retry_storage
from server.rooms.room import LiveRoom
from server.rooms.task import RoomTask
from storage.people.users import blocked_between
from storage.rooms.calls import StoredCall, find_call, save_call
from storage.rooms.leases import Claim
from storage.rooms.tips import recent_tips


class CallRooms:
    """Starts, adopts, restarts and ends the rooms of calls. A running room belongs to its task."""

    def __init__(self, lifecycle: RoomLifecycle, rules: CallRules) -> None:
        self._lifecycle = lifecycle
        self._postgres = lifecycle.postgres
        self._rules = rules

    def start(self, stored: StoredCall) -> LiveRoom:
        """Start the room of a new call, and send `call:ringing` to all sessions of both parties."""
        room = self._room(stored)
        task = self._task(room, stored, [], restarted_at=None)
        task.begin(room.invitations())
        self._start(room, task)
        return room

    async def adopt(self, claim: Claim) -> None:
        """Start the room of a claimed call from its rows; it then waits for both parties to join again.

        Does nothing if the call has ended or has a later epoch. Waits while the database is out of reach.
        """
        stored = await retry_storage(lambda: find_call(self._postgres, CallId(claim.room_id)))
        if stored is None or stored.epoch != claim.epoch:
            return
        tips = await self._tips(stored)
        if self._lifecycle.registry.find(stored.facts.id) is None:
            room = self._room(stored)
            self._start(room, self._task(room, stored, tips, restarted_at=room.clock.now()))

    def _start(self, room: LiveRoom, task: RoomTask) -> None:
        self._lifecycle.registry.start(room, task)
        self._lifecycle.registry.spawn("late_blocks", partial(self._apply_late_blocks, room))

    async def _apply_late_blocks(self, room: LiveRoom) -> None:
        """End the call if one party blocked the other after the rows were read, when there was no room to end."""
        for user_id in await retry_storage(lambda: blocked_between(self._postgres, *room.parties)):
            room.inbox.deliver(inputs.UserBlocked(user_id))

    async def restart(self, room: LiveRoom) -> RoomTask | None:
        """Make a new task after a crash, from the rows and under a new epoch; members rejoin, commands wait.

        None if the call has ended or has another owner.
        """
        room.call = None
        stored = await self._reclaim(room)
        if stored is None:
            return None
        tips = await self._tips(stored)
        # There is no await from here on: later inputs come behind the members' rejoins.
        task = self._task(room, stored, tips, restarted_at=room.clock.now())
        self._lifecycle.readmit(room, partial(self._rejoin, room))
        return task

    async def abandon(self, room: LiveRoom) -> bool:
        """End the call with `server_fault`: nothing more is charged, and both parties receive the end.

        False if the call has ended or has another owner.
        """
        room.call = None
        stored = await self._reclaim(room)
        if stored is None:
            return False
        now = room.clock.now()
        record, paid = _ended_by_fault(stored, now), stored.paid
        if not await retry_storage(lambda: save_call(self._postgres, room.id, stored.epoch, record)):
            return False
        room.restore_members()
        ended = CallEnded(
            channel=room.channel,
            seq=room.fanout.last_seq + 1,
            at=rfc3339(now),
            call_id=room.id,
            reason="server_fault",
            blocks=paid.blocks,
            tokens=paid.tokens - paid.refunded_tokens,
            active_seconds=seconds(record.active),
        )
        room.fanout.publish(ended)
        for user_id in room.parties:
            self._lifecycle.sessions.send_to_user(user_id, ended_outside(ended), but=room.fanout.members())
        room.audiences.clear()
        return True

    async def end_unread(self, room_id: RoomId) -> None:
        """End a call whose rows are invalid, without reading them."""
        await self._lifecycle.end_unread(room_id)

    async def _reclaim(self, room: LiveRoom) -> StoredCall | None:
        """Claim the call under a new epoch and read it; None if it has ended or has another owner."""
        claim = await self._lifecycle.reclaim(room)
        stored = None if claim is None else await retry_storage(lambda: find_call(self._postgres, CallId(room.id)))
        return stored if stored is not None and claim is not None and stored.epoch == claim.epoch else None

    async def _tips(self, stored: StoredCall) -> list[PastTip]:
        facts, limit = stored.facts, self._lifecycle.settings.recent_events
        creator = UserId(facts.creator.user_id)
        return await retry_storage(lambda: recent_tips(self._postgres, facts.id, creator, facts.created_at, (), limit))

    def _room(self, stored: StoredCall) -> LiveRoom:
        facts = stored.facts
        parties = (UserId(facts.fan.user_id), UserId(facts.creator.user_id))
        return self._lifecycle.room(facts.id, facts.channel, parties, self)

    def _task(self, room: LiveRoom, stored: StoredCall, tips: list[PastTip], restarted_at: Instant | None) -> RoomTask:
        """Build the rules from the rows, and a task for them; `restarted_at` is None for a new call."""
        facts = stored.facts
        meter = Meter(
            room_id=facts.id,
            payer=UserId(facts.fan.user_id),
            payee=UserId(facts.creator.user_id),
            price=facts.price,
            epoch=stored.epoch,
            funds=stored.fan_funds,
            committed=stored.paid.blocks,
            tokens=stored.paid.tokens,
            active=stored.record.active,
            set_back=stored.record.set_back,
            refunded=stored.paid[2:],
        )
        room.call = Call(facts, self._rules, meter, stored.record, restarted_at, self._lifecycle.settings, tips)
        self._lifecycle.set_aside_members(room)
        return self._lifecycle.task(
            room, room.call, stored.epoch, partial(save_call, self._postgres, room.id, stored.epoch)
        )

    def _rejoin(self, room: LiveRoom, member_id: MemberId) -> None:
        session = self._lifecycle.sessions.by_member.get(member_id)
        if session is not None and (reply := session.rejoin_reply(room)) is not None:
            room.inbox.deliver(inputs.Joined(member_id, session.user_id, reply))
            if session.is_silent:
                room.inbox.deliver(session.silence_in(room))


def _ended_by_fault(stored: StoredCall, now: Instant) -> CallRecord:
    """The record of a call that ends by a fault. Blocks from which the fan had nothing are listed for a refund."""
    blocks, fan = stored.paid.blocks, UserId(stored.facts.fan.user_id)
    is_exact = (
        blocks <= stored.record.set_back.block_no
    )  # otherwise the stored active time is older than the last block
    unused = blocks_given_back(stored.facts.price, blocks, stored.record.active, 0) if is_exact else ()
    return msgspec.structs.replace(
        stored.record,
        status="ended",
        ended_at=now,
        end_reason="server_fault",
        holds=(),
        given_back=tuple(block_key(stored.facts.id, fan, n) for n in unused),
    )
