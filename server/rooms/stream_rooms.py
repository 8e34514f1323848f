"""Makes live rooms of streams: when the creator goes live, from another server's rows, and after a crash."""

from functools import partial

import msgspec

from domain.billing.meter import StoredMeter
from domain.ids import MemberId, RoomId
from domain.instant import rfc3339
from domain.protocol.events import RoomClosed, StreamEnded
from domain.room import inputs
from domain.stream.access_policy import pays
from domain.stream.record import StreamFacts, StreamHistory, StreamRecord, StreamRules
from domain.stream.stream import Stream
from server.rooms.lifecycle import RoomLifecycle, retry_storage
from server.rooms.room import LiveRoom
from server.rooms.task import RoomTask
from storage.rooms.leases import Claim
from storage.rooms.streams import StoredStream, find_audience, find_stream, open_viewing_session, save_stream
from storage.rooms.tips import recent_tips


class StreamRooms:
    """Starts, adopts, restarts and ends the rooms of streams. A running room belongs to its task."""

    def __init__(self, lifecycle: RoomLifecycle, rules: StreamRules) -> None:
        self._lifecycle = lifecycle
        self._postgres = lifecycle.postgres
        self._rules = rules

    async def open(self, stream_id: RoomId, epoch: int) -> None:
        """Start the room of a stream that is live in the database. Does nothing if it has another epoch than this."""
        stored = await retry_storage(lambda: find_stream(self._postgres, stream_id))
        if stored is None or stored.record.status != "live" or stored.epoch != epoch:
            return
        history = await self._read_history(stored)
        if self._lifecycle.registry.find(stream_id) is None:
            room = self._lifecycle.room(stream_id, stored.facts.channel, (), self)
            self._lifecycle.registry.start(room, self._task(room, stored, history))
            self._lifecycle.registry.spawn("late_blocks", partial(self._apply_late_blocks, room, stored.facts, history))

    async def _apply_late_blocks(self, room: LiveRoom, facts: StreamFacts, history: StreamHistory) -> None:
        """Apply blocks of users that were made after the rows were read, when there was no room to apply them."""
        now = await retry_storage(lambda: find_audience(self._postgres, facts.id, facts.owner_id))
        for user_id in set(now.blocked) - set(history.blocked):
            room.inbox.deliver(inputs.UserBlocked(user_id))

    async def adopt(self, claim: Claim) -> None:
        """Start the room of a claimed stream from its rows; it then waits for its owner to join again."""
        await self.open(claim.room_id, claim.epoch)

    async def restart(self, room: LiveRoom) -> RoomTask | None:
        """Make a new task after a crash, from the rows and under a new epoch; members rejoin, commands wait.

        None if the stream has ended or has another owner.
        """
        room.stream = None
        stored = await self._reclaim(room)
        if stored is None:
            return None
        history, meters = await self._read_history(stored), await self._read_meters(room, stored.facts)
        # There is no await from here on: later inputs come behind the members' rejoins.
        task = self._task(room, stored, history)
        self._lifecycle.readmit(room, lambda member_id: self._rejoin(room, member_id, meters.get(member_id)))
        return task

    async def abandon(self, room: LiveRoom) -> bool:
        """End the stream with `server_fault`: nothing more is charged, and all members receive the end.

        False if the stream has ended or has another owner.
        """
        room.stream = None
        stored = await self._reclaim(room)
        if stored is None:
            return False
        now = room.clock.now()
        record = msgspec.structs.replace(stored.record, status="ended", ended_at=now, end_reason="server_fault")
        if not await retry_storage(lambda: save_stream(self._postgres, room.id, stored.epoch, record)):
            return False
        self._lifecycle.tickets.look()
        room.restore_members()
        for audience in room.audiences:
            for kind in (StreamEnded, RoomClosed):
                seq = audience.last_seq + 1
                audience.publish(kind(channel=room.channel, seq=seq, at=rfc3339(now), reason="server_fault"))
            audience.clear()
        return True

    async def end_unread(self, room_id: RoomId) -> None:
        """End a stream whose rows are invalid, without reading them."""
        await self._lifecycle.end_unread(room_id)

    async def _reclaim(self, room: LiveRoom) -> StoredStream | None:
        """Claim the stream under a new epoch and read it; None if it has ended or has another owner."""
        claim = await self._lifecycle.reclaim(room)
        stored = None if claim is None else await retry_storage(lambda: find_stream(self._postgres, room.id))
        return stored if stored is not None and claim is not None and stored.epoch == claim.epoch else None

    async def _read_history(self, stored: StoredStream) -> StreamHistory:
        """Read what the rules need beside the record: tickets, blocked users, earnings and recent tips."""
        facts, record = stored.facts, stored.record
        began, limit = record.started_at or facts.created_at, self._lifecycle.settings.recent_events
        people = await retry_storage(lambda: find_audience(self._postgres, facts.id, facts.owner_id))
        hidden = {*record.muted, *record.removed, *people.blocked}
        tips = await retry_storage(lambda: recent_tips(self._postgres, facts.id, facts.owner_id, began, hidden, limit))
        return StreamHistory(people.tickets, people.blocked, people.earned, tips)

    async def _read_meters(self, room: LiveRoom, facts: StreamFacts) -> dict[MemberId, StoredMeter]:
        """The stored meters of the members who pay; other members have none."""
        found: dict[MemberId, StoredMeter] = {}
        for member_id in room.fanout.members():
            session = self._lifecycle.sessions.by_member.get(member_id)
            if session is not None and pays(facts, session.user_id, session.identity.is_operator):
                user_id = session.user_id
                found[member_id] = await retry_storage(lambda: open_viewing_session(self._postgres, room.id, user_id))  # noqa: B023  # reason: awaited at once
        return found

    def _task(self, room: LiveRoom, stored: StoredStream, history: StreamHistory) -> RoomTask:
        now = room.clock.now()
        rules = Stream(stored.facts, self._rules, self._lifecycle.settings, stored.epoch, stored.record, history, now)
        first = rules.open(now)
        room.stream, room.stream_facts = rules, stored.facts
        self._lifecycle.set_aside_members(room)
        save = partial(self._save, room.id, stored.epoch)
        task = self._lifecycle.task(room, rules, stored.epoch, save)
        task.begin(first)
        return task

    async def _save(self, stream_id: RoomId, epoch: int, record: StreamRecord) -> bool:
        saved = await save_stream(self._postgres, stream_id, epoch, record)
        if record.status == "ended":
            self._lifecycle.tickets.look()
        return saved

    def _rejoin(self, room: LiveRoom, member_id: MemberId, meter: StoredMeter | None) -> None:
        session = self._lifecycle.sessions.by_member.get(member_id)
        if session is not None and (reply := session.rejoin_reply(room)) is not None:
            room.inbox.deliver(inputs.Joined(member_id, session.user_id, reply, session.identity.is_operator, meter))
            if session.is_silent:
                room.inbox.deliver(session.silence_in(room))
