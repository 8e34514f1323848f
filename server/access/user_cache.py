"""Who has been here before: a first valid token creates the user, and later ones cost nothing."""

from collections import OrderedDict

from domain.ids import UserId
from domain.protocol.events import Person
from storage.people.users import ensure_user
from storage.postgres import Postgres

REMEMBERED = 100_000  # users; beyond, the one not seen for longest is asked for again


class UserCache:
    """Users that are known to be in the database; they are never deleted."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._known: OrderedDict[UserId, Person] = OrderedDict()

    async def ensure_user(self, user_id: UserId) -> Person:
        """Make sure that the user exists, and learn what they are called. Raises StorageUnavailable."""
        person = self._known.get(user_id)
        if person is None:
            person = self._known[user_id] = Person(user_id, await ensure_user(self._postgres, user_id))
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(user_id)
        return person

    def rename(self, person: Person) -> None:
        """What they are called from now on."""
        self._known[UserId(person.user_id)] = person
