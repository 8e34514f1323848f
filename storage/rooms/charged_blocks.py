"""The charged blocks of one room: one record a block, with its refund.

`block_entries.py` reads the same blocks as entries of a wallet, in pages; `billing_stats.py` sums blocks over rooms.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.billing.meter import Paid
from domain.ids import PostingKey, RoomId, UserId, block_key, refund_key, refund_rest_key
from domain.instant import Duration, rfc3339_of
from storage.postgres import PgUUID, Postgres

MAX_BLOCKS_SHOWN = 1000  # of one call: eight hours and twenty minutes at 30 s


class Block(msgspec.Struct, frozen=True, rename="camel"):
    """A block as it was charged, and its refund: all of its tokens, or none."""

    block_no: int
    tokens: int
    charged_at: str
    refunded_tokens: int
    refunded_at: str | None


class StoredTime(NamedTuple):
    """The blocks that a payer has paid in one room, and the active time as it was stored last, some seconds ago."""

    paid: Paid
    active: Duration


async def find_paid_time(postgres: Postgres, room_id: RoomId, payer: UserId) -> StoredTime | None:
    """Return the blocks and the time of a payer in a room; None without a meter. Raises StorageUnavailable."""
    # Read the payer's meter.
    row = await postgres.fetchrow(
        "SELECT last_block, tokens, refunded_blocks, refunded_tokens, active_us FROM meters"
        " WHERE room_id = $1 AND payer_id = $2",
        room_id,
        payer,
    )
    return None if row is None else StoredTime(Paid(*list(row)[:4]), row["active_us"])


async def find_streams_among(postgres: Postgres, room_ids: Iterable[UUID]) -> set[UUID]:
    """Return which of these rooms are streams; the others are calls. Raises StorageUnavailable."""
    # Read the ids of the streams.
    rows = await postgres.fetch("SELECT id FROM rooms WHERE id = ANY($1::uuid[]) AND kind = 'stream'", list(room_ids))
    return {row["id"] for row in rows}


async def find_charged_blocks(postgres: Postgres, room_id: RoomId, payer: UserId, last_block: int) -> list[Block]:
    """Return the last MAX_BLOCKS_SHOWN blocks of one payer in one room, in the order of their numbers.

    `last_block` is the number of the payer's last block. The key of a block is derived from room, payer and number, so
    the journal's primary key finds each block and the journal needs no index on rooms. Raises StorageUnavailable.
    """
    first = max(1, last_block - MAX_BLOCKS_SHOWN + 1)
    keys = [block_key(room_id, payer, block_no) for block_no in range(first, last_block + 1)]
    # Read the postings with these keys.
    rows = await postgres.fetch(
        "SELECT key, block_no, tokens, created_at FROM journal WHERE key = ANY($1::uuid[]) ORDER BY block_no",
        [PgUUID(key) for key in keys],
    )
    refunds = await find_refunded_tokens(postgres, keys)
    return [
        Block(row["block_no"], row["tokens"], rfc3339_of(row["created_at"]), *refunds[row["key"].bytes]) for row in rows
    ]


class RefundedTokens(NamedTuple):
    """How many tokens of a posting were refunded, and when; 0 and None without a refund."""

    tokens: int = 0
    at: str | None = None


async def find_refunded_tokens(postgres: Postgres, paid: Sequence[PostingKey]) -> Mapping[bytes, RefundedTokens]:
    """Return the refunds of these postings by the posting's key; any other key maps to an empty RefundedTokens.

    The keys of a refund are derived from the key of the refunded posting, so the journal's primary key finds each one.
    Raises StorageUnavailable.
    """
    keys = [PgUUID(derive(key)) for key in paid for derive in (refund_key, refund_rest_key)]
    # Sum the refunds of each posting: one may be two postings, from the payee and from `losses`.
    rows = await postgres.fetch(
        "SELECT content, sum(tokens)::bigint AS tokens, max(created_at) AS at FROM journal"
        " WHERE key = ANY($1::uuid[]) GROUP BY content",
        keys,
    )
    found = {row["content"].bytes: RefundedTokens(row["tokens"], rfc3339_of(row["at"])) for row in rows}
    return defaultdict(RefundedTokens, found)
