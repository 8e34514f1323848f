"""Database reader: reads the ledger and the calls of a database beside a running server, and adds users to it."""

import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import trio

from domain.billing.posting import Kind, Posting, Receipt
from domain.ids import PROMOTIONS, UserId, client_key
from server.ids import new_uuid
from storage.embedded.launcher import find_running, open_embedded
from storage.ledger.actor import StorageActor
from storage.people.users import CreatorChange, become_creator, ensure_user
from storage.postgres import Postgres, Row, open_postgres
from tests.storage.ledger_pair import OPERATOR
from tests.storage.postgres_processes import bin_dir
from tests.support.lifeline import tied

T = TypeVar("T")


class StoredCall(NamedTuple):
    """One call as its rows hold it."""

    status: str
    holds: list[str]
    blocks: list[int]
    active_seconds: float


class DatabaseReader:
    """Reads one database.

    Each query opens a connection of its own, so it also works after the server or PostgreSQL restarted.
    """

    def __init__(self, dsn: str = "", at_rest: Path | None = None) -> None:
        self.dsn = dsn
        self._at_rest = at_rest

    @classmethod
    def beside(cls, data_dir: Path) -> "DatabaseReader":
        """Return a reader of the database that the server on this data directory uses.

        Raises AssertionError without a server.
        """
        address = trio.run(find_running, data_dir)
        assert address is not None, "no server runs there"
        return cls(address.dsn)

    @classmethod
    def at_rest(cls, data_dir: Path) -> "DatabaseReader":
        """Return a reader of a data directory without a server; each query starts its PostgreSQL and stops it again."""
        return cls(at_rest=data_dir)

    def fetch(self, sql: str, *args: Any) -> list[Row]:
        return self._visit(lambda postgres: postgres.fetch(sql, *args))

    def calls(self) -> dict[UUID, StoredCall]:
        """Return all calls by id, with the numbers of their blocks in journal order."""
        blocks: dict[UUID, list[int]] = {}
        for row in self.fetch("SELECT room_id, block_no FROM journal WHERE kind = 1 ORDER BY debit_n"):
            blocks.setdefault(row["room_id"], []).append(row["block_no"])
        rows = self.fetch("SELECT c.id, c.status, c.holds, m.active_us FROM calls c JOIN meters m ON m.room_id = c.id")
        return {
            row["id"]: StoredCall(row["status"], row["holds"], blocks.get(row["id"], []), row["active_us"] / 1e6)
            for row in rows
        }

    def posted_at(self) -> dict[tuple[UUID, int], list[float]]:
        """Return each block's commit times (unix seconds) by call id and block number; a duplicate shows as two."""
        booked: dict[tuple[UUID, int], list[float]] = {}
        for row in self.fetch("SELECT room_id, block_no, created_at FROM journal WHERE kind = 1"):
            booked.setdefault((row["room_id"], row["block_no"]), []).append(row["created_at"].timestamp())
        return booked

    @contextmanager
    def held(self) -> Iterator["DatabaseReader"]:
        """Hold the write lock in a `psql` session, so that no posting commits before the context ends."""
        words = [str(bin_dir() / "psql"), "-XAtqw", self.dsn]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=tied()
        ) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdin.write("BEGIN; SELECT 'held' FROM halfminute.fence FOR UPDATE;\n")
            holder.stdin.flush()
            assert holder.stdout.readline() == "held\n"
            try:
                yield self
            finally:
                holder.kill()

    def has_waiting_postings(self) -> bool:
        """Return whether a batch of postings waits for a lock."""
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%apply_postings%'"
        return bool(self.fetch(waiting))

    def add_pairs(self, count: int, tokens: int, rate_tokens_per_min: int = 60) -> list[tuple[UserId, UserId]]:
        """Add `count` pairs of a fan with tokens and a creator. Return their ids."""
        return self._visit(lambda postgres: _add_pairs(postgres, count, tokens, rate_tokens_per_min))

    def _visit(self, work: Callable[[Postgres], Awaitable[T]]) -> T:
        async def visit(dsn: str) -> T:
            async with open_postgres(dsn, pool_size=1) as postgres:
                return await work(postgres)

        async def visit_at_rest(data_dir: Path) -> T:
            async with open_embedded(data_dir) as address:
                return await visit(address.dsn)

        return trio.run(visit, self.dsn) if self._at_rest is None else trio.run(visit_at_rest, self._at_rest)


class _Nobody:
    """An observer of the storage actor that ignores its reports."""

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        pass

    def posting_poisoned(self, receipt: Receipt) -> None:
        pass


async def _add_pairs(
    postgres: Postgres, count: int, tokens: int, rate_tokens_per_min: int
) -> list[tuple[UserId, UserId]]:
    pairs = [(UserId(new_uuid()), UserId(new_uuid())) for _ in range(count)]
    for fan, creator in pairs:
        await ensure_user(postgres, fan)
        await ensure_user(postgres, creator)
        await become_creator(
            postgres, creator, CreatorChange(display_name="Cleo", rate_tokens_per_min=rate_tokens_per_min)
        )
    actor = StorageActor(postgres, _Nobody())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        receipts = await actor.post([_gift(fan, tokens) for fan, _ in pairs])
        actor.close()
    assert all(receipt.paid for receipt in receipts)
    return pairs


def _gift(fan: UserId, tokens: int) -> Posting:
    return Posting(
        key=client_key(fan, "a gift"),
        kind=Kind.CREDIT,
        operator_id=OPERATOR,
        debit=PROMOTIONS,
        credit=fan,
        tokens=tokens,
    )
