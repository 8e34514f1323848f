"""The storage actor: the only task that writes wallets; one transaction at a time, each with many postings.

Commands that arrive while a batch is in flight form the next batch: batches grow with the load, and a single posting
never waits for others. One statement books the batch and checks it, since a read before it costs more, and a second
batch in flight gains little. An unknown outcome is never guessed: the actor sends the same batch again with the same
idempotency keys, and the journal tells which postings were booked.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, groupby
from typing import Any, Protocol, TypeAlias

import structlog
import trio

from domain.billing.posting import Outcome, Posting, Receipt, fault_of
from domain.ids import PostingKey, RoomId
from storage import wall_clock
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.ledger import batch as batch_statement
from storage.ledger import refunds as refund_statement
from storage.ledger.batch import DecidedBatch
from storage.ledger.commands import Command, Deliver, StatementCommand
from storage.ledger.refunds import MAX_REFUND, Advance, Refunded
from storage.postgres import LoneConnection, Postgres, Row

MAX_BATCH = 384  # postings: each waits for its whole batch, and larger batches gain little
MAX_LIST = 64  # postings of one command; the last command of a batch may exceed MAX_BATCH by as many
SEND_STEPS = 4  # iterations of the event loop until a new batch is written to the socket
MAX_WAITING = 4096  # commands in the mailbox, one for each room: `post` waits and `submit` refuses beyond it
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # between attempts while the database is unavailable; the last one repeats

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Receives the outcome of each batch, for metrics and wallet events. The methods must neither wait nor raise."""

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        """One statement was committed: its receipts in order, and its duration."""

    def posting_poisoned(self, receipt: Receipt) -> None:
        """The database refused this posting permanently; its outcome is INVALID."""


_Booked: TypeAlias = tuple[list[Command], list[DecidedBatch]]


