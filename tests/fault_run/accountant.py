"""Compares the bills of a fault run with what happened, by the rules of contract.md (Blocks)."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from tests.fault_run.honest_clients import TICKET_TOKENS, Audience, HonestClient
from tests.support.client_pool import Pair, moment
from tests.support.database_reader import DatabaseReader

ROUNDING_BLOCKS = 1  # a block that fell due at the start or the end of a fault


class Stop(NamedTuple):
    """A period in which the server process was suspended (unix seconds)."""

    began: float
    over: float


class Bill(NamedTuple):
    """One payer's blocks in one room."""

    room_id: UUID
    payer: HonestClient
    began: float  # unix seconds: when the room first charged
    ended: float  # when the payer left, hung up, or the run ended

    def most(self, stops: Sequence[Stop], presence_seconds: float, block_seconds: float) -> int:
        """Return how many blocks may be charged: time in which nobody could be reached is not billed."""
        seconds = self.ended - self.began
        for stop in stops:
            if stop.over - stop.began >= presence_seconds:
                seconds -= max(0.0, min(stop.over, self.ended) - max(stop.began, self.began))
        return 1 + int(max(0.0, seconds) / block_seconds) + ROUNDING_BLOCKS


class Accountant:
    """Checks bills against the database after the run."""

    def __init__(self, database: DatabaseReader, *, gift: int, block_seconds: float, presence_seconds: float) -> None:
        self._database = database
        self._gift = gift
        self._block_seconds = block_seconds
        self._presence_seconds = presence_seconds
        self._balances = {row["id"]: row["balance"] for row in database.fetch("SELECT id, balance FROM wallets")}

    def check(self, bills: Sequence[Bill], stops: Sequence[Stop]) -> list[int]:
        """Return how many blocks each payer was charged. Raises AssertionError; no other bills may exist."""
        charged, tickets = self._charged(), self._released_tickets()
        counts = []
        for bill in bills:
            payer = bill.payer.party.user_id
            numbers = charged.pop((bill.room_id, payer), [])
            assert numbers == list(range(1, len(numbers) + 1)), f"{payer} in {bill.room_id}: blocks {numbers}"
            most = bill.most(stops, self._presence_seconds, self._block_seconds)
            assert len(numbers) <= most, f"{payer} in {bill.room_id}: {len(numbers)} blocks, at most {most} were due"
            received = [number for number, _ in bill.payer.blocks()]
            assert set(received) <= set(numbers), f"{payer} received blocks that are not booked"
            assert len(received) == len(set(received)), f"{payer} received a block twice: {received}"
            assert self._balances[payer] == self._gift - len(numbers) - tickets.count(payer) * TICKET_TOKENS
            counts.append(len(numbers))
        assert not charged, f"a user was charged who never joined: {charged}"
        return counts

    def _released_tickets(self) -> list[UUID]:
        """Return the buyers. Asserts that each ticket is released once: each owner was present for long enough."""
        rows = self._database.fetch(
            "SELECT t.debit_wallet, (SELECT count(*) FROM journal r WHERE r.kind = 8 AND r.content = t.key) AS releases"
            " FROM journal t WHERE t.kind = 3"
        )
        assert [row["releases"] for row in rows] == [1] * len(rows)
        return [row["debit_wallet"] for row in rows]

    def _charged(self) -> dict[tuple[UUID, UUID], list[int]]:
        rows = self._database.fetch(
            "SELECT room_id, debit_wallet, block_no, tokens FROM journal WHERE kind = 1 ORDER BY debit_n"
        )
        charged: dict[tuple[UUID, UUID], list[int]] = {}
        for row in rows:
            assert row["tokens"] == 1, "each block costs one token here"
            charged.setdefault((row["room_id"], row["debit_wallet"]), []).append(row["block_no"])
        return charged


def call_bill(pair: Pair, ended: float) -> Bill:
    """Return the bill of a call from its `call:started` on."""
    assert isinstance(pair.fan, HonestClient)
    return Bill(pair.call_id, pair.fan, moment(pair.fan.events_of("call:started")[0]["at"]), ended)


def stream_bills(audience: Audience, ended: float) -> list[Bill]:
    """Return the bill of each viewer from their first block on."""
    return [Bill(audience.stream_id, viewer, viewer.blocks()[0][1], ended) for viewer in audience.viewers]
