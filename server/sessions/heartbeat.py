"""The pulse of all connections: one task asks each whether it must be pinged, is silent, or has expired."""

from functools import partial

import trio

from server.observability.faults import Faults
from server.observability.stall_detector import StallWatch
from server.sessions.directory import Sessions

CHECKED_AT_ONCE = 128  # connections between two checkpoints
CHECKS_A_PRESENCE = 20  # how finely silence is noticed: a twentieth of `presence_seconds`
LONGEST_PAUSE_SECONDS = 0.5


async def run_heartbeat(sessions: Sessions, presence_seconds: float, faults: Faults, stalls: StallWatch) -> None:
    """Until cancelled. A session whose check raises is ended, and its connection is closed.

    While a stall of the server is open nobody is silent: what they sent is being read.
    """
    pause = min(LONGEST_PAUSE_SECONDS, presence_seconds / CHECKS_A_PRESENCE)
    while True:
        await trio.sleep(pause)
        if stalls.look_closely():
            continue
        for i, session in enumerate(list(sessions.by_member.values()), 1):
            with faults.contained("heartbeat", partial(sessions.drop, session)):
                sessions.check(session, trio.current_time())
            if i % CHECKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
                if stalls.look_closely():
                    break
