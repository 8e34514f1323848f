"""Who is kept out: known to every server without asking, and put out of everything at once."""

from collections.abc import Mapping

from domain import inputs
from domain.ids import UserId
from domain.instant import Instant
from domain.messages import AccessRevoked
from domain.refusals import Code, Refusal
from server.clock import Clock
from server.registry import Registry
from server.sessions import Sessions
from storage.bans import ban_changes, standing_bans
from storage.postgres import Postgres

BANNED = 4403  # the close code: do not come back
REFUSAL = Refusal(Code.FORBIDDEN, "You are banned")

# What banned users may still ask for: their money is theirs to see.
LEFT_OPEN = {
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
    """All bans that stand, in memory: at most storage.bans.MAX_BANS."""

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

    def closes(self, user_id: UserId, method: str, path: str) -> bool:
        """Whether this user may not ask for this route; `path` as it is declared."""
        return self.contains(user_id) and (method, path) not in LEFT_OPEN

    async def keep_out(self) -> None:
        """Learn of bans that are new, made on whichever server, and put those users out. Raises StorageUnavailable."""
        if await ban_changes(self._postgres) == self._changes:
            return
        changes, until = await standing_bans(self._postgres)
        if changes <= self._changes:  # somebody else has read them meanwhile
            return
        known = {user_id for user_id in self._until if self.contains(user_id)}
        self._changes, self._until = changes, until
        for user_id in until.keys() - known:
            self.put_out(user_id)

    def put_out(self, user_id: UserId) -> None:
        """End this user's call and stream, and close every session; a session that ends has left all its rooms."""
        for room in self._registry:
            if user_id in room.parties or (room.stream is not None and room.stream.facts.owner_id == user_id):
                room.inbox.deliver(inputs.EndNow("admin"))
            elif room.stream is not None:
                room.inbox.deliver(inputs.WordsHidden(user_id))
        for session in self._sessions.of(user_id):
            for channel in session.live_seats():
                session.tell(AccessRevoked(channel=channel, reason="banned"))
        self._sessions.put_out(user_id, BANNED, "banned")
