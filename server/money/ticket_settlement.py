"""Settles tickets outside of rooms: releases them to creators, or refunds them to their buyers.

The price of a ticket is in escrow until its stream has been live for long enough (contract.md, Tickets).
Due work is stored in the database, so the next round of any server does what a crash interrupted.
"""

from collections.abc import Sequence

import structlog
import trio

from domain.ids import PostingKey, RoomId, UserId
from domain.stream.record import StreamRules
from domain.stream.ticket_release import are_earned
from storage.ledger.actor import StorageActor
from storage.postgres import Postgres
from storage.rooms.tickets import (
    StreamInEscrow,
    expire_streams,
    find_escrow_of,
    find_tickets,
    find_tickets_in_escrow,
    report_uncovered,
    streams_to_settle,
    tickets_to_return,
)

ROUND_SECONDS = 5.0  # longest wait for work that a stopped server left; a round without work is three queries
NEVER_STARTED = {"cancelled": "the stream was cancelled", "expired": "the stream was not started in time"}
TOO_SHORT = "the stream ended too early"
REMOVED = "its holder was removed or blocked by the creator"

log = structlog.get_logger(__name__)


class Tickets:
    """Releases and refunds tickets.

    Rooms call `release` and `give_back`, REST routes call `settle`, and one task of maintenance runs the rounds.
    Every method is idempotent and may be cancelled: a later round completes its work.
    """

    def __init__(self, postgres: Postgres, actor: StorageActor, rules: StreamRules) -> None:
        self._postgres = postgres
        self._actor = actor
        self._rules = rules
        self._wanted = trio.Event()

    def request_round(self) -> None:
        """Start the next round at once, because tickets may be due. Returns at once; further calls add no rounds."""
        self._wanted.set()

    async def next_round(self) -> None:
        """Wait for `request_round`, at most ROUND_SECONDS, then settle all due tickets.

        First ends streams that were not started within `stream_expiry_days`. Raises StorageUnavailable.
        """
        with trio.move_on_after(ROUND_SECONDS):
            await self._wanted.wait()
        self._wanted = trio.Event()
        for stream_id in await expire_streams(self._postgres, self._rules.stream_expiry_days):
            await self.settle(stream_id)
        for stream in await streams_to_settle(self._postgres):
            await self._settle(stream)
        for due in await tickets_to_return(self._postgres):
            await self._give_back([due.key], REMOVED)

    async def settle(self, stream_id: RoomId) -> None:
        """Release the tickets of an ended stream if they are earned, else refund them. Does nothing for a live stream.

        Raises StorageUnavailable.
        """
        stream = await find_escrow_of(self._postgres, stream_id)
        if stream is not None:
            await self._settle(stream)

    async def release(self, stream_id: RoomId, epoch: int | None = None) -> bool:
        """Credit a stream's tickets to its creator: those in escrow now, and each that is sold later at its sale.

        Returns False, with nothing done, if the room has a later epoch than `epoch`; None skips this check, for a
        stream without a live room. Raises StorageUnavailable.
        """
        return await self._actor.release(stream_id, epoch) is not None

    async def give_back(self, stream_id: RoomId, user_id: UserId) -> None:
        """Refund the ticket of a user whom the creator removed or blocked, if there is one. Raises StorageUnavailable.

        After the release the refund is taken from the creator's balance. What that does not cover is reported.
        """
        await self._give_back(await find_tickets(self._postgres, stream_id, user_id), REMOVED)

    async def _settle(self, stream: StreamInEscrow) -> None:
        """Refund all tickets of a stream that never started; release earned ones; refund the rest after its end."""
        if stream.end_reason in NEVER_STARTED:
            # Includes tickets that were sold before escrow existed and credited at once.
            tickets = await find_tickets(self._postgres, stream.stream_id)
            await self._give_back(tickets, NEVER_STARTED[stream.end_reason])
        elif stream.released or (stream.end_reason is not None and are_earned(stream.present, self._rules)):
            await self.release(stream.stream_id)
        elif stream.end_reason is not None:
            await self._give_back(await find_tickets_in_escrow(self._postgres, stream.stream_id), TOO_SHORT)

    async def _give_back(self, tickets: Sequence[PostingKey], why: str) -> None:
        """Refund tickets from escrow or from the creator's balance, and report what these do not cover to operators."""
        if not tickets:
            return
        refunded = await self._actor.refund(tickets, why)
        if refunded.uncovered:
            log.warning("tickets.uncovered", tickets=await report_uncovered(self._postgres, tickets, why))
