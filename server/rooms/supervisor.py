"""Contains the crash of a room's task, restarts the room from its rows, and ends it after too many crashes."""

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
    """Restarts a room at most `restarts` times in `window_seconds`; the next crash ends it with `server_fault`.

    A restart that raises, as it does if the room's rows are invalid, counts as a crash. Other rooms are not affected.
    """

    def __init__(self, restarts: int, window_seconds: float, metrics: Metrics, faults: Faults) -> None:
        self.restarts = restarts
        self._window_seconds = window_seconds
        self._metrics = metrics
        self._faults = faults

    async def run(self, room: LiveRoom, task: RoomTask) -> None:
        """Run the room's tasks until it is settled, has moved to another server, or was ended after crashes."""
        crashes: deque[float] = deque()
        running: RoomTask | None = task
        while running is not None:
            try:
                await running.run()
            except BaseException as error:  # reason: any fault of a room is contained in that room
                if not is_fault(error):
                    raise
                # In the context of the input: the log line then names the request or connection that it came from.
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
        """Restart the room; None once it is over here, its members know the end and waiting commands are answered."""
        with self._faults.contained("reply", room=str(room.id)):
            room.abandon_tips()
        while len(crashes) <= self.restarts:
            try:
                task = await room.recovery.restart(room)
            except BaseException as error:  # reason: invalid rows must affect only this room
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
        """End the room with `server_fault`, without reading its rows if these are the cause."""
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
