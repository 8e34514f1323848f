"""A call with a fake ledger and committer that carry out its effects, in plain values, for tests of call rules."""

from typing import Any
from uuid import UUID

import msgspec

from domain.billing.block import BlockPrice, Rounding
from domain.billing.meter import Funds, Meter
from domain.call.call import Call
from domain.call.record import CallFacts, CallRecord, CallRules
from domain.ids import PROMOTIONS, MemberId, UserId
from domain.instant import Instant, duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Refusal
from domain.room import effects, inputs
from tests.domain.call_committer import CALL, FakeCommitter
from tests.domain.postings import credit, payment
from tests.model.ledger import Ledger
from tests.model.rows import MeterRow, RoomRow, Wallet

START: Instant = 1_800_000_000_000_000  # 2027-01-15T08:00:00Z, the start of every story
FAN = UserId(UUID(int=0xFA))
CREATOR = UserId(UUID(int=0xC0))
STRANGER = UserId(UUID(int=0x57))


def device(user_id: UserId, number: int = 1) -> MemberId:
    """Return the id of one of a user's connections."""
    return MemberId(UUID(int=user_id.int << 32 | number))


class FakeReply:
    """Receives one answer: the fields of an `ok`, a `room:joined`, or a refusal."""

    def __init__(self) -> None:
        self.answer: Any = None

    def deliver(self, result: Any) -> None:
        assert self.answer is None, "what was asked is answered once"
        self.answer = result


