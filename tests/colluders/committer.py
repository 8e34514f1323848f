"""Carries out the effects of a room on the ledger model, as late and as incompletely as a rule of Hypothesis says."""

from typing import Any

import msgspec

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.call.record import CallRecord
from domain.ids import PostingKey, RoomId, UserId
from domain.instant import Duration
from domain.room import effects, inputs
from domain.stream.record import StreamRecord
from tests.model.ledger import Ledger

Record = CallRecord | StreamRecord
Item = Posting | Receipt | Record | effects.Refund | effects.GiveBack | effects.Release
ORDER = (Posting, Receipt, effects.Refund, effects.GiveBack, effects.Release, CallRecord, StreamRecord)


class Committer:
    """The queue and the batch under way of one room: one batch at a time, in order; later effects form the next."""

    def __init__(self, ledger: Ledger, room_id: RoomId, record: Record) -> None:
        self.ledger = ledger
        self.room_id = room_id
        self.stored: Any = record
        self.active: dict[UserId, Duration] = {}  # of each payer of a stream, as it is stored
        self.set_backs: dict[UserId, Any] = {}
        self.queue: list[Item] = []
        self.batch: list[Item] = []
        self.arrivals: list[inputs.Input] = []  # inputs that are still to be delivered to the room
        self.asked_back: set[PostingKey] = set()  # all blocks that were to be refunded
        self.uncovered: set[PostingKey] = set()  # … and were not, since the payee could not cover them

    def carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Post(posting):
                self.queue.append(posting)
            case effects.Save(record):
                self.queue = [item for item in self.queue if not isinstance(item, Record)] + [record]
            case effects.Refund() | effects.GiveBack() | effects.Release():
                self.queue.append(effect)
            case effects.Withdraw(payer):
                taken = [item for item in self.queue if isinstance(item, Posting) and _is_block_of(payer, item)]
                kept = [item for item in self.queue if item not in taken]
                self.queue = [*kept, *(Receipt(item, Outcome.WITHDRAWN) for item in taken)]

    def under_way(self) -> list[Posting]:
        """Return the postings whose receipts the room has not received."""
        undelivered = [receipt for arrival in self.arrivals for receipt in _receipts(arrival)]
        sent = [item for item in (*self.batch, *self.queue) if isinstance(item, Posting)]
        return [*sent, *(receipt.posting for receipt in undelivered)]

    def commit_and_send(self, epoch: int) -> None:
        """Commit the batch under way, and send the next one."""
        self.commit_batch(epoch)
        if self.queue:
            self.batch, self.queue = sorted(self.queue, key=_rank), []

    def commit_batch(self, epoch: int, *, without_record: bool = False) -> None:
        receipts: list[Receipt] = []
        arrivals: list[inputs.Input] = []
        for item in self.batch:
            match item:
                case Posting():
                    receipts += self.ledger.apply([item])
                case Receipt():
                    receipts.append(item)
                case effects.Refund(user_id):
                    arrivals += self.refund_ticket(user_id)
                case effects.GiveBack(blocks):
                    arrivals += self.give_back(blocks)
                case effects.Release():
                    self.ledger.release(self.room_id)
                case CallRecord() | StreamRecord() if not without_record:
                    arrivals.append(self._store(item, epoch))
        self.batch = []
        self.arrivals += [inputs.Receipts(tuple(receipts)), *arrivals] if receipts else arrivals

    def give_back(self, blocks: tuple[PostingKey, ...]) -> list[inputs.Input]:
        """Refund each scheduled block that its payee can cover."""
        self.asked_back |= set(blocks)
        back = self.ledger.refund(blocks, advance=False)
        given = {receipt.posting.content for receipt in back}
        self.uncovered |= {key for key in blocks if key not in given}
        refunds = [inputs.BlockRefunded(receipt.posting) for receipt in back]
        return [*refunds, inputs.GivenBack()] if isinstance(self.stored, CallRecord) else []

    def active_of(self, payer: UserId) -> Duration | None:
        """Return the active time that a bill names (`GET /billing`)."""
        if isinstance(self.stored, CallRecord):
            active: Duration = self.stored.active
            return active
        return self.active.get(payer)

    def refund_ticket(self, user_id: UserId) -> list[inputs.Input]:
        """Refund a ticket, if the user holds one and its tokens are there."""
        key = self.ledger.tickets.get((self.room_id, user_id))
        if key is None or not self.ledger.refund([key], advance=False):
            return []
        ticket_id = self.ledger.journal[key].ref_id
        assert ticket_id is not None, "a ticket has an id"
        return [inputs.TicketRefunded(user_id, ticket_id)]

    def lose(self) -> None:
        """Drop everything in memory, as after a crash."""
        self.queue, self.batch, self.arrivals = [], [], []

    def _store(self, record: CallRecord | StreamRecord, epoch: int) -> inputs.Input:
        room = self.ledger.rooms[self.room_id]
        if room.ended or room.epoch != epoch:
            return inputs.Fenced()
        if isinstance(record, StreamRecord):
            payers = [payer for payer, _ in record.viewing_sessions]
            self.active.update(record.viewing_sessions)
            self.set_backs.update(zip(payers, record.set_backs, strict=True))
            present = max(self.stored.present, record.present)
            self.stored = msgspec.structs.replace(record, viewing_sessions=(), set_backs=(), present=present)
        else:
            self.stored = record
        if record.status == "ended":
            self.ledger.end(self.room_id)
        return inputs.Saved(record)


def _receipts(arrival: inputs.Input) -> tuple[Receipt, ...]:
    return arrival.receipts if isinstance(arrival, inputs.Receipts) else ()


def _is_block_of(payer: UserId | None, posting: Posting) -> bool:
    return payer is None or (posting.debit == payer and posting.kind is Kind.BLOCK)


def _rank(item: Item) -> int:
    return next(rank for rank, kind in enumerate(ORDER) if isinstance(item, kind))
