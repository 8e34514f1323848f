"""Passes one room's postings and records to storage, in order, and delivers the outcomes to the room's inbox."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PostingKey, UserId
from domain.room import inputs
from server.rooms.inbox.inbox import Inbox


class Storage(Protocol):
    """The storage of one room, under one epoch. Its coroutines wait while the database is out of reach.

    Those that return a bool return False, with nothing done, if the room has a later epoch.
    """

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Commit these postings in order; one receipt for each."""
        ...

    def submit(self, postings: Sequence[Posting], deliver: Callable[[list[Receipt]], None]) -> bool:
        """Commit without a waiting task: `deliver` gets the receipts. False if it cannot, with nothing done."""
        ...

    async def save(self, record: Any) -> bool:
        """Store the room's record."""
        ...

    async def refund_ticket(self, user_id: UserId) -> None:
        """Refund this user's ticket for the room, if there is one."""
        ...

    async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool:
        """Record that these committed blocks are to be refunded, and refund those that the payee can cover."""
        ...

    async def release_tickets(self) -> bool:
        """Credit the tickets in escrow to the creator."""
        ...


class Committer:
    """Keeps one commit in flight; what is posted meanwhile is the next list. Each posting gets one receipt."""

    def __init__(self, storage: Storage, inbox: Inbox) -> None:
        self._storage = storage
        self._inbox = inbox
        self._waiting: list[Posting] = []
        self._withdrawn: list[Posting] = []
        self._refunds: list[UserId] = []
        self._given_back: list[PostingKey] = []
        self._release = False
        self._record: Any = None
        self._busy = False
        self._left = False
        self._work = trio.Event()

    def post(self, posting: Posting) -> None:
        """Commit a posting after those that were posted before it."""
        self._waiting.append(posting)
        self._go_on()

    def withdraw(self, payer: UserId | None = None) -> None:
        """Withdraw the postings that were not passed to storage yet; with a payer, only that payer's blocks.

        Each gets a receipt with the outcome WITHDRAWN.
        """
        taken = [posting for posting in self._waiting if payer is None or _is_block_of(payer, posting)]
        self._waiting = [posting for posting in self._waiting if posting not in taken]
        self._withdrawn += taken
        self._go_on()

    def refund(self, user_id: UserId) -> None:
        """Refund this user's ticket, if there is one, once the record that belongs to it is stored."""
        self._refunds.append(user_id)
        self._go_on()

    def give_back(self, blocks: Sequence[PostingKey]) -> None:
        """Refund these blocks, after those of them that are being committed."""
        self._given_back += blocks
        self._go_on()

    def release(self) -> None:
        """Credit the tickets in escrow to the creator, and later ones as they are sold."""
        self._release = True
        self._go_on()

    def save(self, record: Any) -> None:
        """Store a record after the postings before it. A later record replaces one that still waits."""
        self._record = record
        self._go_on()

    async def run(self) -> None:
        """Carry out what is posted until cancelled.

        On cancellation a commit in flight may still succeed; its postings keep their keys, so it is found later.
        """
        try:
            while True:
                await self._work.wait()
                self._work = trio.Event()
                await self._commit()
                self._hand_back()
                await self._give_back_blocks()
                await self._release_tickets()
                await self._store()  # last: the record of an ended stream is never stored before what it earned
                self._busy = False
                self._go_on()
        finally:
            self._left = True

    def _go_on(self) -> None:
        """Start the next work if none is in flight. Postings alone are submitted directly, without waking `run`."""
        others = self._withdrawn or self._refunds or self._given_back or self._release or self._record is not None
        if self._busy or not (self._waiting or others):
            return
        self._busy = True
        if not others and self._storage.submit(self._waiting, self._receive):
            self._waiting = []
        else:
            self._work.set()

    def _receive(self, receipts: list[Receipt]) -> None:
        """Deliver the receipts of submitted postings; runs in the storage actor's task."""
        if not self._left:
            self._inbox.deliver(inputs.Receipts(tuple(receipts)))
            self._busy = False
            self._go_on()

    async def _commit(self) -> None:
        postings, self._waiting = self._waiting, []
        if postings:
            self._inbox.deliver(inputs.Receipts(tuple(await self._storage.post(postings))))

    def _hand_back(self) -> None:
        postings, self._withdrawn = self._withdrawn, []
        if postings:
            self._inbox.deliver(inputs.Receipts(tuple(Receipt(posting, Outcome.WITHDRAWN) for posting in postings)))

    async def _give_back_blocks(self) -> None:
        blocks, self._given_back = self._given_back, []
        if blocks:
            is_ours = await self._storage.refund_blocks(blocks)
            self._inbox.deliver(inputs.GivenBack() if is_ours else inputs.Fenced())

    async def _release_tickets(self) -> None:
        if self._release:
            self._release = False
            if not await self._storage.release_tickets():
                self._inbox.deliver(inputs.Fenced())

    async def _store(self) -> None:
        """Store the record, and then make the refunds that follow from it.

        Until the record of a removal is stored, the removed user could buy another ticket. If the record is refused,
        its refunds are dropped: the room's next owner does not know of the removal.
        """
        record, self._record = self._record, None
        refunds, self._refunds = self._refunds, []
        saved = record is None or await self._storage.save(record)
        for user_id in refunds if saved else ():
            await self._storage.refund_ticket(user_id)
        if record is not None:  # last: a room may end once its record is stored, which would cancel the refunds
            self._inbox.deliver(inputs.Saved(record) if saved else inputs.Fenced())


def _is_block_of(payer: UserId, posting: Posting) -> bool:
    return posting.debit == payer and posting.kind is Kind.BLOCK
