"""The storage actor: all writes of wallets go through it, many postings in one transaction, one transaction at a time.

What waits while a batch is under way forms the next one, so batches grow with the load and a lone posting never waits.
One batch, one round trip: two in flight would wait for each other's wallets, several statements cost a trip each.
An unknown outcome is never guessed: the same batch is sent again under the same keys, and the keys say what happened.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
import trio

from domain.posting import Outcome, Posting, Receipt, fault_of
from storage import postings as batch_statement
from storage.postgres import LoneConnection, Postgres, Refused, StorageUnavailable

MAX_BATCH = 512  # postings: each waits for the whole of its batch, and larger ones gain little
MAX_LIST = 64  # postings of one caller that go together; so a batch is full when one more list might not fit
MAX_WAITING = 4096  # commands; each is a room's list, so this many rooms can wait before one more has to stand in line
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # between tries while the database is away; the last one repeats

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """Who wants to know of batches: the receipts that were just committed, and how it went."""

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None: ...

    def posting_poisoned(self, receipt: Receipt) -> None: ...


class _Command:
    """Postings that one caller waits for."""

    __slots__ = ("done", "postings", "receipts")

    def __init__(self, postings: Sequence[Posting]) -> None:
        self.postings = postings
        self.receipts: list[Receipt] = []
        self.done = trio.Event()


class StorageActor:
    """`post` from any task, while `run` is running in one."""

    def __init__(self, postgres: Postgres, observer: Observer) -> None:
        self._postgres = postgres
        self._observer = observer
        self._connection: LoneConnection | None = None
        self._door, self._mailbox = trio.open_memory_channel[_Command](MAX_WAITING)
        self._busy = False
        self._away_since: float | None = None
        self.finished = trio.Event()  # closed, and the last that waited is booked

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        """Book these postings in order; one receipt each.

        Waits as long as the database is away. Cancelling stops the waiting, not the booking: the outcome is then
        unknown to the caller, who finds out by posting again under the same keys. Raises StorageUnavailable, with
        nothing more done, once the actor is closed.
        """
        receipts: list[Receipt] = []
        for start in range(0, len(postings), MAX_LIST):
            receipts += await self._wait_for(_Command(postings[start : start + MAX_LIST]))
        return receipts

    async def _wait_for(self, command: _Command) -> list[Receipt]:
        try:
            await self._door.send(command)
        except trio.ClosedResourceError:
            raise StorageUnavailable("the storage actor is closed") from None
        await command.done.wait()
        return command.receipts

    @property
    def away_seconds(self) -> float:
        """How long the database has been out of reach; 0 while it answers."""
        return 0.0 if self._away_since is None else trio.current_time() - self._away_since

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not self._busy and self.waiting == 0

    @property
    def waiting(self) -> int:
        """Commands in the mailbox."""
        return self._mailbox.statistics().current_buffer_used

    def close(self) -> None:
        """No more commands; `run` returns once the last that waits is booked."""
        self._door.close()

    def abandon(self) -> None:
        """Wait no longer for what is under way; its outcome is then unknown, and its keys will tell."""
        if self._connection is not None:
            self._connection.terminate()

    async def run(self) -> None:
        """Book batch after batch until closed. Never raises for what the database says; a bug ends the process."""
        try:
            async for command in self._mailbox:
                await self._book(self._gather(command))
            self.finished.set()
        finally:
            if self._connection is not None:
                self._connection.terminate()

    def _gather(self, first: _Command) -> list[_Command]:
        """What waits already, without a timer."""
        commands, size = [first], len(first.postings)
        while size <= MAX_BATCH - MAX_LIST:
            try:
                command = self._mailbox.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            commands.append(command)
            size += len(command.postings)
        return commands

    async def _book(self, commands: list[_Command]) -> None:
        self._busy = True
        receipts = iter(await self._commit([posting for command in commands for posting in command.postings]))
        self._busy = False
        for command in commands:
            command.receipts = [next(receipts) for _ in command.postings]
            command.done.set()

    async def _commit(self, postings: list[Posting]) -> list[Receipt]:
        """One receipt for each posting, in order; what no statement should be sent for is refused here."""
        faulty = {i: Receipt(posting, Outcome.INVALID) for i, posting in enumerate(postings) if fault_of(posting)}
        sound = iter(await self._apply([posting for i, posting in enumerate(postings) if i not in faulty]))
        return [faulty[i] if i in faulty else next(sound) for i in range(len(postings))]

    async def _apply(self, postings: list[Posting], recheck: bool = False) -> list[Receipt]:
        """Send the batch until the database has decided it."""
        if not postings:
            return []
        tries = 0
        while True:
            try:
                return await self._send(postings, recheck)
            except StorageUnavailable as error:
                await self._wait_for_database(tries, error)
            except Refused as refused:
                if refused.passing:
                    await self._wait_for_database(tries, refused)
                elif recheck or not refused.duplicate:
                    return await self._isolate(postings, refused)
            recheck = True  # from the second try on the keys say what an earlier one did
            tries += 1

    async def _send(self, postings: list[Posting], recheck: bool) -> list[Receipt]:
        started = trio.current_time()
        if self._connection is None or self._connection.closed:
            self._connection = await self._postgres.connect()
        try:
            row = await self._connection.fetchrow(batch_statement.APPLY, *batch_statement.arguments(postings, recheck))
        except StorageUnavailable:
            self._connection.terminate()  # whatever it was doing, its outcome is unknown: start afresh
            raise
        assert row is not None, "a function without a set returns one row"
        receipts = batch_statement.receipts(postings, row)
        self._note_back()
        self._observer.batch_committed(receipts, trio.current_time() - started)
        return receipts

    async def _isolate(self, postings: list[Posting], refused: Refused) -> list[Receipt]:
        """Halve the batch until the posting that no statement can carry out stands alone; refuse that one."""
        if len(postings) > 1:
            middle = len(postings) // 2
            return await self._apply(postings[:middle], True) + await self._apply(postings[middle:], True)
        receipt = Receipt(postings[0], Outcome.INVALID)
        log.error("posting.refused", kind=postings[0].kind.name, sqlstate=refused.sqlstate)
        self._observer.posting_poisoned(receipt)
        return [receipt]

    async def _wait_for_database(self, tries: int, error: StorageUnavailable | Refused) -> None:
        if self._away_since is None:
            self._away_since = trio.current_time()
            log.warning("storage.away", reason=str(error))
        await trio.sleep(_pause_seconds(tries))

    def _note_back(self) -> None:
        if self._away_since is not None:
            log.info("storage.back", after_seconds=round(self.away_seconds, 3))
            self._away_since = None


def _pause_seconds(tries: int) -> float:
    return RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
