"""A fake committer of a stream's room above a fake ledger, in plain values."""

from collections.abc import Set

import msgspec

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import UserId
from domain.instant import Duration, Instant, rfc3339
from domain.protocol import events as m
from domain.room import effects, inputs
from domain.stream.record import StreamHistory, StreamRecord, StreamRules
from domain.stream.ticket_release import are_earned
from tests.domain.stream_rows import STREAM, person
from tests.model.ledger import Ledger

Item = Posting | Receipt | StreamRecord | effects.Refund | effects.GiveBack | effects.Release


class FakeCommitter:
    """A committer above a fake ledger: one batch is under way at a time; later effects form the next batch."""

    def __init__(self, ledger: Ledger, record: StreamRecord) -> None:
        self.ledger = ledger
        self.stored = record
        self.active: dict[UserId, Duration] = {}  # of each payer, as it is stored
        self.tips: list[m.HistoryTip] = []
        self.queue: list[Item] = []
        self.batch: list[Item] = []

    def save(self, record: StreamRecord) -> None:
        self.queue = [item for item in self.queue if not isinstance(item, StreamRecord)] + [record]

    def withdraw(self, payer: UserId | None) -> None:
        """Withdraw postings that are not sent; their receipts come after those of the others."""
        taken = [item for item in self.queue if isinstance(item, Posting) and _is_of(payer, item)]
        kept = [item for item in self.queue if item not in taken]
        self.queue = [*kept, *(Receipt(item, Outcome.WITHDRAWN) for item in taken)]

    def send_batch(self) -> bool:
        """Send what was gathered, unless a batch is under way: postings, refunds, then the record."""
        if self.batch or not self.queue:
            return False
        self.batch, self.queue = sorted(self.queue, key=_rank), []
        return True

    def commit_batch(self, epoch: int, at: Instant) -> list[inputs.Input]:
        """Commit the batch under way, and return the inputs that the room receives from it."""
        arrivals: list[inputs.Input] = []
        receipts: list[Receipt] = []
        for item in self.batch:
            match item:
                case Posting():
                    receipts += self.ledger.apply([item])
                    self._note_tip(receipts[-1], at)
                case Receipt():
                    receipts.append(item)
                case effects.Refund(user_id):
                    arrivals += self.refund(user_id)
                case effects.GiveBack(blocks):
                    self.ledger.refund(list(blocks), advance=False)
                case effects.Release():
                    self.ledger.release(STREAM)
                case StreamRecord():
                    arrivals.append(self._store(item, epoch))
        self.batch = []
        return [inputs.Receipts(tuple(receipts)), *arrivals] if receipts else arrivals

    def refund(self, user_id: UserId) -> list[inputs.Input]:
        """Refund a ticket's price, if they hold one."""
        key = self.ledger.tickets.get((STREAM, user_id))
        if key is None:
            return []
        if not self.ledger.refund([key], advance=False):
            return []
        ticket_id = self.ledger.journal[key].ref_id
        assert ticket_id is not None, "a ticket has an id"
        return [inputs.TicketRefunded(user_id, ticket_id)]

    def read_history(self, blocked: Set[UserId]) -> StreamHistory:
        """Read what a room needs of its stream's past: tickets, earnings and tips."""
        earned = sum(row.tokens for row in self.ledger.meters.values())
        tickets = {user_id: self.ledger.journal[key].ref_id for (_, user_id), key in self.ledger.tickets.items()}
        held = {user_id: ticket_id for user_id, ticket_id in tickets.items() if ticket_id is not None}
        return StreamHistory(held, blocked, earned, tuple(self.tips))

    def read_record(self) -> StreamRecord:
        return msgspec.structs.replace(self.stored, released=self.ledger.rooms[STREAM].released)

    def note_presence(self, present: Duration) -> None:
        """Store for how long the creator was present; the stored value never decreases."""
        self.stored = msgspec.structs.replace(self.stored, present=max(self.stored.present, present))

    def settle_tickets(self, rules: StreamRules) -> None:
        """Do what a server does beside its rooms after the end: release earned tickets and refund the others."""
        if self.stored.status != "ended":
            return
        if are_earned(self.stored.present, rules):
            self.ledger.release(STREAM)
        else:
            held = [key for (room_id, _), key in self.ledger.tickets.items() if room_id == STREAM]
            self.ledger.refund(held, advance=False)

    def _note_tip(self, receipt: Receipt, at: Instant) -> None:
        posting = receipt.posting
        if posting.kind is Kind.TIP and receipt.outcome is Outcome.COMMITTED and posting.ref_id is not None:
            self.tips.append(
                m.HistoryTip(
                    at=rfc3339(at),
                    tip_id=posting.ref_id,
                    from_=person(posting.debit),
                    amount_tokens=posting.tokens,
                    message=posting.memo,
                )
            )

    def _store(self, record: StreamRecord, epoch: int) -> inputs.Input:
        room = self.ledger.rooms[STREAM]
        if room.ended or room.epoch != epoch:
            return inputs.Fenced()
        self.note_presence(record.present)
        kept = {"present": self.stored.present, "released": self.ledger.rooms[STREAM].released}
        self.stored = msgspec.structs.replace(record, viewing_sessions=(), **kept)
        self.active.update(record.viewing_sessions)
        if record.status == "ended":
            self.ledger.end(STREAM)
        return inputs.Saved(record)


def _is_of(payer: UserId | None, posting: Posting) -> bool:
    return payer is None or (posting.debit == payer and posting.kind is Kind.BLOCK)


def _rank(item: Item) -> int:
    """Return the order in which a committer handles what it has gathered."""
    kinds = (Posting, Receipt, effects.Refund, effects.GiveBack, effects.Release, StreamRecord)
    return next(rank for rank, kind in enumerate(kinds) if isinstance(item, kind))
