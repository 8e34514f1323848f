"""The creators among the users who are connected, for lists that ask who is online.

Sessions know users, and only the database knows which of them are creators.
"""

import math

import trio

from domain.ids import UserId
from server.sessions.directory import Sessions
from storage.people.users import creators_among
from storage.postgres import Postgres

FRESH_SECONDS = (
    1.0  # every open page asks every few seconds, and the statement carries the ids of all who are connected
)


class OnlineCreators:
    """Finds the creators who have a session with a connection; queries at most once every FRESH_SECONDS.

    A creator who has just connected may therefore be missing for so long; one who has just left is not returned.
    """

    def __init__(self, postgres: Postgres, sessions: Sessions) -> None:
        self._postgres = postgres
        self._sessions = sessions
        self._found: list[UserId] = []
        self._read_at = -math.inf  # trio's clock
        self._reading = trio.Lock()  # requests that come meanwhile use what the first one reads

    async def find(self) -> list[UserId]:
        """Return the ids of the creators who are online, in no order. Raises StorageUnavailable."""
        async with self._reading:
            asked_at = trio.current_time()
            if asked_at - self._read_at >= FRESH_SECONDS:
                self._found = await creators_among(self._postgres, self._sessions.connected_users())
                self._read_at = asked_at
        return [creator_id for creator_id in self._found if self._sessions.online(creator_id)]
