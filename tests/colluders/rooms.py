"""Calls and streams under the real rules on the ledger model: runs their inputs and carries out their effects."""

from abc import abstractmethod
from typing import Protocol
from uuid import UUID

import msgspec

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds, Meter, SetBack, StoredMeter
from domain.billing.posting import Kind
from domain.call.call import Call
from domain.call.record import CallFacts, CallRecord, CallRules
from domain.ids import MemberId, RoomId, UserId
from domain.instant import Instant, duration
from domain.room import effects, inputs
from domain.room.members import RoomRules
from domain.stream.record import StreamFacts, StreamHistory, StreamRecord, StreamRules
from domain.stream.stream import Stream
from tests.colluders.committer import Committer, Record
from tests.domain.stream_rows import person
from tests.model.ledger import Ledger
from tests.model.rows import MeterRow, RoomRow

CALL_RULES = CallRules()
STREAM_RULES = StreamRules(ticket_release_seconds=90)


class Listener(Protocol):
    """Receives all events of a room's parties, and the facts that they can observe."""

    def record(self, room: "Room", effect: effects.Effect) -> None: ...

    def note_refused(self, room: "Room", payer: UserId) -> None:
        """Note a block that could not be paid."""

    def note_end(self, room: "Room", reason: str, members: set[UserId]) -> None: ...


class Room:
    """One room from its creation on."""

    rules: Call | Stream
    facts: CallFacts | StreamFacts

    def __init__(self, ledger: Ledger, room_id: RoomId, payee: UserId, record: Record, listener: Listener) -> None:
        self.ledger, self.id, self.payee, self.listener = ledger, room_id, payee, listener
        self.committer = Committer(ledger, room_id, record)
        self.epoch = 1
        self.opened = True

    @abstractmethod
    def adopt(self, now: Instant) -> None:
        """Build new rules from the rows."""

    def give(self, given: inputs.Input, now: Instant) -> None:
        """Give one input, and carry out its effects except for those of the database."""
        members = {UserId(member.user_id) for member in self.rules.members.listed()}
        if isinstance(given, inputs.Receipts):
            for receipt in given.receipts:
                if receipt.posting.kind is Kind.BLOCK and not receipt.paid:
                    self.listener.note_refused(self, receipt.posting.debit)
        for effect in self.rules.handle(given, now):
            self._carry_out(effect)
        if (reason := self.rules.termination.reason) is not None:
            self.listener.note_end(self, reason, members)

    def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Answer(reply, result):
                reply.deliver(result)
            case effects.Admit(_, reply, event):
                reply.deliver(event)
            case _:
                self.committer.carry_out(effect)
        self.listener.record(self, effect)

    def commit(self, now: Instant) -> None:
        """Commit everything under way, and deliver it to the room."""
        committer = self.committer
        while committer.batch or committer.queue or committer.arrivals:
            if not committer.arrivals:
                committer.commit_and_send(self.epoch)
            while committer.arrivals:
                self.give(committer.arrivals.pop(0), now)

    @property
    def ended(self) -> bool:
        """Return whether the end is stored and no more events will be sent."""
        return self.committer.stored.status == "ended" and (not self.opened or self.rules.settled)

    def member_of(self, user_id: UserId) -> list[MemberId]:
        return [member.member_id for member in self.rules.members.of(user_id)]

    def funds(self, user_id: UserId) -> Funds:
        wallet = self.ledger.wallets[user_id]
        return Funds(wallet.balance, wallet.n)


