"""Reconnects a client after a lost connection, with growing pauses."""

import random
from collections.abc import Awaitable, Callable

import trio

from server.loadtest.client.client import AnswerTimeout, Disconnected, Rejected
from server.loadtest.client.frames import HandshakeError
from server.loadtest.measures.figures import LoadCounts

NOT_CONNECTED = (OSError, HandshakeError, Rejected, Disconnected, AnswerTimeout, trio.TooSlowError)
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 5.0  # a session is kept for two minutes: more than twenty tries


async def reconnect(connect: Callable[[], Awaitable[object]], counts: LoadCounts) -> None:
    """Call `connect` until it succeeds or the task is cancelled; pauses double up to PAUSE_SECONDS_MAX.

    The pauses are random, so that the clients of a stopped server do not all return at the same moment.
    An exception other than NOT_CONNECTED is a bug, and is raised.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # reason: spreads the reconnects
        try:
            await connect()
        except NOT_CONNECTED:
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        else:
            counts.reconnects += 1
            return
