"""Applies bans and revoked overlay tokens: every server keeps all bans in memory, and closes the sessions.

A ban is stored by the server that an operator's request reaches. That server applies it before it answers; the others
find it in their next round of maintenance, within a second (contract.md, Access to rooms).
"""

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

# The routes that banned users may still use, to see their money.
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
    """All bans in force, in memory: at most storage.people.bans.MAX_BANS.

    Every request and every new session asks it, so the answer must not need a query.
    """

    def __init__(self, postgres: Postgres, registry: Registry, sessions: Sessions, clock: Clock) -> None:
        self._postgres = postgres
        self._registry = registry
        self._sessions = sessions
        self._clock = clock
        self._changes = -1  # the version of `_until`; -1 before the first read
        self._until: Mapping[UserId, Instant | None] = {}

    def contains(self, user_id: UserId) -> bool:
        """Whether the user is banned now, as far as the last read of the bans showed; also without the database."""
        if user_id not in self._until:
            return False
        until = self._until[user_id]
        return until is None or self._clock.now() < until

    def forbids(self, user_id: UserId, method: str, path: str) -> bool:
        """Whether a ban forbids this route to the user; `path` is the declared one, such as `/api/calls/{callId}`."""
        return self.contains(user_id) and (method, path) not in ALLOWED_WHEN_BANNED

    async def apply_changes(self) -> None:
        """Apply the bans and revoked overlay tokens of all servers that are new since the last call. Idempotent.

        Called every BANS_SECONDS, and by the request that bans a user. Two calls at once are allowed.
        Raises StorageUnavailable; the next call then applies the changes.
        """
        if await ban_changes(self._postgres) != self._changes:
            await self._read()
        self._end_rooms()
        await self._disconnect_revoked_overlays()

    async def _read(self) -> None:
        """Read all bans, and evict the users who were not banned before."""
        changes, until = await standing_bans(self._postgres)
        if changes <= self._changes:  # a later read has finished first
            return
        known = {user_id for user_id in self._until if self.contains(user_id)}
        self._changes, self._until = changes, until
        for user_id in until.keys() - known:
            self._evict(user_id)

    def _evict(self, user_id: UserId) -> None:
        """Hide a user's messages in streams, and end their sessions and those of their overlays, in all rooms."""
        for room in self._registry:
            if room.stream is not None:
                room.inbox.deliver(inputs.MessagesHidden(user_id))
        for session in self._sessions.answering_for(user_id):
            for channel in session.live_memberships():
                session.send(AccessRevoked(channel=channel, reason="banned"))
            self._sessions.disconnect(session, CloseCode.BANNED, "banned")

    def _end_rooms(self) -> None:
        """End the calls and streams of banned users.

        All rooms are checked at each call, since a room may have started or been adopted after the ban was read.
        """
        if not self._until:
            return
        for room in self._registry:
            if any(self.contains(user_id) for user_id in room.principals):
                room.inbox.deliver(inputs.EndNow("admin"))

    async def _disconnect_revoked_overlays(self) -> None:
        """Close overlays whose token is revoked, also one that was revoked while the session opened."""
        overlays = self._sessions.overlays()
        if not overlays:
            return
        live = await live_overlay_tokens(self._postgres, {session.user_id for session in overlays})
        for session in overlays:
            if session.user_id not in live:
                self._sessions.disconnect(session, CloseCode.UNAUTHENTICATED, "the overlay token was revoked")
