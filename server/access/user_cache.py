"""The user cache: the first valid token of a user creates its row, later ones need no query."""

from collections import OrderedDict
from typing import NamedTuple

from domain.ids import UserId
from domain.protocol.events import Person
from domain.text import MAX_NAME, clean_name
from storage.people.users import ensure_user
from storage.postgres import Postgres

REMEMBERED = 100_000  # users; beyond, the least recently used one is queried again


class CachedUser(NamedTuple):
    """A user as other users see them, and the e-mail address that the last token named."""

    person: Person
    email: str


class UserCache:
    """Users that are known to be in the database, with their names. Users are never deleted.

    REST requests and websocket sessions share it. Without a broker between servers, a name that is changed on another
    server stays unchanged here until the user is evicted or the server restarts.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._known: OrderedDict[UserId, CachedUser] = OrderedDict()

    async def ensure_user(self, user_id: UserId, name: str = "", email: str = "") -> Person:
        """Return a user with the display name, and create the user with an empty wallet if necessary.

        A user without a display name is given `name`, cleaned, if it has a visible character; an `email` replaces the
        stored one. Queries the database only for a user that is not cached, or is given a name or another address; two
        such calls at once both query, which is harmless. Raises StorageUnavailable, with nothing cached.
        """
        known = self._known.get(user_id)
        given = clean_name(name[:MAX_NAME]) if name and (known is None or not known.person.display_name) else ""
        if known is None or given or email not in ("", known.email):
            stored = await ensure_user(self._postgres, user_id, given, email)
            known = self._known[user_id] = CachedUser(Person(user_id, stored), email or (known.email if known else ""))
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(user_id)
        return known.person

    def rename(self, person: Person) -> None:
        """Replace the display name of a user who is cached, after it was stored in the database."""
        user_id = UserId(person.user_id)
        known = self._known.get(user_id)
        if known is not None:
            self._known[user_id] = CachedUser(person, known.email)
