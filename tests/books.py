"""What the books of a database say, read beside whatever server is running on it; and people to put into them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import trio

from domain.ids import PROMOTIONS, UserId, client_key
from domain.posting import Kind, Posting, Receipt
from server.ids import new_uuid
from storage.actor import StorageActor
from storage.embedded import find_running
from storage.postgres import Postgres, Row, open_postgres
from storage.users import become_creator, ensure_user

T = TypeVar("T")


class CallInBooks(NamedTuple):
    """One call as its rows say it."""

    status: str
    holds: list[str]
    blocks: list[int]
    active_seconds: float


class Books:
    """One database. Each question is a connection of its own: a test may ask whatever happened in between."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    @classmethod
    def beside(cls, data_dir: Path) -> "Books":
        """Those of the server that runs on this data directory."""
        address = trio.run(find_running, data_dir)
        assert address is not None, "no server runs there"
        return cls(address.dsn)

    def fetch(self, sql: str, *args: Any) -> list[Row]:
        return self._visit(lambda postgres: postgres.fetch(sql, *args))

    def calls(self) -> dict[UUID, CallInBooks]:
        """All calls, and the numbers of their blocks as they stand in the journal."""
        blocks: dict[UUID, list[int]] = {}
        for row in self.fetch("SELECT room_id, block_no FROM journal WHERE kind = 1 ORDER BY debit_n"):
            blocks.setdefault(row["room_id"], []).append(row["block_no"])
        rows = self.fetch("SELECT c.id, c.status, c.holds, m.active_us FROM calls c JOIN meters m ON m.room_id = c.id")
        return {
            row["id"]: CallInBooks(row["status"], row["holds"], blocks.get(row["id"], []), row["active_us"] / 1e6)
            for row in rows
        }

    def blocks(self) -> Counter[tuple[UUID, int]]:
        """How often each block of each call stands in the journal."""
        rows = self.fetch("SELECT room_id, block_no FROM journal WHERE kind = 1")
        return Counter((row["room_id"], row["block_no"]) for row in rows)

    def add_pairs(self, count: int, tokens: int, rate_tokens_per_min: int = 60) -> list[tuple[UserId, UserId]]:
        """So many fans with tokens, each with a creator to call."""
        return self._visit(lambda postgres: _add_pairs(postgres, count, tokens, rate_tokens_per_min))

    def _visit(self, work: Callable[[Postgres], Awaitable[T]]) -> T:
        async def visit() -> T:
            async with open_postgres(self.dsn, pool_size=1) as postgres:
                return await work(postgres)

        return trio.run(visit)


class _Nobody:
    """Nobody watches this actor."""

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
        await become_creator(postgres, creator, "Cleo", rate_tokens_per_min, True)
    actor = StorageActor(postgres, _Nobody())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        receipts = await actor.post([_gift(fan, tokens) for fan, _ in pairs])
        actor.close()
    assert all(receipt.paid for receipt in receipts)
    return pairs


def _gift(fan: UserId, tokens: int) -> Posting:
    return Posting(key=client_key(fan, "a gift"), kind=Kind.CREDIT, debit=PROMOTIONS, credit=fan, tokens=tokens)
