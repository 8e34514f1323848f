"""Hands one room's postings and records to the books, one list at a time, in order, and brings back what came of it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PostingKey, UserId
from domain.room import inputs
from server.rooms.inbox.inbox import Inbox


class Storage(Protocol):
    """Where a room's postings and records go; both wait as long as the database is away.

    What returns whether it was done returns False, with nothing done, if the room has a later owner.
    """

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]: ...

    def submit(self, postings: Sequence[Posting], deliver: Callable[[list[Receipt]], None]) -> bool: ...

    async def save(self, record: Any) -> bool: ...

    async def refund_ticket(self, user_id: UserId) -> None: ...

    async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool: ...

    async def release_tickets(self) -> bool: ...


class Committer:
    """One commit in flight; what gathers meanwhile goes as one list. Every posting gets one receipt, in order."""

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
        self._waiting.append(posting)
        self._go_on()

    def withdraw(self, payer: UserId | None = None) -> None:
        """Take back what was not handed over yet; with a payer, only that payer's blocks."""
        taken = [posting for posting in self._waiting if payer is None or _is_block_of(payer, posting)]
        self._waiting = [posting for posting in self._waiting if posting not in taken]
        self._withdrawn += taken
        self._go_on()

    def refund(self, user_id: UserId) -> None:
        """Give back what this user paid for a ticket, if they hold one, once the record that goes with it is stored."""
        self._refunds.append(user_id)
        self._go_on()

    def give_back(self, blocks: Sequence[PostingKey]) -> None:
        """Refund these blocks, once those of them that are under way are booked."""
        self._given_back += blocks
        self._go_on()

    def release(self) -> None:
        """Credit the tickets in escrow to the creator, and later ones as they are sold."""
        self._release = True
        self._go_on()

    def save(self, record: Any) -> None:
        """A later record replaces one that still waits."""
        self._record = record
        self._go_on()

    async def run(self) -> None:
        """Until cancelled. A commit in flight then goes on by itself, and is found by its keys."""
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
        """Whatever is next, unless something is under way: postings alone need no task that waits for them."""
        others = self._withdrawn or self._refunds or self._given_back or self._release or self._record is not None
        if self._busy or not (self._waiting or others):
            return
        self._busy = True
        if not others and self._storage.submit(self._waiting, self._receive):
            self._waiting = []
        else:
            self._work.set()

    def _receive(self, receipts: list[Receipt]) -> None:
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
        """A refund follows the record that says why: until that is stored, a removed user could buy another ticket.

        Where the record is refused, its refunds are dropped: the room's next owner knows of no removal.
        """
        record, self._record = self._record, None
        refunds, self._refunds = self._refunds, []
        saved = record is None or await self._storage.save(record)
        for user_id in refunds if saved else ():
            await self._storage.refund_ticket(user_id)
        if record is not None:  # last: a room that is stored may be over, and its refunds would be cut off
            self._inbox.deliver(inputs.Saved(record) if saved else inputs.Fenced())


def _is_block_of(payer: UserId, posting: Posting) -> bool:
    return posting.debit == payer and posting.kind is Kind.BLOCK
