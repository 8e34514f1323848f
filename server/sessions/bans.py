"""Who is kept out: banned users, known to every server without asking, and overlays whose token was revoked."""

from collections.abc import Mapping

from domain.ids import UserId
from domain.instant import Instant
from domain.protocol.events import AccessRevoked
from domain.refusals import Code, Refusal
from domain.room import inputs
from server.clock import Clock
from server.close_codes import CloseCode
from server.rooms.registry import Registry
from server.sessions.directory import Sessions
from storage.people.bans import ban_changes, standing_bans
from storage.people.overlay_tokens import live_overlay_tokens
from storage.postgres import Postgres

REFUSAL = Refusal(Code.FORBIDDEN, "You are banned")

# What banned users may still ask for: their money is theirs to see.
ALLOWED_WHEN_BANNED = {
    ("GET", path)
    for path in (
        "/api/me",
        "/api/wallet",
        "/api/wallet/ledger",
        "/api/tokens/purchases",
        "/api/tokens/purchases/{purchaseId}",
        "/api/payouts",
    )
}


class Bans:
    """All bans that stand, in memory: at most storage.people.bans.MAX_BANS."""

    def __init__(self, postgres: Postgres, registry: Registry, sessions: Sessions, clock: Clock) -> None:
        self._postgres = postgres
        self._registry = registry
        self._sessions = sessions
        self._clock = clock
        self._changes = -1  # after which what follows was so; read at the start
        self._until: Mapping[UserId, Instant | None] = {}

    def contains(self, user_id: UserId) -> bool:
        """Whether a ban of this user stands now."""
        if user_id not in self._until:
            return False
        until = self._until[user_id]
        return until is None or self._clock.now() < until

    def forbids(self, user_id: UserId, method: str, path: str) -> bool:
        """Whether this user may not ask for this route; `path` as it is declared."""
        return self.contains(user_id) and (method, path) not in ALLOWED_WHEN_BANNED

    async def apply_changes(self) -> None:
        """Apply what has changed on whichever server: new bans, and overlay tokens that were revoked.

        Idempotent; called every second. Raises StorageUnavailable, with nothing lost: the next call applies it.
        """
        if await ban_changes(self._postgres) != self._changes:
            await self._read()
        self._end_rooms()
        await self._disconnect_revoked_overlays()

    async def _read(self) -> None:
        """Replace the list by a newer one, and close the sessions of those who were not banned before."""
        changes, until = await standing_bans(self._postgres)
        if changes <= self._changes:  # this answer was overtaken by that to a later question
            return
        known = {user_id for user_id in self._until if self.contains(user_id)}
        self._changes, self._until = changes, until
        for user_id in until.keys() - known:
            self._evict(user_id)

    def _evict(self, user_id: UserId) -> None:
        """Hide what a user wrote, and close their own sessions and those of their overlays.

        A session that ends leaves all its rooms.
        """
        for room in self._registry:
            if room.stream is not None:
                room.inbox.deliver(inputs.MessagesHidden(user_id))
        for session in self._sessions.answering_for(user_id):
            for channel in session.live_memberships():
                session.send(AccessRevoked(channel=channel, reason="banned"))
            self._sessions.disconnect(session, CloseCode.BANNED, "banned")

    def _end_rooms(self) -> None:
        """End the calls and streams of banned users.

        All of them each time: a room may have been opened or adopted since the ban was read.
        """
        if not self._until:
            return
        for room in self._registry:
            if any(self.contains(user_id) for user_id in room.principals):
                room.inbox.deliver(inputs.EndNow("admin"))

    async def _disconnect_revoked_overlays(self) -> None:
        """Also those whose token was revoked while it was looked up."""
        overlays = self._sessions.overlays()
        if not overlays:
            return
        live = await live_overlay_tokens(self._postgres, {session.user_id for session in overlays})
        for session in overlays:
            if session.user_id not in live:
                self._sessions.disconnect(session, CloseCode.UNAUTHENTICATED, "the overlay token was revoked")
