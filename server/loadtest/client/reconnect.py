"""What a client does that has lost its connection: it tries again, with pauses that grow."""

import random
from collections.abc import Awaitable, Callable

import trio

from server.loadtest.client.client import AnswerTimeout, Disconnected, Rejected
from server.loadtest.client.frames import HandshakeError
from server.loadtest.measures.figures import LoadCounts

NOT_CONNECTED = (OSError, HandshakeError, Rejected, Disconnected, AnswerTimeout, trio.TooSlowError)
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 5.0  # a session waits for two minutes: twenty tries and more


async def reconnect(connect: Callable[[], Awaitable[object]], counts: LoadCounts) -> None:
    """Until it is connected, or cancelled."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # reason: so that not all come at once
        try:
            await connect()
        except NOT_CONNECTED:
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        else:
            counts.reconnects += 1
            return