class StorageActor:
    """Books postings: any task may call `post`, `refund`, `release` and `submit` while one task runs `run`.

    Owns a bounded mailbox and one database connection. Each statement takes the write lock, the row `fence`, so that
    the actors of several servers on one database take turns. Cancelling `run` leaves a batch in flight either wholly
    committed or wholly not.
    """

    def __init__(self, postgres: Postgres, observer: Observer) -> None:
        self._postgres = postgres
        self._observer = observer
        self._connection: LoneConnection | None = None
        self._commands, self._mailbox = trio.open_memory_channel[Command](MAX_WAITING)
        self._owed = 0  # commands taken from the mailbox whose receipts are not delivered yet
        self._away_since: float | None = None
        self._clocks_disagree = False  # whether the log has reported it
        self.commit_retries = 0  # since the start
        self.clock_refusals = 0  # retries because the clocks of the server and the database disagree
        self.finished = trio.Event()  # the actor is closed and its last command is booked

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Book these postings in order and return one receipt for each; malformed postings get INVALID without a send.

        Up to MAX_LIST postings are sent in one batch, under the write lock. Waits as long as the database is
        unavailable. Cancelling stops the wait, but not the booking: the caller learns the outcome by posting again with
        the same keys. Raises StorageUnavailable, with no further posting booked, once the actor is closed.
        """
        sound = [posting for posting in postings if fault_of(posting) is None]
        booked: list[Receipt] = []
        for start in range(0, len(sound), MAX_LIST):
            booked += await self._wait_for(partial(Command, sound[start : start + MAX_LIST]))
        found = iter(booked)
        return [Receipt(posting, Outcome.INVALID) if fault_of(posting) else next(found) for posting in postings]

    async def refund(self, paid: Sequence[PostingKey], reason: str, advance: Advance | None = None) -> Refunded:
        """Refund the postings with these keys, each once and in full; all of them must have the same payee.

        A ticket in escrow is paid back from escrow, and any other posting by its payee. With `advance`, the system
        wallet `losses` pays what the payee cannot. An earlier refund is returned as ALREADY. Postings that are no
        block, tip or ticket, or that cost nothing, have no refund. Up to MAX_REFUND are refunded in one transaction,
        under the write lock. Waits, is cancelled and raises StorageUnavailable like `post`.
        """
        receipts: list[Receipt] = []
        uncovered = 0
        keys = list(dict.fromkeys(paid))
        wanted = set(keys)  # the statement also books reduced payouts and repaid debts, which are no refunds of these
        for start in range(0, len(keys), MAX_REFUND):
            arguments = refund_statement.refund_arguments(keys[start : start + MAX_REFUND], reason, advance)
            booked, figures = await self._wait_for_statement("refund", refund_statement.REFUND, arguments)
            receipts += [receipt for receipt in booked if receipt.posting.content in wanted]
            if figures:
                uncovered += figures[0] or 0
                if figures[1]:
                    return Refunded(receipts, uncovered, missing=figures[1])
        return Refunded(receipts, uncovered)

    async def release(self, stream_id: RoomId, epoch: int | None = None) -> int | None:
        """Credit the stream's tickets to its creator, now and when sold later; return how many were in escrow.

        Idempotent. None, with nothing more done, if the room has a later epoch than `epoch`. Up to MAX_REFUND tickets
        are released in one transaction, under the write lock. Waits, is cancelled and raises like `post`.
        """
        released = 0
        while True:
            arguments = stream_id, epoch, MAX_REFUND
            _, figures = await self._wait_for_statement("release", refund_statement.RELEASE, arguments)
            count = figures[0] if figures else 0
            if count is None:
                return None
            released += count
            if count < MAX_REFUND:
                return released

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        """Queue these postings without waiting; the actor passes their receipts, in order, to `deliver`.

        `deliver` runs in the actor's task, and must neither wait nor raise. Returns False, with nothing done, if the
        mailbox is full or closed, there is no posting or more than MAX_LIST, or one is malformed: the caller must use
        `post` then.
        """
        if not 0 < len(postings) <= MAX_LIST or any(map(fault_of, postings)):
            return False
        try:
            self._commands.send_nowait(Command(postings, deliver))
        except (trio.WouldBlock, trio.ClosedResourceError):
            return False
        return True

    async def _wait_for(self, command: Callable[[Deliver], Command]) -> list[Receipt]:
        receipts, _ = await self._wait(command)
        return receipts

    async def _wait_for_statement(
        self, name: str, sql: str, arguments: tuple[Any, ...]
    ) -> tuple[list[Receipt], Sequence[int | None]]:
        receipts, command = await self._wait(partial(StatementCommand, name, sql, arguments))
        assert isinstance(command, StatementCommand), "it was made just now"
        return receipts, command.figures

    async def _wait(self, make: Callable[[Deliver], Command]) -> tuple[list[Receipt], Command]:
        receipts: list[Receipt] = []
        done = trio.Event()

        def deliver(booked: list[Receipt]) -> None:
            receipts.extend(booked)
            done.set()

        command = make(deliver)
        try:
            await self._commands.send(command)
        except trio.ClosedResourceError:
            raise StorageUnavailable("the storage actor is closed") from None
        await done.wait()
        return receipts, command

    @property
    def away_seconds(self) -> float:
        """For how many seconds the database has been unavailable; 0 while it answers."""
        return 0.0 if self._away_since is None else trio.current_time() - self._away_since

    @property
    def idle(self) -> bool:
        """Whether no command waits, none is in flight, and every receipt is delivered."""
        return self._owed == 0 and self.waiting == 0

    @property
    def waiting(self) -> int:
        """The number of commands in the mailbox."""
        return self._mailbox.statistics().current_buffer_used

    def close(self) -> None:
        """Accept no more commands; `run` returns once the last one in the mailbox is booked."""
        self._commands.close()

    def abandon(self) -> None:
        """Close the connection; the outcome of a statement in flight is unknown until its keys are looked up."""
        if self._connection is not None:
            self._connection.terminate()

    async def run(self) -> None:
        """Book batch after batch until `close`. Handles all errors of the database; any other exception is a bug."""
        booked, delivery = trio.open_memory_channel[_Booked](1)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_out_beside, delivery)
                async with booked:
                    while (command := await self._next()) is not None:
                        commands = self._gather(command)
                        decided = await self._carry_out(commands)
                        if self.waiting or self._owed > len(commands):  # deliver after the next batch is sent
                            await booked.send((commands, decided))
                        else:
                            self._hand_out(commands, decided)
            self.finished.set()
        finally:
            self.abandon()

    async def _next(self) -> Command | None:
        """Return the oldest command; None once the mailbox is closed and empty.

        Does not yield if a command waits, since the database is idle until the next batch is sent.
        """
        try:
            try:
                return self._mailbox.receive_nowait()
            except trio.WouldBlock:
                return await self._mailbox.receive()
        except trio.EndOfChannel:
            return None

    def _gather(self, first: Command) -> list[Command]:
        """Take the commands that wait already, up to MAX_BATCH postings; never wait for more."""
        commands, size = [first], len(first.postings)
        while size < MAX_BATCH:
            try:
                command = self._mailbox.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            commands.append(command)
            size += len(command.postings)
        self._owed += len(commands)
        return commands

    async def _hand_out_beside(self, delivery: "trio.MemoryReceiveChannel[_Booked]") -> None:
        """Deliver the receipts of one batch while the database works on the next one."""
        async for commands, decided in delivery:
            for _ in range(SEND_STEPS):
                await trio.lowlevel.checkpoint()
            self._hand_out(commands, decided)

    def _hand_out(self, commands: list[Command], decided: list[DecidedBatch]) -> None:
        for part in decided:
            if part.carried_out:
                self._observer.batch_committed(part.receipts, part.seconds)
            else:
                self._observer.posting_poisoned(part.receipts[0])
        receipts = chain.from_iterable(part.replies for part in decided)
        for command in commands:
            command.deliver([next(receipts) for _ in command.postings])
            self._owed -= 1

    async def _carry_out(self, commands: list[Command]) -> list[DecidedBatch]:
        """Book adjacent posting commands as one batch and each statement command by itself, in order of arrival."""
        decided: list[DecidedBatch] = []
        for are_alone, group in groupby(commands, lambda command: isinstance(command, StatementCommand)):
            if are_alone:
                decided += [
                    await self._decide_statement(command) for command in group if isinstance(command, StatementCommand)
                ]
            else:
                decided += await self._decide([posting for command in group for posting in command.postings])
        return decided

    async def _decide_statement(self, command: StatementCommand) -> DecidedBatch:
        """Send the statement until the database has decided it; it books nothing twice, so retries are safe."""
        tries = 0
        while True:
            try:
                row, seconds = await self._send(command.sql, command.arguments)
            except StorageUnavailable as reason:
                await self._wait_for_database(tries, reason)
            except StatementRefused as refused:
                log.error(f"{command.name}.refused", sqlstate=refused.sqlstate)
                return DecidedBatch([], [], 0.0)
            else:
                decided = refund_statement.decided_refund(row, seconds)
                command.postings = [receipt.posting for receipt in decided.receipts]
                command.figures = refund_statement.statement_figures(row)
                return decided
            tries += 1

    async def _decide(self, postings: list[Posting], careful: bool = False) -> list[DecidedBatch]:
        """Send the batch until the database has decided it: as one, or in parts if it refuses a posting permanently."""
        tries = 0
        while True:
            try:
                row, seconds = await self._send(
                    batch_statement.APPLY, batch_statement.batch_arguments(postings, careful)
                )
                return [batch_statement.decided_batch(postings, row, seconds)]
            except StorageUnavailable as error:
                await self._wait_for_database(tries, error)
            except StatementRefused as refused:
                if careful or not batch_statement.needs_care(refused):
                    return await self._isolate(postings, refused)
            careful = True  # look up the keys in each retry: an earlier attempt may have booked some
            tries += 1

    async def _send(self, statement: str, arguments: Sequence[Any]) -> tuple[Row, float]:
        """Run the statement with a clock check, and return its one row and its duration in seconds."""
        started = trio.current_time()
        if self._connection is None or self._connection.closed:
            self._connection = await self._postgres.connect()
        checked = wall_clock.with_clock_check(statement, len(arguments) + 1)
        row = await self._connection.fetchrow(checked, *arguments, wall_clock.now())
        assert row is not None, "a function without a set returns one row"
        self._note_back()
        return row, trio.current_time() - started

    async def _isolate(self, postings: list[Posting], refused: StatementRefused) -> list[DecidedBatch]:
        """Halve the refused batch until the posting that the database refuses is alone, and refuse only that one."""
        if len(postings) > 1:
            middle = len(postings) // 2
            return await self._decide(postings[:middle], True) + await self._decide(postings[middle:], True)
        log.error("posting.refused", kind=postings[0].kind.name, sqlstate=refused.sqlstate)
        return [DecidedBatch(postings, None, 0.0)]

    async def _wait_for_database(self, tries: int, error: StorageUnavailable) -> None:
        if self._away_since is None:
            self._away_since = trio.current_time()
            if error.sqlstate != wall_clock.DISAGREES:
                log.warning("storage.away", reason=str(error), sqlstate=error.sqlstate)
        if error.sqlstate == wall_clock.DISAGREES:
            if not self._clocks_disagree:
                log.error("storage.clocks_disagree", reason=str(error))
            self._clocks_disagree = True
            self.clock_refusals += 1
        self.commit_retries += 1
        await trio.sleep(_pause_seconds(tries))

    def _note_back(self) -> None:
        if self._away_since is not None:
            log.info("storage.back", after_seconds=round(self.away_seconds, 3))
            self._away_since, self._clocks_disagree = None, False


def _pause_seconds(tries: int) -> float:
    return RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
