"""A call's clock, blocks and holds (contract.md, Blocks), computed a second time in another way.

The rules count active time from when the clock was started; this account adds up every span in which it should run.
It receives each step with its time, and never reads the state of the rules.
"""

from fractions import Fraction

from domain.billing.block import BlockPrice
from domain.call.record import CallRecord, CallRules
from domain.ids import UserId
from domain.instant import Instant, duration
from tests.domain.story import CREATOR, FAN

NAMES = {FAN: "fan", CREATOR: "creator"}


class CallAccount:
    """The expected state of a call, as its parties should see it."""

    def __init__(self, rules: CallRules, price: BlockPrice, now: Instant, budget: int | None) -> None:
        self.rules = rules
        self.price = price
        self.budget = budget
        self.now = now
        self.rings_from = now
        self.join_from = 0
        self.accepted = self.started = False
        self.end_reason: str | None = None
        self.draining = False
        self.responsive: dict[UserId, set[int]] = {FAN: set(), CREATOR: set()}
        self.silent: dict[UserId, set[int]] = {FAN: set(), CREATOR: set()}
        self.dropped: dict[UserId, Instant] = {}
        self.last_received_at: dict[UserId, Instant] = {FAN: 0, CREATOR: 0}
        self.paused: dict[UserId, Instant] = {}
        self.paused_before: dict[UserId, int] = {FAN: 0, CREATOR: 0}
        self.restarted_at = now  # or started
        self.resumed: dict[UserId, list[Instant]] = {FAN: [], CREATOR: []}  # since then: when each ended its pauses
        self.spans: list[tuple[Instant, Instant]] = []  # in which the clock ran since the last restart
        self.stalls: list[tuple[Instant, Instant]] = []  # stalls of the server: from, to
        self.held: set[str] = set()  # without the pauses by hand
        self.active = 0
        self.total_active = 0  # active time over all restarts, also what was taken back of it later
        self.given_back: set[int] = set()  # blocks, as the call ended; those without a receipt may be refused yet
        self.tokens = 0
        self.committed = self.posted = 0
        self.waiting: list[Instant] = []  # when the blocks fell due that have no receipt yet

    # Time

    @property
    def over(self) -> bool:
        return self.end_reason is not None or self.draining

    def holds(self) -> set[str]:
        return set() if self.end_reason else self.held | {NAMES[user_id] for user_id in self.paused}

    def runs(self) -> bool:
        return self.started and not self.over and not self.holds()

    def due_at(self) -> Instant | None:
        return self.now + self.posted * self.price.block - self.active if self.runs() else None

    def advance(self, to: Instant) -> None:
        """Let time pass until `to`, with everything that time alone does, also at `to`."""
        while not self.over:
            ahead = self._changes_ahead()
            if not ahead or min(ahead)[0] > to:
                break
            at, _, order, what = min(ahead)
            self._pass(max(at, self.now))
            self._apply(what, (FAN, CREATOR)[order // 2])
        self._pass(to)

    def _pass(self, to: Instant) -> None:
        if self.runs():
            self.spans.append((self.now, to))
            self.active += to - self.now
            self.total_active += to - self.now
        self.now = to

    def _changes_ahead(self) -> list[tuple[Instant, int, int, str]]:
        """Yield what time will do: when, its rank at one moment (ends, holds, blocks), its order, and the change."""
        if not self.accepted:
            return [(self._later(self.rings_from, duration(self.rules.ring_seconds)), 0, 0, "missed")]
        if not self.started:
            return [(self._later(self.join_from, duration(self.rules.join_seconds)), 0, 0, "peer_lost")]
        coming: list[tuple[Instant, int, int, str]] = []
        for order, user_id in enumerate((FAN, CREATOR)):
            if user_id in self.paused:
                left = max(0, duration(self.rules.pause_limit_seconds) - self.paused_before[user_id])
                limit = self._later(self.paused[user_id], left)
                coming.append((limit, 0, 2 * order, "pause_limit"))
            if user_id in self.dropped:
                limit = self._later(self.dropped[user_id], duration(self.rules.drop_limit_seconds))
                coming.append((limit, 0, 2 * order + 1, "peer_lost"))
                grace = self.dropped[user_id] + duration(self.rules.drop_grace_seconds)
                if (hold := f"absent:{NAMES[user_id]}") not in self.held:
                    coming.append((grace, 1, order, hold))
        if self.waiting and "storage" not in self.held:
            coming.append((self._later(self.waiting[0], duration(self.rules.storage_grace_seconds)), 1, 2, "storage"))
        if (due_at := self.due_at()) is not None:
            coming.append((due_at, 2, 0, "block"))
        return coming

    def _later(self, since: Instant, span: int) -> Instant:
        """Return when so much time has passed since a moment, not counting stalls of the server."""
        moment = since + span
        for begun, over in self.stalls:
            moment += over - begun if since <= begun < moment else 0
        return moment

    def stall(self, until: Instant, all_silent: bool) -> None:
        """The server stalls from now until then; after a long stall nothing was received since now."""
        self.stalls.append((self.now, until))
        if all_silent:
            for user_id in (FAN, CREATOR):
                if self.responsive[user_id]:
                    self.dropped[user_id] = until
                    self.last_received_at[user_id] = max(self.last_received_at[user_id], until)
                self.silent[user_id] |= self.responsive[user_id]
                self.responsive[user_id] = set()
            if self.started and not self.over:
                self.held |= {"absent:fan", "absent:creator"}

    def _apply(self, what: str, whose: UserId) -> None:
        if what == "block":
            self._fall_due()
        elif what == "storage" or what.startswith("absent:"):
            self.held.add(what)
        else:
            self.end(what, whose)

    def _fall_due(self) -> None:
        absent = {f"absent:{NAMES[user_id]}" for user_id in (FAN, CREATOR) if not self.responsive[user_id]}
        if absent:
            self.held |= absent
        elif self.budget_spent():
            self.end("budget_reached")
        else:
            self.posted += 1
            self.waiting.append(self.now)

    # Money

    def promised(self) -> int:
        """Return the spending once everything that waits and the next block are paid."""
        waiting = range(self.committed + 1, self.posted + 2)
        return self.tokens + sum(self.price.tokens(block_no) for block_no in waiting)

    def budget_spent(self) -> bool:
        return self.budget is not None and self.promised() > self.budget

    def settle(self, outcome: str) -> None:
        self.waiting.pop(0)
        if outcome in ("COMMITTED", "ALREADY"):
            self.committed += 1
            self.tokens += self.price.tokens(self.committed)
        elif outcome == "INSUFFICIENT":
            self.end("insufficient_funds")
        elif outcome in ("FENCED", "CLOSED"):
            self.draining = True
        if not self.waiting:
            self.held.discard("storage")
            self.advance(self.now)

    # Members

    def join(self, user_id: UserId, number: int) -> None:
        if self.over:
            return
        self.silent[user_id].discard(number)
        self._respond(user_id, number)

    def leave(self, user_id: UserId, number: int) -> None:
        if number in self.responsive[user_id]:
            self._lose(user_id, number, self.now)
        self.silent[user_id].discard(number)

    def silence(self, user_id: UserId, number: int, last_received_at: Instant) -> None:
        if number in self.responsive[user_id]:
            self._lose(user_id, number, last_received_at)
            self.silent[user_id].add(number)

    def respond(self, user_id: UserId, number: int) -> None:
        if number in self.silent[user_id] | self.responsive[user_id]:
            self.silent[user_id].discard(number)
            self._respond(user_id, number)

    def _respond(self, user_id: UserId, number: int) -> None:
        self.responsive[user_id].add(number)
        self.dropped.pop(user_id, None)
        self.held.discard(f"absent:{NAMES[user_id]}")
        if all(self.responsive.values()):
            self.held.discard("restart")
        self._begin_when_met()
        self.advance(self.now)

    def _lose(self, user_id: UserId, number: int, last_received_at: Instant) -> None:
        self.last_received_at[user_id] = max(self.last_received_at[user_id], last_received_at)
        if self.responsive[user_id] == {number}:
            self.dropped[user_id] = self.now
            if user_id == CREATOR and self.started and not self.over:
                self._take_back(self.last_received_at[user_id])
                self.held.add("absent:creator")
        self.responsive[user_id].discard(number)

    def _take_back(self, since: Instant) -> None:
        """Take back time in which the creator was absent."""
        before = [(begun, min(over, since)) for begun, over in self.spans if begun < since]
        self.active -= sum(over - begun for begun, over in self.spans) - sum(over - begun for begun, over in before)
        self.spans = before

    def _begin_when_met(self) -> None:
        if self.accepted and not self.started and not self.over and all(self.responsive.values()):
            self.started = True
            self.dropped.clear()

    # Commands

    def command(self, user_id: UserId, word: str) -> str | None:
        """Apply a command, and return the code with which it is refused."""
        if user_id not in NAMES:
            return "NOT_FOUND"
        if self.draining:
            return "DRAINING"
        if self.end_reason is not None:
            return None if word == "end" else "CALL_ENDED"
        if (refused := self._refused(user_id, word)) is None:
            self._obey(user_id, word)
            self.advance(self.now)
        return refused

    def _refused(self, user_id: UserId, word: str) -> str | None:
        whose = {"accept": CREATOR, "decline": CREATOR, "cancel": FAN}
        if word in whose:
            if user_id != whose[word]:
                return "FORBIDDEN"
            return "CALL_NOT_ACTIVE" if self.accepted else None
        if word in ("pause", "resume") and not self.started:
            return "CALL_NOT_ACTIVE"
        if word == "resume" and self.paused and user_id not in self.paused:
            return "FORBIDDEN"
        if word == "resume" and user_id in self.paused and self._resumes_left(user_id) < 1:
            return "RATE_LIMITED"
        return None

    def _resumes_left(self, user_id: UserId) -> Fraction:
        """Return how many of its own pauses a party may end now: a burst, and a few more with each second."""
        left = most = Fraction(self.rules.resumes_burst)
        before = self.restarted_at
        for at in self.resumed[user_id]:
            left = min(most, left + (at - before) * Fraction(self.rules.resumes_per_second) / duration(1)) - 1
            before = at
        return min(most, left + (self.now - before) * Fraction(self.rules.resumes_per_second) / duration(1))

    def _obey(self, user_id: UserId, word: str) -> None:
        if word == "accept":
            self.accepted = True
            self.join_from = self.now
            self._begin_when_met()
        elif word == "pause":
            self.paused.setdefault(user_id, self.now)
        elif word == "resume":
            if (since := self.paused.pop(user_id, None)) is not None:
                stalled = sum(over - begun for begun, over in self.stalls if since <= begun)
                self.paused_before[user_id] += self.now - since - stalled
                self.resumed[user_id].append(self.now)
        elif self.accepted:
            self.end("hangup" if user_id == FAN else "creator_ended", user_id)
        else:
            self.end("cancelled" if user_id == FAN else "declined")

    def end(self, reason: str, by: UserId | None = None) -> None:
        if not self.over:
            self.end_reason = reason
            least = min(duration(self.rules.payee_end_seconds), self.price.block) if by == CREATOR else 0
            used = {block_no: self.active - (block_no - 1) * self.price.block for block_no in range(1, self.posted + 1)}
            self.given_back = {block_no for block_no in used if used[block_no] < least}

    # Restarts

    def restart(self, stored: CallRecord, blocks: int, tokens: int, now: Instant) -> None:
        """Keep what is left after a crash: the last stored record, and the booked blocks."""
        self.now = now
        self.draining, self.end_reason = False, None
        self.committed = self.posted = blocks
        self.tokens, self.waiting = tokens, []
        self.started = stored.started_at is not None or blocks > 0
        self.accepted = stored.accepted_at is not None or blocks > 0
        self.join_from = now
        begun = 0 if blocks <= stored.set_back.block_no else (blocks - 1) * self.price.block
        self.active = min(max(stored.active, begun), blocks * self.price.block)
        self.spans = []
        self.last_received_at = {FAN: 0, CREATOR: 0}
        self.paused_before = {FAN: stored.fan_paused, CREATOR: stored.creator_paused}
        self.responsive = {FAN: set(), CREATOR: set()}
        self.silent = {FAN: set(), CREATOR: set()}
        self.paused, self.dropped, self.held, self.stalls = {}, {}, set(), []
        self.restarted_at, self.resumed = now, {FAN: [], CREATOR: []}
        if self.started:
            at_rest = {FAN: stored.fan_paused_at, CREATOR: stored.creator_paused_at}
            self.paused = {user_id: since for user_id, since in at_rest.items() if since is not None}
            self.dropped = {FAN: now, CREATOR: now}
            self.held = {"restart"}
