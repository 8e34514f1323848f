"""A user's stay: who they are and which rooms they are in, while connections come and go."""

from typing import NamedTuple, Protocol

import msgspec

from domain import inputs
from domain.ids import MemberId, SessionId, UserId
from domain.messages import ResumePoint
from server.fanout import Outlet
from server.history import Broadcast
from server.ids import new_uuid
from server.live_room import LiveRoom
from server.pace import Pace


class Line(Outlet, Protocol):
    """The connection that a session is spoken through."""

    @property
    def heard_at(self) -> float: ...

    def check(self, now: float) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    async def wait_closed(self) -> None: ...


class Backlog(NamedTuple):
    """What a session has missed in one room."""

    channel: str
    room: LiveRoom
    events: list[Broadcast]


class Session:
    """It outlives its connection for a while, and stays a member of its rooms; a later connection may resume it."""

    __slots__ = ("_rooms", "id", "line", "lost_at", "member_id", "missed_news", "pace", "unheard", "user_id")

    def __init__(self, user_id: UserId, pace: Pace) -> None:
        self.id = SessionId(new_uuid())
        self.member_id = MemberId(new_uuid())
        self.user_id = user_id
        self.line: Line | None = None
        self.lost_at = 0.0  # when its last connection was lost, by trio's clock
        self.unheard = False  # for longer than presence_seconds, or without a connection
        self.missed_news = False  # of its own, while it had no connection
        self.pace = pace  # of what it sends, whatever the connection
        self._rooms: dict[str, LiveRoom] = {}

    # Its connections

    def attach(self, line: Line) -> Line | None:
        """Speak through this connection from here on; returns the one that it replaces, which is still open."""
        replaced, self.line = self.line, line
        if replaced is not None:
            self._suspend()
        return replaced

    def detach(self, line: Line, now: float) -> None:
        """This connection is gone, if it is still this session's."""
        if self.line is line:
            self.line = None
            self.lost_at = now
            self._suspend()
            self.note_silence(True)

    def _suspend(self) -> None:
        for room in self._rooms.values():
            room.fanout.suspend(self.member_id)

    def tell(self, event: msgspec.Struct) -> None:
        """To this session alone."""
        if self.line is None:
            self.missed_news = True
        else:
            self.line.push(self.line.encoding.frame(event))

    def note_silence(self, unheard: bool) -> None:
        """Rooms hear of it when it changes: the silence of who pays or is paid stops a clock."""
        if unheard is not self.unheard:
            self.unheard = unheard
            for room in self.live_rooms().values():
                room.inbox.put(inputs.Unheard(self.member_id) if unheard else inputs.Heard(self.member_id))

    # Its rooms

    def live_rooms(self) -> dict[str, LiveRoom]:
        """Those that have not ended."""
        return {channel: room for channel, room in self._rooms.items() if not room.settled.is_set()}

    def enter(self, room: LiveRoom) -> None:
        self._rooms = self.live_rooms()
        self._rooms[room.channel] = room

    def leave(self, channel: str) -> None:
        room = self._rooms.pop(channel, None)
        if room is not None:
            room.fanout.remove(self.member_id)
            room.inbox.put(inputs.Left(self.member_id))

    def leave_all(self) -> None:
        for channel in list(self._rooms):
            self.leave(channel)

    def backlogs(self, points: list[ResumePoint]) -> list[Backlog]:
        """What was missed, for each room where all of it is still known; the session leaves every other room."""
        known = []
        for point in {point.channel: point for point in points}.values():
            room = self._rooms.get(point.channel)
            events = None if room is None else room.fanout.missed(self.member_id, point.epoch, point.seq)
            if room is not None and events is not None:
                known.append(Backlog(point.channel, room, events))
        for channel in self._rooms.keys() - {backlog.channel for backlog in known}:
            self.leave(channel)
        return known

    def resume(self, backlogs: list[Backlog]) -> None:
        """Catch up in each of these rooms, and go on there."""
        for backlog in backlogs:
            backlog.room.fanout.resume(self.member_id, backlog.events)
        self.note_silence(False)