class CallRoom(Room):
    """A call that rings."""

    rules: Call
    facts: CallFacts

    def __init__(
        self,
        ledger: Ledger,
        number: int,
        fan: UserId,
        creator: UserId,
        price: BlockPrice,
        now: Instant,
        listener: Listener,
    ) -> None:
        room_id = RoomId(UUID(int=0xCA11 << 32 | number))
        super().__init__(ledger, room_id, creator, CallRecord(), listener)
        self.fan, self.price = fan, price
        self.call_rules = msgspec.structs.replace(CALL_RULES, block_seconds=price.block_seconds)
        rings_until = now + duration(CALL_RULES.ring_seconds)
        self.facts = CallFacts(room_id, f"call-{number}", person(fan), person(creator), price, None, now, rings_until)
        ledger.rooms[room_id] = RoomRow()
        ledger.meters[room_id, fan] = MeterRow()
        self.rules = Call(self.facts, self.call_rules, self._meter(), CallRecord())

    def _meter(self) -> Meter:
        row, stored = self.ledger.meters[self.id, self.fan], self.committer.stored
        return Meter(
            room_id=self.id,
            payer=self.fan,
            payee=self.payee,
            price=self.price,
            epoch=self.epoch,
            funds=self.funds(self.fan),
            committed=row.last_block,
            tokens=row.tokens,
            active=stored.active,
            set_back=stored.set_back,
            refunded=(row.refunded_blocks, row.refunded_tokens),
        )

    def adopt(self, now: Instant) -> None:
        self.epoch = self.ledger.claim(self.id)
        self.rules = Call(self.facts, self.call_rules, self._meter(), self.committer.stored, restarted_at=now)


class StreamRoom(Room):
    """A stream: announced, then live once it is started."""

    rules: Stream
    facts: StreamFacts

    def __init__(
        self,
        ledger: Ledger,
        number: int,
        creator: UserId,
        price: BlockPrice | None,
        ticket: int | None,
        now: Instant,
        listener: Listener,
    ) -> None:
        room_id = RoomId(UUID(int=0x57EA << 32 | number))
        super().__init__(ledger, room_id, creator, StreamRecord(), listener)
        self.price, self.ticket = price, ticket
        self.facts = StreamFacts(
            id=room_id,
            channel=f"stream-{number}",
            creator=person(creator),
            title="Live",
            type="public" if price is None and ticket is None else "private",
            ticket_price_tokens=ticket,
            price=price,
            created_at=now,
        )
        self.blocked: set[UserId] = set()
        self.opened = False
        ledger.rooms[room_id] = RoomRow(creator=creator)

    @property
    def live(self) -> bool:
        return bool(self.committer.stored.status == "live")

    def start(self, now: Instant) -> None:
        self.committer.stored = StreamRecord(status="live", started_at=now)
        self.opened = True
        self._open(now)

    def adopt(self, now: Instant) -> None:
        self.epoch = self.ledger.claim(self.id)
        self._open(now)

    def _open(self, now: Instant) -> None:
        rows = {payer: row for (room_id, payer), row in self.ledger.meters.items() if room_id == self.id}
        sold = {user_id: key for (room_id, user_id), key in self.ledger.tickets.items() if room_id == self.id}
        tickets = {user_id: self.ledger.journal[key].ref_id for user_id, key in sold.items()}
        held = {user_id: ticket_id for user_id, ticket_id in tickets.items() if ticket_id is not None}
        history = StreamHistory(held, self.blocked, sum(row.tokens for row in rows.values()))
        record = msgspec.structs.replace(self.committer.stored, released=self.ledger.rooms[self.id].released)
        self.rules = Stream(self.facts, STREAM_RULES, RoomRules(), self.epoch, record, history, now)
        for effect in self.rules.open(now):
            self._carry_out(effect)

    def ask(self, user_id: UserId) -> StoredMeter | None:
        """Return the stored meter and funds that precede a join; None if the user does not pay or is refused."""
        policy = self.rules.access_policy
        if not policy.pays(user_id, False) or policy.refuse(user_id, False) is not None:
            return None
        row = self.ledger.meters.setdefault((self.id, user_id), MeterRow())
        active = self.committer.active.get(user_id, 0)
        set_back = self.committer.set_backs.get(user_id, SetBack())
        return StoredMeter(row.last_block, row.tokens, active, self.funds(user_id), set_back)

    def checkpoint(self, now: Instant) -> None:
        """Store the positions of running clocks, as a server does every few seconds beside the records of the room."""
        for meter in self.rules.viewing_sessions.running():
            self.committer.active[meter.payer] = meter.billed_active(now)
            self.committer.set_backs[meter.payer] = meter.set_back
        if (present := self.rules.unreleased_presence(now)) is not None:
            stored = self.committer.stored
            self.committer.stored = msgspec.structs.replace(stored, present=max(stored.present, present))
