"""The clocks and blocks of a stream (contract.md, Metered streams), computed a second time in another way.

The rules count active time from when a clock was started; this account adds up every span in which it should run.
It receives each step with its time, and never reads the state of the rules.
"""

from domain.billing.block import BlockPrice
from domain.ids import UserId
from domain.instant import Duration, Instant, duration
from domain.stream.record import StreamRules
from tests.domain.story import CREATOR
from tests.domain.viewer_account import Viewer


class StreamAccount:
    """The expected state of a stream, as its members should see it."""

    def __init__(self, rules: StreamRules, price: BlockPrice, now: Instant) -> None:
        self.rules = rules
        self.price = price
        self.now = now
        self.viewers: dict[UserId, Viewer] = {}
        self.joined: dict[UserId, set[int]] = {}
        self.responsive: dict[UserId, set[int]] = {}
        self.silent: dict[UserId, list[int]] = {}  # of who joined: the longest silent first
        self.empty_since: Instant | None = now
        self.creator_last_received_at = now
        self.blocked: set[UserId] = set()
        self.given_back: set[tuple[UserId, int]] = set()  # blocks, by payer and number
        self.stalls: list[tuple[Instant, Instant]] = []  # stalls of the server: from, to
        self.end_reason: str | None = None
        self.draining = False
        self.sells_tickets = False
        self.holders: set[UserId] = set()  # of tickets, as far as the room knows
        self.removed: set[UserId] = set()
        self.present = 0  # for how long the creator was live and present
        self.present_runs: list[tuple[Instant, Instant]] = []  # when that was counted
        self.earned_tickets = False  # they were, for long enough

    # Time

    @property
    def over(self) -> bool:
        return self.end_reason is not None or self.draining

    def watches(self, user_id: UserId) -> bool:
        return bool(self.responsive.get(user_id))

    def runs(self, user_id: UserId) -> bool:
        viewer = self.viewers[user_id]
        stands = self.over or viewer.database_away or viewer.evict
        return not stands and (self.watches(user_id) or viewer.runs_on) and self.watches(CREATOR)

    def paused(self, user_id: UserId) -> bool:
        """Return whether the creator should see this viewer's connections as paused."""
        viewer = self.viewers[user_id]
        return viewer.database_away or not (self.watches(user_id) or viewer.runs_on)

    def due_at(self, user_id: UserId) -> Instant | None:
        viewer = self.viewers[user_id]
        return self.now + viewer.posted * self.price.block - viewer.active if self.runs(user_id) else None

    def advance(self, to: Instant) -> None:
        """Let time pass until `to`, with everything that time alone does, also at `to`."""
        while not self.over:
            ahead = self._changes_ahead()
            if not ahead or min(ahead)[0] > to:
                break
            at, _, what, user_id = min(ahead)
            self._pass(max(at, self.now))
            self._apply(what, user_id)
        self._pass(to)

    def _pass(self, to: Instant) -> None:
        if self.watches(CREATOR) and not self.over:
            self.present += to - self.now
            self.present_runs.append((self.now, to))
        for user_id, viewer in self.viewers.items():
            if self.runs(user_id):
                viewer.active += to - self.now
                viewer.seen += to - self.now
                viewer.runs.append((self.now, to))
        self.now = to

    def _changes_ahead(self) -> list[tuple[Instant, int, str, UserId]]:
        """Yield what time will do: when, its rank at one moment (the end, holds, blocks), the change, and whose."""
        coming: list[tuple[Instant, int, str, UserId]] = []
        if self.empty_since is not None:
            coming.append((self._later(self.empty_since, self.rules.stream_drop_limit_seconds), 0, "end", CREATOR))
        if self.sells_tickets and not self.earned_tickets and self.watches(CREATOR):
            coming.append((self.now + self._to_be_earned(), 3, "earned", CREATOR))
        for user_id, viewer in self.viewers.items():
            if viewer.waiting and not viewer.database_away:
                away_at = self._later(viewer.waiting[0], self.rules.storage_grace_seconds)
                coming.append((away_at, 1, "storage unavailable", user_id))
            if (due_at := self.due_at(user_id)) is not None:
                coming.append((due_at, 2, "block", user_id))
            if viewer.dropped_at is not None and not viewer.absent:
                coming.append((viewer.dropped_at + duration(self.rules.drop_grace_seconds), 1, "absent", user_id))
        return coming

    def _to_be_earned(self) -> Duration:
        return max(0, duration(self.rules.ticket_release_seconds) - self.present)

    def _later(self, since: Instant, seconds: float) -> Instant:
        """Return when so much time has passed since a moment, not counting stalls of the server."""
        moment = since + duration(seconds)
        for begun, over in self.stalls:
            moment += over - begun if since <= begun < moment else 0
        return moment

    def stall(self, until: Instant, all_silent: bool) -> None:
        """The server stalls from now until then; after a long stall nothing was received since now."""
        self.stalls.append((self.now, until))
        if all_silent and not self.over:
            if self.watches(CREATOR):
                self.empty_since = until
                self._lose_creator(self.now)
            for user_id, viewer in self.viewers.items():
                if self.watches(user_id):
                    viewer.dropped_at, viewer.absent = self.now, True
            self.responsive = {}

    def _apply(self, what: str, user_id: UserId) -> None:
        if what == "end":
            self.end("owner_lost")
        elif what == "earned":
            self.earned_tickets = True
        elif what == "storage unavailable":
            self.viewers[user_id].database_away = True
        elif what == "absent" or not self.watches(user_id):
            self.viewers[user_id].absent = True
        else:
            self.viewers[user_id].posted += 1
            self.viewers[user_id].waiting.append(self.now)

    # Members

    def why_not_join(self, user_id: UserId, number: int, known: Viewer) -> str | None:
        """Return why a user may not join. `known`: the database's meter of a viewer who was never here."""
        if self.end_reason is not None:
            return "STREAM_ENDED"
        if self.draining:
            return "DRAINING"
        if user_id in self.blocked:
            return "CREATOR_UNAVAILABLE"
        if user_id in self.removed or (user_id != CREATOR and self.sells_tickets and user_id not in self.holders):
            return "FORBIDDEN"
        if user_id != CREATOR:
            viewer = self.viewers.setdefault(user_id, known)
            viewer.update_funds(known.funds)
            if viewer.evict:
                return "OVERLOADED"
            if not viewer.may_come_in():
                return "INSUFFICIENT_TOKENS"
        limit = self.rules.connections_per_viewer if user_id == CREATOR else self.rules.connections_per_payer
        there = self.joined.setdefault(user_id, set())
        if number not in there and len(there) >= limit:
            if not (silent := self.silent.get(user_id)):
                return "OVERLOADED"
            self.leave(user_id, silent[0])
        return None

    def join(self, user_id: UserId, number: int) -> None:
        self.joined[user_id].add(number)
        self.respond(user_id, number)

    def respond(self, user_id: UserId, number: int) -> None:
        if self.over:
            return
        self._note_silence(user_id, number, False)
        if number in self.joined.get(user_id, ()):
            self.responsive.setdefault(user_id, set()).add(number)
            if user_id == CREATOR:
                self.empty_since = None
                self.creator_last_received_at = max(self.creator_last_received_at, self.now)
            elif user_id in self.viewers:
                self.viewers[user_id].dropped_at, self.viewers[user_id].absent = None, False
            self.advance(self.now)

    def lose(self, user_id: UserId, number: int, last_received_at: Instant) -> None:
        """A connection is silent since then."""
        if number in self.responsive.get(user_id, ()):
            self.responsive[user_id].discard(number)
            if user_id == CREATOR:
                self._lose_creator(last_received_at)
            elif not self.responsive[user_id]:
                self.viewers[user_id].dropped_at, self.viewers[user_id].absent = self.now, False
        self._note_silence(user_id, number, True)

    def _lose_creator(self, last_received_at: Instant) -> None:
        self.creator_last_received_at = max(self.creator_last_received_at, last_received_at)
        if not self.watches(CREATOR):
            self.empty_since = self.creator_last_received_at
            since = self.creator_last_received_at
            self.present -= sum(max(0, over - max(begun, since)) for begun, over in self.present_runs)
            self.present_runs = [(begun, min(over, since)) for begun, over in self.present_runs if begun < since]
            for viewer in self.viewers.values():
                viewer.take_back(self.creator_last_received_at)

    def _note_silence(self, user_id: UserId, number: int, silent: bool) -> None:
        known = self.silent.setdefault(user_id, [])
        if not silent and number in known:
            known.remove(number)
        elif silent and number not in known and number in self.joined.get(user_id, ()):
            known.append(number)

    def leave(self, user_id: UserId, number: int) -> None:
        was_responsive = number in self.responsive.get(user_id, ())
        self.lose(user_id, number, self.now)
        self.joined.get(user_id, set()).discard(number)
        self._note_silence(user_id, number, False)
        if user_id in self.viewers and not self.watches(user_id) and (was_responsive or not self.joined.get(user_id)):
            self.viewers[user_id].dropped_at = None

    def block(self, user_id: UserId) -> None:
        """The creator blocks a user, who is evicted and gets hardly used blocks refunded."""
        self.blocked.add(user_id)
        if user_id in self.viewers and not self.over:
            viewer = self.viewers[user_id]
            if self._give_back(user_id, self.rules.payee_end_seconds):
                viewer.seen += viewer.posted * self.price.block - viewer.active
                viewer.active, viewer.runs = viewer.posted * self.price.block, []
        self.evict(user_id)

    def remove(self, user_id: UserId) -> None:
        """The creator removes a user for as long as the stream lives."""
        self.removed.add(user_id)
        if user_id in self.viewers:
            self._give_back(user_id, self.rules.payee_end_seconds)
        self.evict(user_id)

    def return_ticket(self, user_id: UserId) -> None:
        """A ticket is refunded, and the room receives it."""
        self.holders.discard(user_id)
        self.evict(user_id)

    def _give_back(self, user_id: UserId, seconds: float) -> bool:
        limit = duration(seconds) if self.joined.get(user_id) else 0
        blocks = {(user_id, n) for n in self.viewers[user_id].little_used(limit)}
        self.given_back |= blocks
        return bool(blocks)

    def evict(self, user_id: UserId) -> None:
        for number in list(self.joined.get(user_id, ())):
            self.leave(user_id, number)

    # Money and the end

    def restart_tickets(self, holders: set[UserId], removed: set[UserId], present: Duration, released: bool) -> None:
        """Keep the tickets that are left after a crash: all of them are in the database."""
        self.holders, self.removed, self.present = holders, removed, present
        self.earned_tickets = self.sells_tickets and (released or self._to_be_earned() == 0)

    def settle(self, user_id: UserId, outcome: str) -> None:
        self.viewers[user_id].settle(outcome)
        if outcome in ("INSUFFICIENT", "LIMITED"):
            self.evict(user_id)
        if outcome in ("FENCED", "CLOSED"):
            self.draining = True
        self.advance(self.now)

    def end(self, reason: str) -> None:
        if not self.over:
            for user_id in self.viewers:
                self._give_back(user_id, self.rules.payee_end_seconds if reason in ("ended", "owner_lost") else 0)
            self.end_reason = reason

    def restart(self, now: Instant, stored: dict[UserId, tuple[Duration, int]]) -> None:
        """Keep what is left after a crash: of each viewer the stored active time and the booked blocks."""
        self.now = self.empty_since = self.creator_last_received_at = now
        self.draining, self.end_reason = False, None
        self.joined, self.responsive, self.silent, self.stalls = {}, {}, {}, []
        self.present_runs = []
        block, before = self.price.block, self.viewers
        self.viewers = {}
        for user_id, (active, blocks) in stored.items():
            known = min(max(active, (blocks - 1) * block), blocks * block)
            viewer = self.viewers[user_id] = Viewer(self.price, known, blocks)
            if user_id in before:
                viewer.seen, viewer.unpaid = before[user_id].seen, before[user_id].unpaid
                viewer.taken_back = before[user_id].taken_back
