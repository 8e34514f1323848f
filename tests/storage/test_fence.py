"""A stale epoch never commits, however often other servers claim the room."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from domain.billing.posting import Outcome
from domain.ids import RoomId, UserId
from server.ids import new_uuid
from storage.ledger.actor import StorageActor
from storage.ledger.audit import audit
from storage.rooms.leases import Checkpoint, Leases
from tests.storage.ledger_pair import LedgerPair, Observer, block, open_ledger_pair

OWNERS = 4
TAKEOVERS_EACH = 40


async def test_a_storm_of_takeovers_leaves_a_series_without_gap_or_double(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1_000_000), await ledgers.add_user()
        room = await ledgers.add_room(fan)
        epochs: list[int] = []
        outcomes: set[Outcome] = set()
        async with trio.open_nursery() as nursery:
            for seed in range(OWNERS):
                nursery.start_soon(_own_again_and_again, ledgers, (room, fan, creator), epochs, outcomes, seed)
        rows = await ledgers.postgres.fetch("SELECT block_no FROM journal WHERE room_id = $1 ORDER BY 1", room)
        assert [row["block_no"] for row in rows] == list(range(1, len(rows) + 1))
        assert sorted(epochs) == list(range(2, len(epochs) + 2)), "each takeover is one epoch more: none goes back"
        assert Outcome.FENCED in outcomes, "owners were overtaken while they posted"
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []


async def _own_again_and_again(
    ledgers: LedgerPair, where: tuple[RoomId, UserId, UserId], epochs: list[int], outcomes: set[Outcome], seed: int
) -> None:
    chance = random.Random(seed)
    room, fan, creator = where
    leases = Leases(ledgers.postgres, new_uuid(), 60)
    await leases.renew()
    await leases.release()  # from now on others may claim the room while this owner goes on posting
    async with _an_actor(ledgers) as actor:
        for _ in range(TAKEOVERS_EACH):
            claim = await leases.claim(room)
            if claim is None:
                continue  # its owner has not released it yet
            epochs.append(claim.epoch)
            last = (await ledgers.postgres.fetch("SELECT last_block FROM meters WHERE room_id = $1", room))[0][0]
            for block_no in range(last + 1, last + chance.randint(2, 6)):
                receipt = (await actor.post([block(room, fan, creator, block_no, epoch=claim.epoch)]))[0]
                outcomes.add(receipt.outcome)
                if not receipt.paid:
                    break


@asynccontextmanager
async def _an_actor(ledgers: LedgerPair) -> AsyncIterator[StorageActor]:
    actor = StorageActor(ledgers.postgres, Observer())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor.run)
        yield actor
        actor.close()


async def test_a_room_is_not_taken_from_a_server_that_lives(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        room = await ledgers.add_room()
        mine, other = Leases(ledgers.postgres, new_uuid(), 60), Leases(ledgers.postgres, new_uuid(), 60)
        await mine.renew()
        await other.renew()
        first = await mine.claim(room)
        assert first is not None
        assert await other.claim(room) is None
        assert await other.claim_orphans() == []
        again = await mine.claim(room)
        assert again is not None
        assert again.epoch == first.epoch + 1, "to take one's own room anew fences what one did before"
        await mine.release()
        assert [claim.room_id for claim in await other.claim_orphans()] == [room]


async def test_a_room_that_we_hold_and_do_not_know_is_taken_up_again(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        known, lost, ended = await ledgers.add_room(), await ledgers.add_room(), await ledgers.add_room()
        leases = Leases(ledgers.postgres, new_uuid(), 60)
        await leases.renew()
        await leases.claim_orphans(alone=True)
        assert await leases.claim_lost([known, lost, ended]) == []
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", ended)
        assert await leases.claim_lost([known]) == [], "it may just be about to be known"
        await ledgers.postgres.execute("UPDATE rooms SET created_at = now() - interval '1 minute'")
        assert [claim.room_id for claim in await leases.claim_lost([known])] == [lost]


async def test_a_checkpoint_under_a_stale_epoch_is_not_written(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan = await ledgers.add_user()
        room = await ledgers.add_room(fan)
        leases = Leases(ledgers.postgres, new_uuid(), 60)
        await leases.checkpoint([Checkpoint(room, 1, fan, 7_000_000)])
        await leases.renew()
        await leases.claim(room)
        await leases.checkpoint([Checkpoint(room, 1, fan, 9_000_000)])
        rows = await ledgers.postgres.fetch("SELECT active_us FROM meters WHERE room_id = $1", room)
        assert rows[0]["active_us"] == 7_000_000
