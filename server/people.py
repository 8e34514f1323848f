"""Who has been here before: a first valid token creates the user, and later ones cost nothing."""

from collections import OrderedDict

from domain.ids import UserId
from storage.postgres import Postgres
from storage.users import ensure_user

REMEMBERED = 100_000  # users; beyond, the one not seen for longest is asked for again


class People:
    """Users that are known to be in the database; they are never deleted."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._known: OrderedDict[UserId, None] = OrderedDict()

    async def know(self, user_id: UserId) -> None:
        """Make sure that the user exists. Raises StorageUnavailable."""
        if user_id not in self._known:
            await ensure_user(self._postgres, user_id)
            self._known[user_id] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(user_id)
