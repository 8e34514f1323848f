"""A fake committer of a call's room above a fake ledger, in plain values."""

from uuid import UUID

from domain.billing.posting import Outcome, Posting, Receipt
from domain.call.record import CallRecord
from domain.ids import CallId, UserId
from domain.room import effects, inputs
from tests.model.ledger import Ledger

CALL = CallId(UUID(int=0xCA11))


class FakeCommitter:
    """A committer above a fake ledger: one batch of postings is under way at a time; later ones form the next batch."""

    def __init__(self, ledger: Ledger, record: CallRecord) -> None:
        self.ledger = ledger
        self.stored = record
        self.queue: list[Posting | Receipt | CallRecord | effects.GiveBack] = []
        self.batch: list[Posting | Receipt | CallRecord | effects.GiveBack] = []

    def post(self, posting: Posting) -> None:
        self.queue.append(posting)

    def give_back(self, blocks: effects.GiveBack) -> None:
        self.queue.append(blocks)

    def save(self, record: CallRecord) -> None:
        self.queue = [item for item in self.queue if not isinstance(item, CallRecord)] + [record]

    def withdraw(self, payer: UserId | None = None) -> None:
        self.queue = [Receipt(item, Outcome.WITHDRAWN) if isinstance(item, Posting) else item for item in self.queue]

    def send_batch(self) -> bool:
        """Send what was gathered, unless a batch is under way."""
        if self.batch or not self.queue:
            return False
        self.batch, self.queue = self.queue, []
        return True

    def commit_batch(self, epoch: int) -> list[inputs.Input]:
        """Commit the batch under way, and return the inputs that the room receives from it."""
        arrivals: list[inputs.Input] = []
        receipts: list[Receipt] = []
        for item in self.batch:
            match item:
                case Posting():
                    receipts += self.ledger.apply([item])
                case Receipt():
                    receipts.append(item)
                case effects.GiveBack(blocks):
                    back = self.ledger.refund(blocks, advance=False)
                    arrivals += [*(inputs.BlockRefunded(receipt.posting) for receipt in back), inputs.GivenBack()]
                case CallRecord():
                    arrivals.append(self._store(item, epoch))
        self.batch = []
        return [inputs.Receipts(tuple(receipts)), *arrivals] if receipts else arrivals

    def _store(self, record: CallRecord, epoch: int) -> inputs.Input:
        room = self.ledger.rooms[CALL]
        if room.ended or room.epoch != epoch:
            return inputs.Fenced()
        self.stored = record
        if record.status == "ended":
            self.ledger.end(CALL)
        return inputs.Saved(record)
