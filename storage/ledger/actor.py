"""The storage actor: all writes of wallets go through it, many postings in one transaction, one transaction at a time.

What waits while a batch is under way forms the next one, so batches grow with the load and a lone posting never waits.
One statement books it as it is and sees that it was right: reading all first costs more, two in flight gain little.
An unknown outcome is never guessed: the same batch is sent again under the same keys, and the keys say what happened.
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
from storage.ledger import batch as batch_statement
from storage.ledger import refunds as refund_statement
from storage.ledger.batch import DecidedBatch
from storage.ledger.refunds import MAX_REFUND, Advance, Refunded
from storage.postgres import LoneConnection, Postgres, Row, StatementRefused, StorageUnavailable

MAX_BATCH = 384  # postings: each waits for the whole of its batch, and larger ones gain little
MAX_LIST = 64  # postings of one caller that go together; the last list of a batch may go beyond MAX_BATCH by it
SEND_STEPS = 4  # of the event loop, until a batch that was begun is on its way
MAX_WAITING = 4096  # commands; each is a room's list, so this many rooms can wait before one more has to stand in line
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # between tries while the database is away; the last one repeats

log = structlog.get_logger(__name__)


Deliver: TypeAlias = Callable[[list[Receipt]], None]


class Observer(Protocol):
    """Who wants to know of batches: the receipts that were just committed, and how it went."""

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None: ...

    def posting_poisoned(self, receipt: Receipt) -> None: ...


class _Command:
    """Postings that go together, and who gets their receipts."""

    __slots__ = ("deliver", "postings")

    def __init__(self, postings: Sequence[Posting], deliver: Deliver) -> None:
        self.postings = postings
        self.deliver = deliver


class _StatementCommand(_Command):
    """A statement of its own, which decides itself what it books: a refund, or the release of a stream's tickets."""

    __slots__ = ("arguments", "figures", "name", "sql")

    def __init__(self, name: str, sql: str, arguments: tuple[Any, ...], deliver: Deliver) -> None:
        super().__init__((), deliver)
        self.name = name
        self.sql = sql
        self.arguments = arguments
        self.figures: Sequence[int | None] = ()  # of its row, behind what was booked


_Booked: TypeAlias = tuple[list[_Command], list[DecidedBatch]]


