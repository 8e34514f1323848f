"""A call with its account: each step is given to both, and checked."""

from collections import deque
from collections.abc import Callable

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds
from domain.billing.posting import Outcome, Posting
from domain.call.record import CallRules
from domain.ids import UserId
from domain.instant import Duration
from domain.room import inputs
from tests.domain.call_account import CallAccount
from tests.domain.call_checks import CallChecks
from tests.domain.call_committer import CALL
from tests.domain.story import FAN, FakeReply, Story, code, device


class CallRun:
    """One call whose batches are committed, and whose receipts arrive, only when a step says so."""

    def __init__(self, balance: int, price: BlockPrice, max_tokens: int | None) -> None:
        rules = CallRules(block_seconds=price.block_seconds, resumes_per_second=0.125, resumes_burst=3)
        self.story = Story(
            balance=balance,
            rate=price.rate_tokens_per_min,
            rounding=price.rounding,
            max_tokens=max_tokens,
            rules=rules,
        )
        self.story.storage_away = True
        self.account = CallAccount(rules, price, self.story.now, max_tokens)
        self.checks = CallChecks(self.story, self.account)
        self.arrivals: deque[inputs.Input] = deque()  # committed, and not received by the room yet
        self.fund_events: deque[Funds] = deque()
        self.replies: list[FakeReply] = []
        self.checked = False  # the last step has passed its checks
        self.moved = False  # another server has claimed the room since it was adopted here
        self._insufficient = False  # a block could not be paid

    # Inputs

    def advance(self) -> None:
        """Let the account know the time, with everything that time alone does."""
        self.account.advance(self.story.now)

    def give(self, given: inputs.Input) -> None:
        """Give an input to the call, and check what follows."""
        self.checked = False
        for effect in self.story.give(given):
            self.checks.check_effect(effect)
        self.checks.check_call()
        self.checked = True

    def elapse(self) -> None:
        """Wake the room."""
        self.advance()
        self.give(inputs.Elapsed())

    def join(self, user_id: UserId, number: int) -> None:
        """A party joins with a connection, unless the call is over."""
        self.advance()
        refused = self._why_not_join()
        if refused is None:
            self.account.join(user_id, number)
        self.expect_answer(lambda reply: inputs.Joined(device(user_id, number), user_id, reply), refused)

    def _why_not_join(self) -> str | None:
        if self.account.end_reason is not None:
            return "CALL_ENDED"
        return "DRAINING" if self.account.draining else None

    def expect_answer(self, build: Callable[[FakeReply], inputs.Input], refused: str | None) -> None:
        """Give an input that is answered at once: with this refusal, or with success if it is None."""
        reply = FakeReply()
        self.give(build(reply))
        over = self.account.draining or self.account.end_reason is not None
        assert code(reply.answer) in ((refused, "ROOM_STARTING") if self.moved and over else (refused,))
        assert reply.answer is not None

    # The ledger

    def commit(self) -> None:
        """Commit the batch under way; the room has not received its receipts yet."""
        self.arrivals += self.story.committer.commit_batch(self.story.epoch)
        self.story.committer.send_batch()

    def deliver(self, most: int) -> None:
        """Give the next arrival to the room; of receipts, at most so many."""
        self.advance()
        arrival = self.arrivals.popleft()
        if isinstance(arrival, inputs.Receipts) and len(arrival.receipts) > most:
            self.arrivals.appendleft(inputs.Receipts(arrival.receipts[most:]))
            arrival = inputs.Receipts(arrival.receipts[:most])
        self._note_arrival(arrival)
        self.give(arrival)

    def _note_arrival(self, arrival: inputs.Input) -> None:
        if isinstance(arrival, inputs.Fenced):
            self.account.draining = True
        if isinstance(arrival, inputs.Receipts):
            for receipt in arrival.receipts:
                self._insufficient |= receipt.outcome is Outcome.INSUFFICIENT
                self.account.settle(receipt.outcome.name)
                if receipt.outcome is Outcome.WITHDRAWN:
                    assert self._insufficient or self.account.draining, "what fell due before the end is charged"
                if receipt.debit_after is not None and receipt.debit_n is not None:
                    self.checks.update_funds(Funds(receipt.debit_after, receipt.debit_n))

    def catch_up(self) -> None:
        """Commit everything, and deliver every receipt."""
        self.commit()
        while self.arrivals or self.story.committer.batch:
            if self.arrivals:
                self.deliver(512)
            else:
                self.commit()

    def note_funds(self) -> None:
        """Note an event with the fan's funds, which arrives later."""
        self.fund_events.append(self.story.funds)

    def receive_funds(self, newest: bool) -> None:
        """Give the newest or the oldest funds that are under way to the room."""
        self.advance()
        funds = self.fund_events.pop() if newest else self.fund_events.popleft()
        self.checks.update_funds(funds)
        self.give(inputs.FundsChanged(FAN, funds))

    # Servers

    def crash(self, committed: str, down: Duration) -> None:
        """The server crashes, and another adopts the call; all, none or the postings of the batch were committed."""
        if committed == "postings":
            self.story.committer.batch = [item for item in self.story.committer.batch if isinstance(item, Posting)]
        if committed != "nothing":
            self.commit()
        if self.story.committer.stored.status != "ended":
            self._adopt(down)

    def _adopt(self, down: Duration) -> None:
        self.advance()
        self.story.now += down
        self.story.crash()
        self.story.storage_away = True
        row, stored = self.story.ledger.meters[CALL, FAN], self.story.committer.stored
        self.account.restart(stored, row.last_block, row.tokens, self.story.now)
        self.checks = CallChecks(self.story, self.account)
        self.arrivals.clear()
        self.replies.clear()
        self.moved = self._insufficient = False

    def adopt_if_lost(self) -> None:
        """Continue a call that only this server left on another, from its rows."""
        self.catch_up()
        if self.story.call.settled and self.story.committer.stored.status != "ended":
            self.crash("nothing", 0)
        if self.story.ledger.rooms[CALL].epoch != self.story.epoch:
            self.crash("nothing", 0)
