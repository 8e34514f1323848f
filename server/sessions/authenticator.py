"""Authenticates websocket clients: users by their token, overlays by an overlay token; refuses banned users."""

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
    """Verifies user tokens by their signature, and overlay tokens by a lookup in the database."""

    def __init__(
        self, verifier: TokenVerifier, postgres: Postgres, user_cache: UserCache, bans: Bans, clock: Clock
    ) -> None:
        self._verifier = verifier
        self._postgres = postgres
        self._people = user_cache
        self._bans = bans
        self._clock = clock

    async def identify(self, token: str) -> Authenticated:
        """Authenticate a user or an overlay for the websocket. Raises TokenRefused, Banned, StorageUnavailable."""
        identity = await self.identity_of(token)
        answers_for = identity.overlay_of or identity.user_id
        self._check_ban(answers_for)
        person = await self._people.ensure_user(answers_for)
        self._check_ban(answers_for)  # a ban that landed during the lookup found no session to close
        return Authenticated(identity, person)

    def _check_ban(self, user_id: UserId) -> None:
        if self._bans.contains(user_id):
            raise Banned

    def verify(self, token: str) -> Identity:
        """The identity in a user's token. Raises TokenRefused."""
        return self._verifier.verify(token, now=self._clock.now() / 1_000_000)

    async def identity_of(self, token: str) -> Identity:
        """The identity in a user's or overlay's token, without a ban check. Raises TokenRefused, StorageUnavailable."""
        if not token.startswith(PREFIX):
            return self.verify(token)
        found = await find_overlay_token(self._postgres, token)
        if found is None:
            raise TokenRefused("the overlay token is revoked or unknown")
        return Identity(UserId(found.id), False, LAST_SECOND, overlay_of=found.creator_id)
