"""Keeps a crash inside its room, starts the room again from its rows, and knows when to stop trying."""

from collections import deque
from contextvars import copy_context

import structlog
import trio

from server.live_room import LiveRoom
from server.room_task import RoomTask
from server.telemetry import Telemetry

log = structlog.get_logger(__name__)


class Supervisor:
    """At most `restarts` in `window_seconds`; the next crash ends that room with `server_fault`, and no other."""

    def __init__(self, restarts: int, window_seconds: float, telemetry: Telemetry) -> None:
        self._restarts = restarts
        self._window_seconds = window_seconds
        self._telemetry = telemetry

    async def run(self, room: LiveRoom, task: RoomTask) -> None:
        """Until the room is settled, or given up."""
        crashes: deque[float] = deque()
        running: RoomTask | None = task
        while running is not None:
            try:
                await running.run()
            except Exception:  # reason: whatever a room does wrong, only that room pays for it
                # In the context of what was handled: the line names the request or connection that it came by.
                (running.cause or copy_context()).run(self._note_crash, room, crashes)
                running = await self._next_try(room, crashes)
            else:
                return
        room.turn_away()

    def _note_crash(self, room: LiveRoom, crashes: deque[float]) -> None:
        now = trio.current_time()
        crashes.append(now)
        while crashes[0] < now - self._window_seconds:
            crashes.popleft()
        self._telemetry.room_crashes.inc()
        log.exception("room.crashed", room=str(room.id), crashes=len(crashes))

    async def _next_try(self, room: LiveRoom, crashes: deque[float]) -> RoomTask | None:
        try:
            room.give_up_tips()
            if len(crashes) <= self._restarts:
                return await room.revival.again(room)
            await room.revival.give_up(room)
        except Exception:  # reason: a room that cannot even be read again is left to the next start
            log.exception("room.lost", room=str(room.id))
        return None
