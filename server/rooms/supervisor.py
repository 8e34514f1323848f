"""Keeps a crash inside its room, starts the room again from its rows, and knows when to stop trying."""

from collections import deque
from contextvars import copy_context

import trio

from server.broadcast.audiences import MOVED, SERVER_FAULT
from server.observability.faults import Faults, is_fault
from server.observability.metrics import Metrics
from server.rooms.room import LiveRoom
from server.rooms.task import RoomTask

RETRY_SECONDS = 0.5  # until a room that could not be built from its rows is tried again


class Supervisor:
    """At most `restarts` in `window_seconds`; the next crash ends that room with `server_fault`, and no other.

    A restart that raises, as it does when a row holds what the rules refuse, counts as a crash.
    """

    def __init__(self, restarts: int, window_seconds: float, metrics: Metrics, faults: Faults) -> None:
        self.restarts = restarts
        self._window_seconds = window_seconds
        self._metrics = metrics
        self._faults = faults

    async def run(self, room: LiveRoom, task: RoomTask) -> None:
        """Until the room is settled, has moved to another server, or is given up."""
        crashes: deque[float] = deque()
        running: RoomTask | None = task
        while running is not None:
            try:
                await running.run()
            except BaseException as error:  # reason: whatever a room does wrong, only that room pays for it
                if not is_fault(error):
                    raise
                # In the context of what was handled: the line names the request or connection that it came by.
                (running.cause or copy_context()).run(self._note_crash, room, crashes, error)
                with self._faults.contained("reply", room=str(room.id)):
                    running.answer_broken()
                running = await self._next_try(room, crashes)
            else:
                return

    def _note_crash(self, room: LiveRoom, crashes: deque[float], error: BaseException) -> None:
        now = trio.current_time()
        crashes.append(now)
        while crashes[0] < now - self._window_seconds:
            crashes.popleft()
        self._metrics.room_crashes.inc()
        self._faults.note("room", error, "room.crashed", {"room": str(room.id), "crashes": len(crashes)})

    async def _next_try(self, room: LiveRoom, crashes: deque[float]) -> RoomTask | None:
        """A new task; None once the room is over here, with its members told and waiting commands answered."""
        with self._faults.contained("reply", room=str(room.id)):
            room.abandon_tips()
        while len(crashes) <= self.restarts:
            try:
                task = await room.recovery.restart(room)
            except BaseException as error:  # reason: rows that the rules refuse are this room's trouble alone
                if not is_fault(error):
                    raise
                self._note_crash(room, crashes, error)
                await trio.sleep(RETRY_SECONDS)
            else:
                if task is None:
                    self._close(room, MOVED)
                return task
        await self._end(room)
        return None

    async def _end(self, room: LiveRoom) -> None:
        reason = SERVER_FAULT
        with self._faults.contained("room_end", room=str(room.id)):
            if await room.recovery.abandon(room):
                room.refuse_waiting()
                return
            reason = MOVED
        if reason is SERVER_FAULT:
            with self._faults.contained("room_end", room=str(room.id)):
                await room.recovery.end_unread(room.id)
        self._close(room, reason)

    def _close(self, room: LiveRoom, reason: str) -> None:
        with self._faults.contained("reply", room=str(room.id)):
            room.close(reason)
