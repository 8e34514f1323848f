"""The storage of one room: commits its postings, stores its records, and makes its refunds, under one epoch."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import trio

from domain.billing.posting import Posting, Receipt
from domain.ids import PostingKey, RoomId, UserId
from server.money.refunds_due import give_back_blocks
from server.money.ticket_settlement import Tickets
from server.observability.faults import Faults
from storage.database_errors import StorageUnavailable
from storage.ledger.actor import StorageActor
from storage.ledger.commands import Deliver
from storage.ledger.refunds_due import note_refunds_due
from storage.postgres import Postgres

RETRY_SECONDS = 0.5  # between tries to read or store a room while the database is away

T = TypeVar("T")


class RoomStorage:
    """Commits the postings and stores the records of one room under one epoch; waits while storage is away."""

    def __init__(
        self,
        postgres: Postgres,
        actor: StorageActor,
        save: Callable[[Any], Awaitable[bool]],
        room_id: RoomId,
        epoch: int,
        faults: Faults,
        fail: Callable[[], None],
        tickets: Tickets,
    ) -> None:
        """`save` stores a record of this room under this epoch, and waits while storage is away.

        `fail` crashes the room; it is called if receipts could not be delivered to it.
        """
        self._postgres = postgres
        self._actor = actor
        self._save = save
        self._room_id = room_id
        self._epoch = epoch
        self._faults = faults
        self._fail = fail
        self._tickets = tickets

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Commit these postings in order; one receipt for each."""
        return await self._actor.post(postings)

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        """Commit without a waiting task: `deliver` gets the receipts in the actor's task. False if it cannot."""
        return self._actor.submit(postings, partial(self._deliver, deliver))

    def _deliver(self, deliver: Deliver, receipts: list[Receipt]) -> None:
        """Runs in the storage actor's task, so an exception of this room is contained here."""
        with self._faults.contained("receipts", self._fail, room=str(self._room_id)):
            deliver(receipts)

    async def save(self, record: Any) -> bool:
        """Store the room's record; False if the room has a later epoch."""
        return await self._save(record)

    async def refund_ticket(self, user_id: UserId) -> None:
        """Refund the ticket of a removed user. An exception is contained: it affects only this refund."""
        with self._faults.contained("refund", room=str(self._room_id), user=str(user_id)):
            await retry_storage(lambda: self._tickets.give_back(self._room_id, user_id))

    async def release_tickets(self) -> bool:
        """Credit the tickets in escrow to the creator. An exception is contained; a later settlement round retries."""
        with self._faults.contained("release", room=str(self._room_id)):
            return await retry_storage(lambda: self._tickets.release(self._room_id, self._epoch))
        return True

    async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool:
        """Record that these blocks are to be refunded, and refund those that the payee can cover now.

        False if the room has a later epoch. An exception is contained.
        """
        with self._faults.contained("refund", room=str(self._room_id)):
            if not await retry_storage(lambda: note_refunds_due(self._postgres, self._room_id, self._epoch, blocks)):
                return False
            await retry_storage(lambda: give_back_blocks(self._postgres, self._actor, blocks))
        return True


async def retry_storage(work: Callable[[], Awaitable[T]]) -> T:
    """Call `work` until the database answers, every RETRY_SECONDS. Other errors are raised."""
    while True:
        try:
            return await work()
        except StorageUnavailable:
            await trio.sleep(RETRY_SECONDS)
