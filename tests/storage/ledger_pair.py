"""A storage actor on a test's database, and the ledger model that it must agree with."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import trio

from domain.billing.posting import Kind, Posting, Receipt
from domain.ids import (
    ESCROW,
    LOSSES,
    PAYOUTS,
    PROMOTIONS,
    TOKEN_SALES,
    PostingKey,
    RoomId,
    UserId,
    block_key,
    client_key,
)
from server.ids import new_channel, new_uuid
from storage.database_errors import StorageUnavailable
from storage.idempotency import claim
from storage.ledger.actor import StorageActor
from storage.ledger.spend_limits import set_spend_limit
from storage.postgres import PgUUID, Postgres, open_postgres
from tests.model.ledger import Ledger
from tests.model.rows import MeterRow, Parts, RoomRow, Wallet

OPERATOR = UserId(UUID(int=0xE << 120))  # the operator of all credits


class Observer:
    """Records what the storage actor reports."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.poisoned: list[Receipt] = []

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        self.batches.append(len(receipts))

    def posting_poisoned(self, receipt: Receipt) -> None:
        self.poisoned.append(receipt)


class LedgerPair:
    """A storage actor and the ledger model; each method changes both in the same way."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.observer = Observer()
        self.actor = StorageActor(postgres, self.observer)
        self.model = Ledger()
        for wallet_id in (TOKEN_SALES, PROMOTIONS, PAYOUTS, LOSSES, ESCROW):
            self.model.wallets[wallet_id] = Wallet(is_system=True)

    async def add_user(self, tokens: int = 0) -> UserId:
        user_id = UserId(new_uuid())
        await self.postgres.execute("INSERT INTO users (supabase_id) VALUES ($1)", user_id)
        self.model.wallets[user_id] = Wallet()
        await self.postgres.execute("INSERT INTO creators (user_id, rate_tokens_per_min) VALUES ($1, 60)", user_id)
        if tokens:
            await self.post_in_both([credit(user_id, tokens)])
        return user_id

    async def add_room(self, *payers: UserId) -> RoomId:
        room_id = RoomId(new_uuid())
        await self.postgres.execute(
            "INSERT INTO rooms (id, kind, channel) VALUES ($1, 'stream', $2)", room_id, new_channel()
        )
        self.model.rooms[room_id] = RoomRow()
        for payer in payers:
            await self.postgres.execute("INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)", room_id, payer)
            self.model.meters[room_id, payer] = MeterRow()
        return room_id

    async def add_stream(self, *payers: UserId) -> RoomId:
        """Add a stream whose room sells tickets."""
        room_id = await self.add_room(*payers)
        owner = self.model.rooms[room_id].creator = await self.add_user()
        await make_stream(self.postgres, room_id, owner)
        return room_id

    async def release(self, stream: RoomId) -> None:
        """Release the tickets of a stream to its creator in both."""
        await self.actor.release(stream)
        self.model.release(stream)

    async def payout(self, creator: UserId, tokens: int) -> bool:
        """Request a payout, which stays open; returns False if the creator's earned tokens do not suffice."""
        key = client_key(creator, str(new_uuid()))
        wanted = Posting(key=key, kind=Kind.PAYOUT, debit=creator, credit=PAYOUTS, tokens=tokens, ref_id=new_uuid())
        in_database, in_model = await self.post_in_both([wanted])
        assert in_database == in_model
        if in_database[0].paid:
            await self.postgres.execute(
                "INSERT INTO payouts (id, creator_id, posting_key, tokens, cents, currency)"
                " VALUES ($1, $2, $3, $4, $4 * 5, 'USD')",
                *(wanted.ref_id, creator, PgUUID(key), tokens),
            )
        return in_database[0].paid

    async def payouts_in_database(self) -> dict[PostingKey, int]:
        """Return the tokens left in each payout by its posting key."""
        rows = await self.postgres.fetch("SELECT posting_key, tokens - cut_tokens AS left FROM payouts ORDER BY id")
        return {PostingKey(row["posting_key"].bytes): row["left"] for row in rows}

    async def debts_in_database(self) -> dict[UserId, int]:
        """Return the open debt of each debtor."""
        rows = await self.postgres.fetch("SELECT debtor, sum(tokens - repaid)::bigint AS owed FROM debts GROUP BY 1")
        return {row["debtor"]: row["owed"] for row in rows}

    async def parts_in_database(self) -> dict[PostingKey, tuple[Parts, Parts]]:
        """Return the parts of the balance that each posting moved."""
        rows = await self.postgres.fetch(
            "SELECT key, coalesce(debit_promotional, 0), coalesce(debit_earned, 0), coalesce(credit_promotional, 0),"
            " coalesce(credit_earned, 0) FROM journal"
        )
        return {PostingKey(row[0].bytes): (Parts(row[1], row[2]), Parts(row[3], row[4])) for row in rows}

    async def allow(self, user_id: UserId, tokens: int | None) -> None:
        """Set the user's daily limit in both, in force at once even if it is higher."""
        await set_spend_limit(self.postgres, user_id, tokens)
        await self.postgres.execute(
            "UPDATE spend_limits SET next_at = '-infinity' WHERE user_id = $1 AND next_at > now()", user_id
        )
        self.model.allow(user_id, tokens)

    async def post_in_both(self, postings: list[Posting]) -> tuple[list[Receipt], list[Receipt]]:
        """Post to both. Return the receipts of the database and those of the model."""
        return await self.actor.post(postings), self.model.apply(postings)

    async def cut_connections(self) -> None:
        """Terminate all connections of this role to the database but the one that does it.

        Only those: a worker of autovacuum is in `pg_stat_activity` too, and only a superuser may terminate it.
        """
        with contextlib.suppress(StorageUnavailable):  # cut off by a cut of our own
            await self.postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND usename = current_user AND pid <> pg_backend_pid()"
            )

    async def wallets_in_database(self) -> dict[UserId, Wallet]:
        rows = await self.postgres.fetch(
            "SELECT id, user_id IS NULL AS is_system, balance, n, lifetime_earned, lifetime_spent, promotional, earned,"
            " owed FROM wallets"
        )
        return {row["id"]: Wallet(*list(row)[1:]) for row in rows}

    async def meters_in_database(self) -> dict[tuple[RoomId, UserId], MeterRow]:
        rows = await self.postgres.fetch(
            "SELECT room_id, payer_id, last_block, tokens, refunded_blocks, refunded_tokens FROM meters"
        )
        return {(row["room_id"], row["payer_id"]): MeterRow(*list(row)[2:]) for row in rows}

    async def use_key(self, user_id: UserId, key: str) -> None:
        """Use the user's key for something other than a posting, if the key is free."""
        posting_key = client_key(user_id, key)
        if posting_key not in self.model.journal:
            await claim(self.postgres, posting_key, bytes(16), user_id)
            self.model.other_keys.add(posting_key)

    async def tickets_in_database(self) -> dict[tuple[RoomId, UserId], PostingKey]:
        rows = await self.postgres.fetch(
            "SELECT stream_id, user_id, posting_key FROM stream_tickets WHERE refunded_at IS NULL"
        )
        return {(row["stream_id"], row["user_id"]): PostingKey(row["posting_key"].bytes) for row in rows}

    async def spent_in_database(self) -> dict[UserId, int]:
        """Return the tokens that each user with a limit has spent today."""
        return {
            row["user_id"]: row["spent"] for row in await self.postgres.fetch("SELECT user_id, spent FROM spend_limits")
        }