class Story:
    """One call from its first ring on. Times are in seconds; time passes only when a test says so."""

    def __init__(
        self,
        *,
        balance: int = 10_000,
        rate: int = 60,
        rounding: Rounding = "up",
        max_tokens: int | None = None,
        rules: CallRules | None = None,
    ) -> None:
        self.now = START
        self.rules = rules or CallRules()
        self.facts = CallFacts(
            id=CALL,
            channel="V1StGXR8_Z5jdHi6B-myT",
            fan=m.Person(FAN, "Fan"),
            creator=m.Person(CREATOR, "Creator"),
            price=BlockPrice(rate, self.rules.block_seconds, rounding),
            max_tokens=max_tokens,
            created_at=START,
            rings_until=START + duration(self.rules.ring_seconds),
        )
        self.ledger = Ledger()
        self.ledger.wallets = {PROMOTIONS: Wallet(is_system=True), FAN: Wallet(), CREATOR: Wallet()}
        self.ledger.rooms[CALL] = RoomRow()
        self.ledger.meters[CALL, FAN] = MeterRow()
        self.ledger.apply([credit(FAN, balance, "first")] if balance else [])
        self.committer = FakeCommitter(self.ledger, CallRecord())
        self.commit_seconds: float = 0
        self.storage_away = False
        self._commits_at: Instant | None = None
        self.epoch = 1
        self.done: list[effects.Effect] = []
        self._others = 0  # postings of the fan's that are not this call's
        self.call = Call(self.facts, self.rules, self._meter(), CallRecord())

    def _meter(self) -> Meter:
        row = self.ledger.meters[CALL, FAN]
        return Meter(
            room_id=CALL,
            payer=FAN,
            payee=CREATOR,
            price=self.facts.price,
            epoch=self.epoch,
            funds=self.funds,
            committed=row.last_block,
            tokens=row.tokens,
            active=self.committer.stored.active,
            set_back=self.committer.stored.set_back,
            refunded=(row.refunded_blocks, row.refunded_tokens),
        )

    # Inputs and time

    def give(self, given: inputs.Input) -> list[effects.Effect]:
        """Give one input now, and carry out everything that follows at once."""
        decided = self.call.handle(given, self.now)
        for effect in decided:
            self._carry_out(effect)
        self._send_batch()
        return decided

    def _carry_out(self, effect: effects.Effect) -> None:
        self.done.append(effect)
        match effect:
            case effects.Post(posting):
                self.committer.post(posting)
            case effects.Save(record):
                self.committer.save(record)
            case effects.GiveBack():
                self.committer.give_back(effect)
            case effects.Withdraw():
                self.committer.withdraw()
            case effects.Answer(reply, result):
                reply.deliver(result)
            case effects.Admit(_, reply, event):
                reply.deliver(event)

    def _send_batch(self) -> None:
        if self.committer.send_batch():
            self._commits_at = self.now + duration(self.commit_seconds)
        if self._commits_at is not None and self._commits_at <= self.now and not self.storage_away:
            self.commit_batch()

    def commit_batch(self) -> None:
        """Commit the batch under way, give its receipts to the room, and send the next batch."""
        self._commits_at = None
        for arrival in self.committer.commit_batch(self.epoch):
            self.give(arrival)

    def wait(self, seconds: float) -> None:
        """Let time pass: deadlines and commits happen when they are due."""
        self.wait_until(self.now + duration(seconds))

    def wait_until(self, target: Instant) -> None:
        while (due := self._next_moment()) is not None and due <= target:
            self.now = max(self.now, due)
            if self._commits_at is not None and self._commits_at <= self.now and not self.storage_away:
                self.commit_batch()
            else:
                self.give(inputs.Elapsed())
                left = self.call.next_deadline()
                assert left is None or left > self.now, "a deadline passed, and nothing came of it"
        self.now = max(self.now, target)

    def _next_moment(self) -> Instant | None:
        commits_at = None if self.storage_away else self._commits_at
        moments = [at for at in (self.call.next_deadline(), commits_at) if at is not None]
        return None if self.call.settled else min(moments, default=None)

    def oversleep(self, seconds: float) -> None:
        """Let time pass without waking the task, so that it finds all deadlines in the past."""
        self.now += duration(seconds)
        self.give(inputs.Elapsed())

    # Actions of users and servers

    def act(self, user_id: UserId, command: type[c.CallCommand]) -> Any:
        """Give a command, and return its answer: the call's fields, or a refusal."""
        reply = FakeReply()
        self.give(inputs.CallAction(user_id, command(call_id=CALL), reply))
        return reply.answer

    def join(self, user_id: UserId, number: int = 1) -> Any:
        """Join with a connection, and return the answer: a `room:joined`, or a refusal."""
        reply = FakeReply()
        self.give(inputs.Joined(device(user_id, number), user_id, reply))
        return reply.answer

    def sweep(self) -> FakeReply:
        """Request the billing sweep; the answer comes once every due block has its receipt."""
        reply = FakeReply()
        self.give(inputs.SettleDueBlocks(reply))
        return reply

    def leave(self, user_id: UserId, number: int = 1) -> None:
        self.give(inputs.Left(device(user_id, number)))

    def fall_silent(self, user_id: UserId, number: int = 1, *, for_seconds: float = 0) -> None:
        """Note now that nothing was received from a connection for so long."""
        self.give(inputs.ConnectionSilent(device(user_id, number), self.now - duration(for_seconds)))

    def be_responsive(self, user_id: UserId, number: int = 1) -> None:
        self.give(inputs.ConnectionResponsive(device(user_id, number)))

    def connect(self) -> "Story":
        """The creator accepts, both join, and block 1 is charged."""
        self.act(CREATOR, c.CallAccept)
        self.join(CREATOR)
        self.join(FAN)
        return self

    def top_up(self, tokens: int) -> None:
        """The fan buys tokens elsewhere, and the room receives the new balance."""
        self.top_up_silently(tokens)
        self.send_funds()

    def top_up_silently(self, tokens: int) -> None:
        self._others += 1
        self.ledger.apply([credit(FAN, tokens, f"top-up {self._others}")])

    def spend(self, tokens: int) -> None:
        """The fan spends tokens elsewhere, and the room receives the new balance."""
        self.spend_silently(tokens)
        self.send_funds()

    def spend_silently(self, tokens: int) -> None:
        self._others += 1
        self.ledger.apply([payment(FAN, tokens, f"spent {self._others}")])

    def spend_of_creator(self, tokens: int) -> None:
        """The creator spends tokens elsewhere."""
        self._others += 1
        self.ledger.apply([payment(CREATOR, tokens, f"spent {self._others}")])

    def send_funds(self) -> None:
        self.give(inputs.FundsChanged(FAN, self.funds))

    def storage_goes_away(self) -> None:
        self.storage_away = True

    def storage_comes_back(self) -> None:
        self.storage_away = False
        if self.committer.batch:
            self.commit_batch()

    def crash(self, *, committed: bool = False, down_seconds: float = 0) -> None:
        """The server crashes, and another adopts the call; the batch under way was committed before or never is."""
        if committed:
            self.committer.commit_batch(self.epoch)
        self.committer.batch, self.committer.queue, self._commits_at = [], [], None
        self.storage_away = False
        self.now += duration(down_seconds)
        self._adopt()

    def drain(self, *, down_seconds: float = 0) -> None:
        """The server drains, and another adopts the call."""
        self.give(inputs.Drain())
        assert self.call.settled
        self.now += duration(down_seconds)
        self._adopt()

    def _adopt(self) -> None:
        self.epoch = self.ledger.claim(CALL)
        self.call = Call(self.facts, self.rules, self._meter(), self.committer.stored, restarted_at=self.now)

    # Results

    @property
    def blocks(self) -> int:
        """The booked blocks."""
        return self.ledger.meters[CALL, FAN].last_block

    @property
    def holds(self) -> set[str]:
        return set(self.call.record(self.now).holds)

    @property
    def status(self) -> str:
        return self.call.record(self.now).status

    @property
    def end_reason(self) -> str | None:
        return self.call.termination.reason

    @property
    def funds(self) -> Funds:
        """The fan's balance and posting number."""
        wallet = self.ledger.wallets[FAN]
        return Funds(wallet.balance, wallet.n)

    def balance(self, user_id: UserId) -> int:
        return self.ledger.wallets[user_id].balance

    def published(self) -> list[m.SequencedEvent]:
        return [effect.event for effect in self.done if isinstance(effect, effects.Publish)]

    def kinds(self) -> list[str]:
        """Return the `type` of every event of the room, in order."""
        return [str(event.__struct_config__.tag) for event in self.published()]

    def received(self, user_id: UserId) -> list[msgspec.Struct]:
        """Return the private events to one user."""
        return [effect.event for effect in self.done if isinstance(effect, effects.Send) and effect.user_id == user_id]


def code(answer: object) -> str | None:
    """Return the code of a refusal; None for another answer."""
    return answer.code.name if isinstance(answer, Refusal) else None