class StorageActor:
    """`post` from any task, while `run` is running in one."""

    def __init__(self, postgres: Postgres, observer: Observer) -> None:
        self._postgres = postgres
        self._observer = observer
        self._connection: LoneConnection | None = None
        self._commands, self._mailbox = trio.open_memory_channel[_Command](MAX_WAITING)
        self._owed = 0  # commands taken from the mailbox whose receipts are not handed out yet
        self._away_since: float | None = None
        self._clocks_disagree = False  # that was logged
        self.commit_retries = 0  # since the start
        self.clock_refusals = 0  # of those, because the clocks of this machine and the database disagree
        self.finished = trio.Event()  # closed, and the last that waited is booked

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Book these postings in order; one receipt each. What no statement should be sent for is refused here.

        Waits as long as the database is away. Cancelling stops the waiting, not the booking: the outcome is then
        unknown to the caller, who finds out by posting again under the same keys. Raises StorageUnavailable, with
        nothing more done, once the actor is closed.
        """
        sound = [posting for posting in postings if fault_of(posting) is None]
        booked: list[Receipt] = []
        for start in range(0, len(sound), MAX_LIST):
            booked += await self._wait_for(partial(_Command, sound[start : start + MAX_LIST]))
        found = iter(booked)
        return [Receipt(posting, Outcome.INVALID) if fault_of(posting) else next(found) for posting in postings]

    async def refund(self, paid: Sequence[PostingKey], reason: str, advance: Advance | None = None) -> Refunded:
        """Give back what was paid under these keys, each once and whole; all that has one payee must have the same.

        A ticket in escrow comes from there, anything else from its payee; with `advance`, `losses` pays what the payee
        cannot. Those that were made before are ALREADY. What is no block, tip or ticket, or cost nothing, has no
        refund. Waits, and may be cancelled, as `post`. Raises StorageUnavailable as `post` does.
        """
        receipts: list[Receipt] = []
        uncovered = 0
        keys = list(dict.fromkeys(paid))
        wanted = set(keys)  # what else was booked, reduced payouts and repaid debts, is no refund of these
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
        """Credit a stream's tickets to its creator from here on; how many were in escrow. Idempotent.

        None, with nothing more done, if the room has a later owner than that of `epoch`.
        Waits, and may be cancelled, as `post`. Raises StorageUnavailable as `post` does.
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
        """Book these in order, and have the receipts delivered, without a task that waits for them.

        `deliver` runs in the actor's task: it neither waits nor raises. False, with nothing done, if the mailbox is
        full or closed, the postings are none or more than MAX_LIST, or one of them is faulty: `post` them, then.
        """
        if not 0 < len(postings) <= MAX_LIST or any(map(fault_of, postings)):
            return False
        try:
            self._commands.send_nowait(_Command(postings, deliver))
        except (trio.WouldBlock, trio.ClosedResourceError):
            return False
        return True

    async def _wait_for(self, command: Callable[[Deliver], _Command]) -> list[Receipt]:
        receipts, _ = await self._wait(command)
        return receipts

    async def _wait_for_statement(
        self, name: str, sql: str, arguments: tuple[Any, ...]
    ) -> tuple[list[Receipt], Sequence[int | None]]:
        receipts, command = await self._wait(partial(_StatementCommand, name, sql, arguments))
        assert isinstance(command, _StatementCommand), "it was made just now"
        return receipts, command.figures

    async def _wait(self, make: Callable[[Deliver], _Command]) -> tuple[list[Receipt], _Command]:
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
        """How long the database has been out of reach; 0 while it answers."""
        return 0.0 if self._away_since is None else trio.current_time() - self._away_since

    @property
    def idle(self) -> bool:
        """Nothing waits, nothing is under way, and every receipt is handed out."""
        return self._owed == 0 and self.waiting == 0

    @property
    def waiting(self) -> int:
        """Commands in the mailbox."""
        return self._mailbox.statistics().current_buffer_used

    def close(self) -> None:
        """No more commands; `run` returns once the last that waits is booked."""
        self._commands.close()

    def abandon(self) -> None:
        """Wait no longer for what is under way; its outcome is then unknown, and its keys will tell."""
        if self._connection is not None:
            self._connection.terminate()

    async def run(self) -> None:
        """Book batch after batch until closed. Never raises for what the database says; a bug ends the process."""
        booked, delivery = trio.open_memory_channel[_Booked](1)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_out_beside, delivery)
                async with booked:
                    while (command := await self._next()) is not None:
                        commands = self._gather(command)
                        decided = await self._carry_out(commands)
                        if self.waiting or self._owed > len(commands):  # after the next is sent
                            await booked.send((commands, decided))
                        else:
                            self._hand_out(commands, decided)
            self.finished.set()
        finally:
            self.abandon()

    async def _next(self) -> _Command | None:
        """What waits longest, at once if there is something: the database is idle. None once closed and empty."""
        try:
            try:
                return self._mailbox.receive_nowait()
            except trio.WouldBlock:
                return await self._mailbox.receive()
        except trio.EndOfChannel:
            return None

    def _gather(self, first: _Command) -> list[_Command]:
        """What waits already, without a timer."""
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
        """Hand out the receipts of one batch while the database is at work on the next."""
        async for commands, decided in delivery:
            for _ in range(SEND_STEPS):
                await trio.lowlevel.checkpoint()
            self._hand_out(commands, decided)

    def _hand_out(self, commands: list[_Command], decided: list[DecidedBatch]) -> None:
        for part in decided:
            if part.carried_out:
                self._observer.batch_committed(part.receipts, part.seconds)
            else:
                self._observer.posting_poisoned(part.receipts[0])
        receipts = chain.from_iterable(part.replies for part in decided)
        for command in commands:
            command.deliver([next(receipts) for _ in command.postings])
            self._owed -= 1

    async def _carry_out(self, commands: list[_Command]) -> list[DecidedBatch]:
        """The postings that stand together as one batch, and each other statement alone, in the order of coming."""
        decided: list[DecidedBatch] = []
        for are_alone, group in groupby(commands, lambda command: isinstance(command, _StatementCommand)):
            if are_alone:
                decided += [
                    await self._decide_statement(command) for command in group if isinstance(command, _StatementCommand)
                ]
            else:
                decided += await self._decide([posting for command in group for posting in command.postings])
        return decided

    async def _decide_statement(self, command: _StatementCommand) -> DecidedBatch:
        """Send it until the database has decided it; what an earlier try booked is not booked again."""
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
        """Send the batch until the database has decided it: as one, or in parts if some of it can't be carried out."""
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
            careful = True  # from the second try on the keys say what an earlier one did
            tries += 1

    async def _send(self, statement: str, arguments: Sequence[Any]) -> tuple[Row, float]:
        """Its one row, and how long that took."""
        started = trio.current_time()
        if self._connection is None or self._connection.closed:
            self._connection = await self._postgres.connect()
        clocked = wall_clock.clocked(statement, len(arguments) + 1)
        row = await self._connection.fetchrow(clocked, *arguments, wall_clock.now())
        assert row is not None, "a function without a set returns one row"
        self._note_back()
        return row, trio.current_time() - started

    async def _isolate(self, postings: list[Posting], refused: StatementRefused) -> list[DecidedBatch]:
        """Halve the batch until the posting that no statement can carry out stands alone; refuse that one."""
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
