"""The adapter of streams: their rows, rules and meters, and the end that both audiences receive."""

from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from domain.billing.meter import StoredMeter
from domain.ids import MemberId, RoomId, UserId
from domain.instant import Instant, rfc3339
from domain.protocol.events import RoomClosed, StreamEnded
from domain.room.effects import Effect
from domain.room.members import RoomRules
from domain.stream.access_policy import pays
from domain.stream.record import StreamHistory, StreamRecord, StreamRules
from domain.stream.stream import Stream
from server.money.ticket_settlement import Tickets
from server.rooms.room import LiveRoom, RoomSessions
from server.rooms.room_storage import retry_storage
from storage.postgres import Postgres
from storage.rooms.streams import StoredStream, find_audience, find_stream, open_viewing_session, save_stream
from storage.rooms.tips import recent_tips


class StreamKind:
    """The adapter of streams for `RoomLifecycle`."""

    def __init__(
        self, postgres: Postgres, sessions: RoomSessions, tickets: Tickets, rules: StreamRules, room_rules: RoomRules
    ) -> None:
        self._postgres = postgres
        self._sessions = sessions
        self._tickets = tickets
        self._rules = rules
        self._room_rules = room_rules

    async def find(self, room_id: RoomId) -> StoredStream | None:
        """Read the stream, live or ended."""
        return await retry_storage(lambda: find_stream(self._postgres, room_id))

    async def read_past(self, stored: StoredStream) -> StreamHistory:
        """Read tickets, blocked users, earnings and recent tips."""
        facts, record = stored.facts, stored.record
        began, limit = record.started_at or facts.created_at, self._room_rules.recent_events
        people = await retry_storage(lambda: find_audience(self._postgres, facts.id, facts.owner_id))
        hidden = {*record.muted, *record.removed, *people.blocked}
        tips = await retry_storage(lambda: recent_tips(self._postgres, facts.id, facts.owner_id, began, hidden, limit))
        return StreamHistory(people.tickets, people.blocked, people.earned, tips)

    async def read_meters(self, stored: StoredStream, members: Iterable[MemberId]) -> Mapping[MemberId, StoredMeter]:
        """Read the meters of those members who pay by the block."""
        found: dict[MemberId, StoredMeter] = {}
        for member_id in members:
            session = self._sessions.by_member.get(member_id)
            if session is not None and pays(stored.facts, session.user_id, session.identity.is_operator):
                read = partial(open_viewing_session, self._postgres, stored.facts.id, session.user_id)
                found[member_id] = await retry_storage(read)
        return found

    async def blocked_since(self, stored: StoredStream, past: StreamHistory) -> Iterable[UserId]:
        """Read the users whom the creator has blocked, without those that the rules know already."""
        now = await retry_storage(lambda: find_audience(self._postgres, stored.facts.id, stored.facts.owner_id))
        return set(now.blocked) - set(past.blocked)

    def open(
        self, stored: StoredStream, past: StreamHistory, at: Instant, *, is_new: bool
    ) -> tuple[Stream, Iterable[Effect]]:
        """Make the rules. A stream publishes `stream:live` at each start, and then waits for its owner to join."""
        stream = Stream(stored.facts, self._rules, self._room_rules, stored.epoch, stored.record, past, at)
        return stream, stream.open(at)

    async def save(self, room_id: RoomId, epoch: int, record: StreamRecord) -> bool:
        """Store a record; False, with nothing stored, if the stream has a later epoch. Its end settles its tickets."""
        saved = await retry_storage(lambda: save_stream(self._postgres, room_id, epoch, record))
        if record.status == "ended":
            self._tickets.request_round()
        return saved

    def end_by_fault(self, stored: StoredStream, at: Instant) -> StreamRecord:
        """Return the record of the end."""
        return msgspec.structs.replace(stored.record, status="ended", ended_at=at, end_reason="server_fault")

    def publish_end(self, room: LiveRoom, stored: StoredStream, record: StreamRecord) -> None:
        """Send `stream:ended` and `room:closed` to the members and to the overlays."""
        assert record.ended_at is not None, "the record is that of the end"
        for audience in room.audiences:
            for kind in (StreamEnded, RoomClosed):
                seq, at = audience.last_seq + 1, rfc3339(record.ended_at)
                audience.publish(kind(channel=room.channel, seq=seq, at=at, reason="server_fault"))
