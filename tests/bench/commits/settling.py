"""Settles blocks in the client for contestants that only write rows, and updates wallets and meters afterwards."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from domain.ids import block_key
from storage.postgres import Connection, PgUUID
from tests.bench.commits.history import PRICE_TOKENS, Party

UPDATE_WALLETS = """
    UPDATE wallets s SET balance = x.balance, n = x.n, lifetime_earned = x.earned, lifetime_spent = x.spent
      FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::bigint[], $5::bigint[]) x (id, balance, n, earned, spent)
     WHERE s.id = x.id
"""

UPDATE_METERS = f"""
    UPDATE meters s SET last_block = x.last_block, tokens = s.tokens + {PRICE_TOKENS} * (x.last_block - s.last_block)
      FROM unnest($1::uuid[], $2::uuid[], $3::int[]) x (room_id, payer_id, last_block)
     WHERE s.room_id = x.room_id AND s.payer_id = x.payer_id
"""

Record = tuple[Any, ...]  # a journal row in JOURNAL_COLUMNS' order


class State(msgspec.Struct):
    """A wallet as it will be once all rows are written."""

    balance: int
    n: int
    earned: int
    spent: int


class Settling:
    """Computes the rows of the wallets and meters, block by block."""

    def __init__(self, parties: Sequence[Party]) -> None:
        self._parties = parties
        self._blocks: Iterator[Record] = self._settle()
        self._wallets: dict[UUID, State] = {}
        self._last_blocks: dict[UUID, int] = {}
        self._moved: set[UUID] = set()

    async def read(self, connection: Connection) -> None:
        """Read the wallets and meters from which the blocks continue."""
        rows = await connection.fetch("SELECT id, balance, n, lifetime_earned, lifetime_spent FROM wallets")
        self._wallets = {row[0]: State(*row[1:]) for row in map(tuple, rows)}
        meters = await connection.fetch("SELECT room_id, last_block FROM meters")
        self._last_blocks = dict(map(tuple, meters))

    def next_batch(self, size: int) -> list[Record]:
        """Return the next blocks as journal rows."""
        return list(islice(self._blocks, size))

    def moved_wallets(self, records: Sequence[Record] | None = None) -> list[list[Any]]:
        """Return the arguments of UPDATE_WALLETS: the wallets of these records, or all that changed."""
        moved = self._moved if records is None else {wallet for record in records for wallet in record[1:3]}
        states = [self._wallets[wallet] for wallet in moved]
        return [
            list(moved),
            [state.balance for state in states],
            [state.n for state in states],
            [state.earned for state in states],
            [state.spent for state in states],
        ]

    async def put_right(self, connection: Connection) -> None:
        """Update the wallets and meters to the rows that were written."""
        async with connection.transaction():
            await connection.execute("SELECT set_config('halfminute.booking', 'on', true)")
            await connection.execute(UPDATE_WALLETS, *self.moved_wallets())
            rooms = [(party.room_id, party.fan, self._last_blocks[party.room_id]) for party in self._parties]
            await connection.execute(UPDATE_METERS, *map(list, zip(*rooms, strict=True)))

    def _settle(self) -> Iterator[Record]:
        while True:
            for party in self._parties:
                yield self._block(party)

    def _block(self, party: Party) -> Record:
        room_id, fan, creator = party
        payer, payee = self._wallets[fan], self._wallets[creator]
        payer.balance -= PRICE_TOKENS
        payer.spent += PRICE_TOKENS
        payer.n += 1
        payee.balance += PRICE_TOKENS
        payee.earned += PRICE_TOKENS
        payee.n += 1
        block_no = self._last_blocks[room_id] = self._last_blocks[room_id] + 1
        self._moved |= {fan, creator}
        key = PgUUID(block_key(room_id, fan, block_no))
        after = (payer.balance, payee.balance, datetime.now(UTC), payer.n, payee.n)
        return (key, fan, creator, room_id, PRICE_TOKENS, *after, block_no, 1)
