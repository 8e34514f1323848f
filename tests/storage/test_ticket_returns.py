"""Which tickets are due for a refund after any order of events: compared with a model in plain Python."""

import random
from datetime import UTC, datetime

import pytest

from domain.ids import ESCROW, PostingKey, RoomId, UserId
from domain.instant import from_datetime
from domain.stream.record import StreamRecord
from storage.ledger.audit import audit
from storage.people.creator_blocks import block_user, unblock_user
from storage.rooms.streams import save_stream
from storage.rooms.tickets import DueReturn, expire_streams, report_uncovered, streams_to_settle, tickets_to_return
from tests.storage.ledger_pair import LedgerPair, open_ledger_pair, purchase, ticket, tip

STEPS = 300
PRICE = 50
GO_LIVE = "UPDATE streams SET status = 'live', started_at = now() WHERE id = $1"
STARTED = from_datetime(datetime(2026, 1, 1, tzinfo=UTC))


class Show:
    """The model's state of a stream."""

    def __init__(self, owner: UserId, is_live: bool) -> None:
        self.owner, self.is_live = owner, is_live
        self.is_over = False
        self.released = False
        self.removed: list[UserId] = []
        self.held: dict[UserId, PostingKey] = {}


class Returns:
    """All events that make a ticket's refund due or uncovered, applied to the database and to the model."""

    def __init__(self, ledgers: LedgerPair, seed: int) -> None:
        self._ledgers = ledgers
        self._chance = random.Random(seed)
        self._fans: list[UserId] = []
        self._friend: UserId
        self._shows: dict[RoomId, Show] = {}
        self._blocked: set[tuple[UserId, UserId]] = set()
        self.due: set[PostingKey] = set()
        self.uncovered: set[PostingKey] = set()
        self.seen = dict.fromkeys(("returned", "uncovered", "sold to the unwelcome", "expired"), 0)

    async def begin(self) -> None:
        self._friend = await self._ledgers.add_user()
        for _ in range(3):
            fan = await self._ledgers.add_user()
            await self._ledgers.post_in_both([purchase(fan, 100_000)])
            self._fans.append(fan)
        for _ in range(4):
            await self._announce()

    async def _announce(self) -> None:
        stream, is_live = await self._ledgers.add_stream(), self._chance.random() < 0.7
        owner = self._ledgers.model.rooms[stream].creator
        assert owner is not None
        if is_live:
            await self._ledgers.postgres.execute(GO_LIVE, stream)
        self._shows[stream] = Show(owner, is_live)

    async def step(self) -> None:
        stream, fan = self._chance.choice(list(self._shows)), self._chance.choice(self._fans)
        ways = self._sell, self._sell, self._remove, self._block, self._unblock, self._release, self._spend, self._end
        await self._chance.choice(ways)(stream, self._shows[stream], fan)
        if self._chance.random() < 0.3:
            await self._do_round()
        assert set(await tickets_to_return(self._ledgers.postgres)) == self._due_returns()

    def _due_returns(self) -> set[DueReturn]:
        return {
            DueReturn(key, stream, fan)
            for stream, show in self._shows.items()
            for fan, key in show.held.items()
            if key in self.due - self.uncovered
        }

    async def _sell(self, stream: RoomId, show: Show, fan: UserId) -> None:
        """Sell a ticket, also to a removed or blocked user: the sale was in flight as they were removed or blocked."""
        sold = ticket(stream, fan, ESCROW, PRICE)
        in_database, in_model = await self._ledgers.post_in_both([sold])
        assert in_database == in_model
        if in_database[0].paid:
            show.held[fan] = sold.key
            if fan in show.removed or (show.owner, fan) in self._blocked:
                self.due.add(sold.key)
                self.seen["sold to the unwelcome"] += 1

    async def _remove(self, stream: RoomId, show: Show, fan: UserId) -> None:
        if show.is_live and not show.is_over and fan not in show.removed:
            show.removed.append(fan)
            record = StreamRecord(status="live", started_at=STARTED, removed=tuple(show.removed))
            assert await save_stream(self._ledgers.postgres, stream, 1, record)
            self.due |= {show.held[user] for user in show.removed if user in show.held}

    async def _block(self, _: RoomId, show: Show, fan: UserId) -> None:
        assert await block_user(self._ledgers.postgres, show.owner, fan, most=100) is None
        self._blocked.add((show.owner, fan))
        if not show.is_over and fan in show.held:
            self.due.add(show.held[fan])

    async def _unblock(self, _: RoomId, show: Show, fan: UserId) -> None:
        """A refund that is due stays due."""
        await unblock_user(self._ledgers.postgres, show.owner, fan)
        self._blocked.discard((show.owner, fan))

    async def _release(self, stream: RoomId, show: Show, _: UserId) -> None:
        if show.is_live:
            await self._ledgers.release(stream)
            show.released = True

    async def _spend(self, _: RoomId, show: Show, __: UserId) -> None:
        """Spend the whole balance of the creator."""
        if tokens := self._ledgers.model.wallets[show.owner].balance:
            in_database, in_model = await self._ledgers.post_in_both([tip(show.owner, self._friend, tokens)])
            assert in_database == in_model

    async def _end(self, stream: RoomId, show: Show, _: UserId) -> None:
        """End a live stream or let a scheduled one expire, and announce another."""
        if self._chance.random() > 0.2 or show.is_over:
            return
        if show.is_live:
            ended = StreamRecord("ended", STARTED, STARTED, "ended", removed=tuple(show.removed))
            assert await save_stream(self._ledgers.postgres, stream, 1, ended)
        else:
            age = "UPDATE streams SET created_at = now() - interval '8 days' WHERE id = $1"
            await self._ledgers.postgres.execute(age, stream)
            assert await expire_streams(self._ledgers.postgres, 7) == [stream]
            self.seen["expired"] += 1
        self._ledgers.model.end(stream)
        show.is_over = True
        waiting = bool(show.held) and not show.released
        assert waiting == (stream in {each.stream_id for each in await streams_to_settle(self._ledgers.postgres)})
        await self._announce()

    async def _do_round(self) -> None:
        for due in await tickets_to_return(self._ledgers.postgres):
            refunded = await self._ledgers.actor.refund([due.key], "unwelcome")
            in_model = self._ledgers.model.refund([due.key], advance=False)
            assert len(refunded.receipts) == len(in_model)
            if refunded.uncovered:
                assert await report_uncovered(self._ledgers.postgres, [due.key], "it was sold") == 1
                assert await report_uncovered(self._ledgers.postgres, [due.key], "it was sold") == 0
                self.uncovered.add(due.key)
                self.seen["uncovered"] += 1
            else:
                del self._shows[due.stream_id].held[due.user_id]
                self.seen["returned"] += 1

    async def reported(self) -> int:
        rows = await self._ledgers.postgres.fetch("SELECT count(*) FROM reports WHERE reporter_id IS NULL")
        return int(rows[0][0])


