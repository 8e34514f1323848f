"""Authenticates websocket clients: users by their token, overlays by an overlay token; refuses banned users.

REST requests use `verify` or `identity_of`, and check bans by route, since banned users may still see their money.
"""

from typing import NamedTuple

from domain.ids import UserId
from domain.protocol.events import Person
from server.access.tokens import LAST_SECOND, Identity, TokenRefused, TokenVerifier
from server.access.user_cache import UserCache
from server.clock import Clock
from server.sessions.bans import Bans
from storage.people.overlay_tokens import PREFIX, find_overlay_token
from storage.postgres import Postgres


class Banned(Exception):
    """The user of a valid token is banned."""


class Authenticated(NamedTuple):
    """The identity in a token, and the person that other users see."""

    identity: Identity
    person: Person


class Authenticator:
    """Verifies user tokens by their signature, and overlay tokens by a lookup in the database.

    An overlay token is a random secret with a fixed prefix, of which the database holds a digest. It has no expiry; it
    works until its creator revokes it.
    """

    def __init__(
        self, verifier: TokenVerifier, postgres: Postgres, user_cache: UserCache, bans: Bans, clock: Clock
    ) -> None:
        self._verifier = verifier
        self._postgres = postgres
        self._user_cache = user_cache
        self._bans = bans
        self._clock = clock

    async def identify(self, token: str) -> Authenticated:
        """Authenticate a user or an overlay for the websocket, and create the row of a new user.

        For an overlay, the person is its creator, and a ban of the creator applies. Raises TokenRefused, Banned,
        StorageUnavailable, or StatementRefused.
        """
        identity = await self.identity_of(token)
        user_id = identity.overlay_of or identity.user_id
        self._check_ban(user_id)
        person = await self._user_cache.ensure_user(user_id, identity.name, identity.email)
        self._check_ban(user_id)  # a ban that was read during the lookup found no session to close
        return Authenticated(identity, person)

    def _check_ban(self, user_id: UserId) -> None:
        if self._bans.contains(user_id):
            raise Banned

    def verify(self, token: str) -> Identity:
        """The identity in a user's token, without a ban check. Never waits. Raises TokenRefused."""
        return self._verifier.verify(token, now=self._clock.now() / 1_000_000)

    async def identity_of(self, token: str) -> Identity:
        """The identity in a user's or overlay's token, without a ban check. Raises TokenRefused, StorageUnavailable."""
        if not token.startswith(PREFIX):
            return self.verify(token)
        found = await find_overlay_token(self._postgres, token)
        if found is None:
            raise TokenRefused("the overlay token is revoked or unknown")
        return Identity(UserId(found.id), False, LAST_SECOND, overlay_of=found.creator_id)