@asynccontextmanager
async def open_ledger_pair(dsn: str) -> AsyncIterator[LedgerPair]:
    """Yield a pair whose storage actor runs until the context ends."""
    async with open_postgres(dsn, pool_size=4) as postgres:
        ledgers = LedgerPair(postgres)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledgers.actor.run)
            yield ledgers
            ledgers.actor.close()


async def make_stream(postgres: Postgres, room_id: RoomId, owner: UserId) -> None:
    """Insert a stream with tickets for this room."""
    await postgres.execute(
        "INSERT INTO streams (id, creator_id, title, type, ticket_price_tokens, block_seconds, block_rounding,"
        " created_at) VALUES ($1, $2, 'Talk', 'private', 50, 30, 'up', now())",
        *(room_id, owner),
    )


def credit(user_id: UserId, tokens: int, key: PostingKey | None = None) -> Posting:
    return Posting(
        key=key or client_key(user_id, str(new_uuid())),
        kind=Kind.CREDIT,
        operator_id=OPERATOR,
        debit=PROMOTIONS,
        credit=user_id,
        tokens=tokens,
    )


def purchase(user_id: UserId, tokens: int) -> Posting:
    return msgspec.structs.replace(credit(user_id, tokens), kind=Kind.PURCHASE, debit=TOKEN_SALES, operator_id=None)


def tip(fan: UserId, creator: UserId, tokens: int, key: str | None = None) -> Posting:
    return Posting(
        key=client_key(fan, key or str(new_uuid())),
        kind=Kind.TIP,
        debit=fan,
        credit=creator,
        tokens=tokens,
        ref_id=new_uuid(),
    )


def ticket(stream: RoomId, fan: UserId, creator: UserId, tokens: int = 50, key: str | None = None) -> Posting:
    paid = tip(fan, creator, tokens, key)
    return msgspec.structs.replace(paid, kind=Kind.TICKET, room_id=stream)


def in_room(posting: Posting, room_id: RoomId, epoch: int = 1) -> Posting:
    return msgspec.structs.replace(posting, room_id=room_id, epoch=epoch)


def block(room_id: RoomId, fan: UserId, creator: UserId, block_no: int, tokens: int = 15, epoch: int = 1) -> Posting:
    return Posting(
        key=block_key(room_id, fan, block_no),
        kind=Kind.BLOCK,
        debit=fan,
        credit=creator,
        tokens=tokens,
        room_id=room_id,
        epoch=epoch,
        block_no=block_no,
    )
