"""A stream with a fake ledger and committer that carry out its effects, in plain values, for tests of stream rules."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from domain.billing.block import BlockPrice, Rounding
from domain.billing.meter import Funds, StoredMeter
from domain.ids import MemberId, UserId
from domain.instant import Instant, duration
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.room import effects, inputs
from domain.room.effects import Audience
from domain.room.members import RoomRules
from domain.stream.record import StreamRecord, StreamRules
from domain.stream.stream import Stream
from tests.domain.postings import credit, payment, ticket_sale
from tests.domain.story import CREATOR, FAN, START, STRANGER, FakeReply, device
from tests.domain.stream_committer import FakeCommitter
from tests.domain.stream_rows import STREAM, fake_ledger, person, stream_facts
from tests.model.rows import MeterRow

OTHER = UserId(UUID(int=0xFB))
OPERATOR = UserId(UUID(int=0x09))
EVERYBODY = (FAN, OTHER, STRANGER, OPERATOR)
SCREEN = MemberId(UUID(int=0x0B5))  # an overlay of the creator's


class StreamStory:
    """One stream from the moment it is live. Times are in seconds; time passes only when a test says so."""

    def __init__(
        self,
        *,
        balance: int = 10_000,
        rate: int | None = 60,
        ticket: int | None = None,
        rounding: Rounding = "up",
        block_seconds: int = 30,
        rules: StreamRules | None = None,
        room_rules: RoomRules | None = None,
        blocked: Iterable[UserId] = (),
    ) -> None:
        self.now = START
        self.rules, self.room_rules = rules or StreamRules(), room_rules or RoomRules()
        price = None if rate is None else BlockPrice(rate, block_seconds, rounding)
        self.facts = stream_facts(CREATOR, ticket, price, START)
        self.blocked = set(blocked)
        self.ledger = fake_ledger(CREATOR, EVERYBODY, balance)
        self.committer = FakeCommitter(self.ledger, StreamRecord(status="live", started_at=START))
        self.commit_seconds: float = 0
        self.storage_away = False
        self._commits_at: Instant | None = None
        self.epoch = 1
        self.done: list[effects.Effect] = []
        self._ids = 0
        self.stream = self._begin()

    def _begin(self) -> Stream:
        """Build the rules from the stored rows, as a start or a restart does."""
        history, record = self.committer.read_history(self.blocked), self.committer.read_record()
        self.stream = Stream(self.facts, self.rules, self.room_rules, self.epoch, record, history, self.now)
        for effect in self.stream.open(self.now):
            self._carry_out(effect)
        self._send_batch()
        return self.stream

    # Inputs and time

    def give(self, given: inputs.Input) -> list[effects.Effect]:
        """Give one input now, and carry out everything that follows at once."""
        decided = self.stream.handle(given, self.now)
        left = self.stream.next_deadline()
        assert left is None or left > self.now, "what is due has happened"
        for effect in decided:
            self._carry_out(effect)
        self._send_batch()
        return decided

    def _carry_out(self, effect: effects.Effect) -> None:
        self.done.append(effect)
        match effect:
            case effects.Post(posting):
                self.committer.queue.append(posting)
            case effects.Refund() | effects.GiveBack() | effects.Release():
                self.committer.queue.append(effect)
            case effects.Save(record):
                self.committer.save(record)
            case effects.Withdraw(payer):
                self.committer.withdraw(payer)
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
        for arrival in self.committer.commit_batch(self.epoch, self.now):
            self.give(arrival)
        self._send_batch()

    def wait(self, seconds: float) -> None:
        """Let time pass: deadlines and commits happen when they are due."""
        target = self.now + duration(seconds)
        while (due := self._next_moment()) is not None and due <= target:
            self.now = max(self.now, due)
            if self._commits_at is not None and self._commits_at <= self.now and not self.storage_away:
                self.commit_batch()
            else:
                self.give(inputs.Elapsed())
        self.now = max(self.now, target)

    def _next_moment(self) -> Instant | None:
        commits_at = None if self.storage_away else self._commits_at
        moments = [at for at in (self.stream.next_deadline(), commits_at) if at is not None]
        return None if self.stream.settled else min(moments, default=None)

    def oversleep(self, seconds: float) -> None:
        """Let time pass without waking the task, so that it finds all deadlines in the past."""
        self.now += duration(seconds)
        self.give(inputs.Elapsed())

    # Actions of users

    def join(self, user_id: UserId, number: int = 1, *, operator: bool = False) -> Any:
        """Join with a connection, and return the answer: a `room:joined`, or a refusal."""
        return self.join_with(self.read_meter(user_id, operator=operator), user_id, number, operator=operator)

    def read_meter(self, user_id: UserId, *, operator: bool = False) -> StoredMeter | None:
        """Read what a join reads from the database: the meter of a user who would pay and seems to have access."""
        access_policy = self.stream.access_policy
        if not access_policy.pays(user_id, operator) or access_policy.refuse(user_id, operator) is not None:
            return None
        row = self.ledger.meters.setdefault((STREAM, user_id), MeterRow())
        return StoredMeter(row.last_block, row.tokens, self.committer.active.get(user_id, 0), self.funds(user_id))

    def join_with(self, meter: StoredMeter | None, user_id: UserId, number: int = 1, *, operator: bool = False) -> Any:
        """Join with what was read from the database before."""
        reply = FakeReply()
        self.give(inputs.Joined(device(user_id, number), user_id, reply, operator, meter))
        return reply.answer

    def change_rights(self, user_id: UserId, number: int = 1, *, operator: bool, known: bool = True) -> None:
        """Give a connection a token with or without an operator's rights; `known`: their meter was read."""
        meter = self.read_meter(user_id, operator=operator) if known else None
        self.give(inputs.RightsChanged(device(user_id, number), operator, meter))

    def join_overlay(self, *missed: m.HistoryTip, creator_id: UserId = CREATOR, asked_at: Instant | None = None) -> Any:
        reply = FakeReply()
        self.give(inputs.OverlayJoined(SCREEN, creator_id, missed, asked_at or self.now, reply))
        return reply.answer

    def leave_overlay(self) -> None:
        self.give(inputs.Left(SCREEN))

    def watch(self, *viewers: UserId) -> "StreamStory":
        """The creator is present, and these users watch."""
        for user_id in (CREATOR, *viewers):
            assert isinstance(self.join(user_id), m.RoomJoined)
        return self

    def leave(self, user_id: UserId, number: int = 1) -> None:
        self.give(inputs.Left(device(user_id, number)))

    def fall_silent(self, user_id: UserId, number: int = 1, *, for_seconds: float = 0) -> None:
        """Note now that a connection is silent; its last byte came so many seconds before."""
        self.give(inputs.ConnectionSilent(device(user_id, number), self.now - duration(for_seconds)))

    def be_responsive(self, user_id: UserId, number: int = 1) -> None:
        self.give(inputs.ConnectionResponsive(device(user_id, number)))

    def stall(self, seconds: float) -> None:
        """The server stalls for so long, and every connection counts as silent."""
        until = self.now + duration(seconds)
        self.give(inputs.Stalled(until, all_silent=True))
        self.now = until

    def send_command(self, user_id: UserId, command: c.MemberCommand, *, over_http: bool = False) -> FakeReply:
        """Send a room command over this user's first connection, or over HTTP; the answer may come later."""
        self._ids += 1
        reply, member_id = FakeReply(), None if over_http else device(user_id)
        self.give(inputs.RoomAction(person(user_id), member_id, command, UUID(int=self._ids), reply))
        return reply

    def chat(self, user_id: UserId, text: str) -> Any:
        return self.send_command(user_id, c.ChatSend(channel=self.facts.channel, text=text)).answer

    def tip(
        self,
        user_id: UserId,
        tokens: int,
        key: str | None = None,
        message: str | None = None,
        *,
        over_http: bool = False,
    ) -> FakeReply:
        command = c.TipSend(
            channel=self.facts.channel, amount_tokens=tokens, message=message, key=key or f"tip {self._ids}"
        )
        return self.send_command(user_id, command, over_http=over_http)

    def signal(self, sender: UserId, receiver: UserId, data: Any = "offer") -> Any:
        to = device(receiver)
        return self.send_command(sender, c.SignalSend(channel=self.facts.channel, to=to, data=data)).answer

    def mute(self, user_id: UserId, *, by: UserId = CREATOR) -> Any:
        return self.send_command(by, c.MemberMute(channel=self.facts.channel, user_id=user_id)).answer

    def remove(self, user_id: UserId, *, by: UserId = CREATOR) -> Any:
        return self.send_command(by, c.MemberRemove(channel=self.facts.channel, user_id=user_id)).answer

    def block(self, user_id: UserId, blocked: bool = True) -> None:
        self.give(inputs.UserBlocked(user_id, blocked))

    def end(self, reason: str = "ended") -> None:
        self.give(inputs.EndNow(reason))

    # Payments elsewhere

    def buy_ticket(self, user_id: UserId) -> None:
        ticket_id = self.book_ticket(user_id)
        assert ticket_id is not None
        self.give(inputs.TicketSold(user_id, ticket_id))

    def book_ticket(self, user_id: UserId) -> UUID | None:
        """Book a ticket that the room has not received yet; None if it cannot be sold."""
        self._ids += 1
        price, ticket_id = self.facts.ticket_price_tokens, UUID(int=self._ids)
        assert price is not None, "this stream sells tickets"
        posting = ticket_sale(user_id, price, f"ticket {self._ids}", room_id=STREAM, ticket_id=ticket_id)
        return ticket_id if self.ledger.apply([posting])[0].paid else None

    def refund_ticket(self, user_id: UserId) -> None:
        for arrival in self.committer.refund(user_id):
            self.give(arrival)

    def top_up(self, user_id: UserId, tokens: int) -> None:
        """Add tokens from elsewhere; the room receives the new balance."""
        self._ids += 1
        self.ledger.apply([credit(user_id, tokens, f"top-up {self._ids}")])
        self.send_funds(user_id)

    def spend(self, user_id: UserId, tokens: int) -> None:
        """Spend tokens elsewhere; the room receives the new balance."""
        self.spend_silently(user_id, tokens)
        self.send_funds(user_id)

    def spend_silently(self, user_id: UserId, tokens: int) -> None:
        self._ids += 1
        self.ledger.apply([payment(user_id, tokens, f"spent {self._ids}")])

    def send_funds(self, user_id: UserId) -> None:
        self.give(inputs.FundsChanged(user_id, self.funds(user_id)))

    # Actions of servers

    def storage_goes_away(self) -> None:
        self.storage_away = True

    def storage_comes_back(self) -> None:
        self.storage_away = False
        while self.committer.batch:
            self.commit_batch()

    def checkpoint(self) -> None:
        """Store the active time of running clocks, as a server does every few seconds."""
        for meter in self.stream.viewing_sessions.running():
            self.committer.active[meter.payer] = meter.billed_active(self.now)
        if (present := self.stream.unreleased_presence(self.now)) is not None:
            self.committer.note_presence(present)

    def crash(self, *, committed: bool = False, down_seconds: float = 0) -> None:
        """The server crashes, and another adopts the stream; the batch under way was committed before or never is."""
        if committed:
            self.committer.commit_batch(self.epoch, self.now)
        self.committer.batch, self.committer.queue, self._commits_at = [], [], None
        self.storage_away = False
        self.now += duration(down_seconds)
        self.adopt()

    def drain(self, *, down_seconds: float = 0) -> None:
        """The server drains, and another adopts the stream."""
        self.drain_begins()
        assert self.stream.settled
        self.now += duration(down_seconds)
        self.adopt()

    def drain_begins(self) -> None:
        self.give(inputs.Drain())

    def adopt(self) -> None:
        self.epoch = self.ledger.claim(STREAM)
        self._begin()

    # Results

    def blocks(self, user_id: UserId) -> int:
        """Return this viewer's booked blocks."""
        row = self.ledger.meters.get((STREAM, user_id))
        return 0 if row is None else row.last_block

    def balance(self, user_id: UserId) -> int:
        return self.ledger.wallets[user_id].balance

    def funds(self, user_id: UserId) -> Funds:
        wallet = self.ledger.wallets[user_id]
        return Funds(wallet.balance, wallet.n)

    def is_in(self, user_id: UserId) -> bool:
        return bool(self.stream.members.of(user_id))

    def published(self, audience: Audience = Audience.MEMBERS) -> list[m.SequencedEvent]:
        done = [effect for effect in self.done if isinstance(effect, effects.Publish)]
        return [effect.event for effect in done if effect.audience is audience]

    def kinds(self, audience: Audience = Audience.MEMBERS) -> list[str]:
        """Return the `type` of every event to one audience, in order."""
        return [_kind(event) for event in self.published(audience)]

    def received(self, user_id: UserId) -> list[Any]:
        """Return the private events to one user."""
        return [effect.event for effect in self.done if isinstance(effect, effects.Send) and effect.user_id == user_id]

    def received_types(self, user_id: UserId) -> list[str]:
        """Return the `type` of every private event to one user."""
        return [_kind(event) for event in self.received(user_id)]

    def revoked(self, user_id: UserId) -> list[str]:
        """Return the reason of each eviction of this user."""
        return [event.reason for event in self.received(user_id) if isinstance(event, m.AccessRevoked)]


def earnings(story: StreamStory) -> list[m.WalletChanged]:
    """Return the owner's wallet events."""
    return [event for event in story.received(CREATOR) if isinstance(event, m.WalletChanged)]


def _kind(event: msgspec.Struct) -> str:
    return str(event.__struct_config__.tag)