@pytest.mark.parametrize("seed", range(3))
async def test_ticket_refunds_equal_those_of_the_model(dsn: str, seed: int) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        returns = Returns(ledgers, seed)
        await returns.begin()
        for _ in range(STEPS):
            await returns.step()
        assert await ledgers.wallets_in_database() == ledgers.model.wallets
        assert await ledgers.tickets_in_database() == ledgers.model.tickets
        assert await returns.reported() == len(returns.uncovered)
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
        assert all(returns.seen.values()), f"not everything occurred: {returns.seen}"


async def test_a_user_who_was_removed_and_buys_once_more_is_given_that_ticket_back_too(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user(1000)
        stream = await ledgers.add_stream()
        await ledgers.postgres.execute(GO_LIVE, stream)
        record = StreamRecord(status="live", started_at=STARTED, removed=(fan,))
        assert await save_stream(ledgers.postgres, stream, 1, record)
        for _ in range(2):
            sold = ticket(stream, fan, ESCROW, PRICE)
            assert (await ledgers.actor.post([sold]))[0].paid
            (due,) = await tickets_to_return(ledgers.postgres)
            assert due == DueReturn(sold.key, stream, fan)
            assert (await ledgers.actor.refund([due.key], "removed")).uncovered == 0
        assert await tickets_to_return(ledgers.postgres) == []
