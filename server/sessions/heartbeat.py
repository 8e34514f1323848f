"""The heartbeat of all sessions: one task checks each for a due ping, silence and expiry.

A timer or a task for each connection would cost memory and wake-ups. Most connections have nothing due in a round.
"""

from functools import partial

import trio

from server.observability.faults import Faults
from server.observability.stall_detector import StallWatch
from server.sessions.directory import Sessions
from server.sessions.session import Session

CHECKED_AT_ONCE = 128  # connections between two checkpoints
CHECKS_A_PRESENCE = 20  # checks in `presence_seconds`: silence is noticed with this precision
LONGEST_PAUSE_SECONDS = 0.5


async def run_heartbeat(sessions: Sessions, presence_seconds: float, faults: Faults, stalls: StallWatch) -> None:
    """Check all sessions periodically, until cancelled. A session whose check raises is ended and disconnected.

    All sessions are checked CHECKS_A_PRESENCE times within `presence_seconds`, at least every LONGEST_PAUSE_SECONDS.
    There are no checks while a stall of the server is open, since what clients sent in it is still being read.
    """
    pause = min(LONGEST_PAUSE_SECONDS, presence_seconds / CHECKS_A_PRESENCE)
    while True:
        await trio.sleep(pause)
        if stalls.check_for_suspension():
            continue
        for i, session in enumerate(_due(sessions), 1):
            with faults.contained("heartbeat", partial(sessions.drop, session)):
                sessions.check(session, trio.current_time())
            if i % CHECKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
                if stalls.check_for_suspension():
                    break


def _due(sessions: Sessions) -> list[Session]:
    """Return the sessions that have lost their connection, and those whose connection's check is due."""
    now = trio.current_time()
    return [
        session
        for session in sessions.by_member.values()
        if (connection := session.connection) is None or connection.next_check <= now
    ]
