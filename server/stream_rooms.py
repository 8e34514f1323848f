"""How a stream becomes a live room: when its creator starts it, from its rows, and again after a crash."""

from functools import partial

import msgspec

from domain import inputs
from domain.door import Door
from domain.effects import Audience
from domain.ids import MemberId, RoomId
from domain.instant import rfc3339
from domain.messages import RoomClosed, StreamEnded
from domain.meter import StoredMeter
from domain.stream import Stream
from domain.stream_record import StreamBooks, StreamFacts, StreamRules
from server.live_room import LiveRoom
from server.replies import SocketReply
from server.room_floor import RoomFloor, persist
from server.room_task import RoomTask
from storage.leases import Claim
from storage.streams import StoredStream, find_attendees, find_stream, open_stay, save_stream
from storage.tips import recent_tips


class StreamRooms:
    """Opens streams and brings them back; what a stream does while it lives is the business of its task."""

    def __init__(self, floor: RoomFloor, rules: StreamRules) -> None:
        self._floor = floor
        self._postgres = floor.postgres
        self._rules = rules

    async def open(self, stream_id: RoomId) -> None:
        """A stream that is live by its rows, and ours."""
        stored = await persist(lambda: find_stream(self._postgres, stream_id))
        if stored is None or stored.record.status != "live":
            return
        books = await self._books(stored)
        if self._floor.registry.find(stream_id) is None:
            room = self._floor.room(stream_id, stored.facts.channel, (), self)
            self._floor.registry.start(room, self._task(room, stored, books))

    async def take_up(self, claim: Claim) -> None:
        """A stream that lived under an earlier epoch: it waits for its owner to come back."""
        await self.open(claim.room_id)

    async def again(self, room: LiveRoom) -> RoomTask | None:
        """After a crash: new rules from the rows, under a new epoch, with the same members and what they asked."""
        room.stream = None
        stored = await self._reclaim(room)
        books = None if stored is None else await self._books(stored)
        stays = {} if stored is None else await self._stays(room, stored.facts)
        # From here on nothing waits: what arrives now comes after those who are taken in again.
        waiting = self._floor.hand_over(room)
        members, overlays = room.fanout.clear(), room.audiences[Audience.OVERLAYS].clear()
        if stored is None or books is None:
            return None
        task = self._task(room, stored, books)
        for member_id in members:
            self._rejoin(room, member_id, stays.get(member_id))
        for member_id in overlays:
            self._floor.rejoin_overlay(room, member_id)
        room.inbox.put_back(waiting)
        return task

    async def give_up(self, room: LiveRoom) -> None:
        """End the stream with `server_fault`: nothing more is charged, and everybody is told."""
        room.stream = None
        stored = await self._reclaim(room)
        if stored is None:
            return
        now = room.clock.now()
        record = msgspec.structs.replace(stored.record, status="ended", ended_at=now, end_reason="server_fault")
        if await persist(lambda: save_stream(self._postgres, room.id, stored.epoch, record)):
            for audience in room.audiences:
                for kind in (StreamEnded, RoomClosed):
                    seq = audience.last_seq + 1
                    audience.publish(kind(channel=room.channel, seq=seq, at=rfc3339(now), reason="server_fault"))
                audience.clear()

    async def _reclaim(self, room: LiveRoom) -> StoredStream | None:
        if not await self._floor.reclaim(room):
            return None
        return await persist(lambda: find_stream(self._postgres, room.id))

    async def _books(self, stored: StoredStream) -> StreamBooks:
        facts, record = stored.facts, stored.record
        began, limit = record.started_at or facts.created_at, self._floor.settings.recent_events
        people = await persist(lambda: find_attendees(self._postgres, facts.id, facts.owner_id))
        tips = await persist(lambda: recent_tips(self._postgres, facts.id, facts.owner_id, began, record.muted, limit))
        return StreamBooks(people.tickets, people.blocked, people.earned, tips)

    async def _stays(self, room: LiveRoom, facts: StreamFacts) -> dict[MemberId, StoredMeter]:
        """What the books say of those who pay; nobody else has a meter."""
        door, found = Door(facts, {}, (), ()), {}
        for member_id in room.fanout.members():
            session = self._floor.sessions.by_member.get(member_id)
            if session is not None and door.pays(session.user_id, session.identity.is_operator):
                user_id = session.user_id
                found[member_id] = await persist(lambda: open_stay(self._postgres, room.id, user_id))  # noqa: B023  # reason: awaited at once
        return found

    def _task(self, room: LiveRoom, stored: StoredStream, books: StreamBooks) -> RoomTask:
        now = room.clock.now()
        rules = Stream(stored.facts, self._rules, self._floor.settings, stored.epoch, stored.record, books, now)
        room.stream = rules
        save = partial(save_stream, self._postgres, room.id, stored.epoch)
        task = self._floor.task(room, rules, stored.epoch, save)
        task.begin(rules.open(now))
        return task

    def _rejoin(self, room: LiveRoom, member_id: MemberId, stay: StoredMeter | None) -> None:
        session = self._floor.sessions.by_member.get(member_id)
        if session is not None and session.line is not None:
            reply = SocketReply(session.line, None)
            room.inbox.deliver(inputs.Joined(member_id, session.user_id, reply, session.identity.is_operator, stay))
            if session.unheard:
                room.inbox.deliver(inputs.Unheard(member_id))
