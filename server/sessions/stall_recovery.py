"""Recovery after a stall of the server: reads what arrived in it, marks silent members, and lets rooms continue.

While a stall is open, rooms handle nothing. First every socket is read empty, so that a hang-up that was sent in the
stall is handled before the block that fell due after it; then deadlines run again.
"""

import select
from contextlib import AbstractContextManager
from functools import partial

import structlog
import trio
import trio.testing

from server.observability.faults import Faults
from server.observability.metrics import Metrics
from server.observability.stall_detector import StallWatch
from server.rooms.registry import Registry
from server.sessions.directory import Sessions
from server.sessions.session import Session

READ_SECONDS_MAX = 5.0  # a client that floods must not keep all rooms waiting
READ_PAUSE_SECONDS = 0.01  # between two polls of all sockets
HANDLE_SECONDS_MAX = 1.0  # for messages to reach their rooms, including database reads on the way
QUIET_SECONDS = 0.05  # if no task runs for so long, all messages that were read are handled

log = structlog.get_logger(__name__)


class StallRecovery:
    """Ends each stall that the stall watch detects, once everything that arrived in it is in the rooms' inboxes.

    One task of the rooms nursery runs it, for as long as the server runs.
    """

    def __init__(
        self,
        stalls: StallWatch,
        sessions: Sessions,
        registry: Registry,
        metrics: Metrics,
        faults: Faults,
        presence_seconds: float,
    ) -> None:
        self._stalls = stalls
        self._sessions = sessions
        self._registry = registry
        self._metrics = metrics
        self._faults = faults
        self._presence_seconds = presence_seconds

    async def run(self) -> None:
        """Wait for stalls and recover from each, until cancelled."""
        while True:
            await self._stalls.wait()
            await self._read_what_arrived()
            self._close_stall()

    async def _read_what_arrived(self) -> None:
        """Wait until all sockets are read empty and all messages are handled, within the limits above.

        The tasks of the connections do the reading. No queue shows that all of them are done, so this waits until no
        task of the process has run for QUIET_SECONDS.
        """
        with trio.move_on_after(READ_SECONDS_MAX):
            while self._anything_unread():  # noqa: ASYNC110  # reason: readers that run dry wake nobody
                await trio.sleep(READ_PAUSE_SECONDS)
        with trio.move_on_after(HANDLE_SECONDS_MAX):
            await trio.testing.wait_all_tasks_blocked(QUIET_SECONDS)

    def _anything_unread(self) -> bool:
        """Whether the socket of any session has input."""
        poll = select.poll()
        for session in self._sessions.by_member.values():
            if session.connection is not None and (fileno := session.connection.send_queue.fileno()) is not None:
                poll.register(fileno, select.POLLIN)
        return bool(poll.poll(0))

    def _close_stall(self) -> None:
        """End the stall for all sessions and rooms. There is no await here, so no room handles an input in between."""
        began = self._stalls.began
        if began is None:
            return
        seconds = self._stalls.check() - began
        all_silent = seconds >= self._presence_seconds
        now, sessions, rooms = trio.current_time(), list(self._sessions.by_member.values()), list(self._registry)
        for session in sessions:
            with self._contained(session):
                self._sessions.note_stall(session, now, seconds, all_silent=all_silent)
        for room in rooms:
            with self._faults.contained("stalls", room.inbox.fail):
                room.inbox.end_stall(began, all_silent)
        self._stalls.end(all_silent=all_silent)
        for room in rooms:
            room.inbox.wake()
        self._metrics.stalled(seconds)
        log.warning("server.stalled", seconds=round(seconds, 3), rooms=len(rooms), all_silent=all_silent)
        for session in sessions:
            with self._contained(session):
                self._sessions.check(session, now)

    def _contained(self, session: Session) -> AbstractContextManager[None]:
        """A context in which an exception ends this session alone."""
        return self._faults.contained("stalls", partial(self._sessions.drop, session))
