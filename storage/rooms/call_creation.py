"""Creates a call or refuses it: all checks of `POST /calls/init` that need the database, in one transaction."""

from math import ceil
from uuid import UUID

import msgspec

from domain.billing.block import BlockPrice, Rounding
from domain.call.ring_cooldown import PastCall, may_ring_at
from domain.ids import CallId, PostingKey, UserId
from domain.instant import Duration, Instant, as_datetime, from_datetime
from domain.refusals import FROZEN, Code, Refusal, insufficient_tokens, rate_changed, ring_cooldown, unfit
from storage.database_errors import StatementRefused
from storage.idempotency import FirstUse, claiming_transaction, find_first_use, key_insert, key_parameters
from storage.market.reversals import is_frozen
from storage.postgres import Connection, Postgres, Row
from storage.rooms.calls import CALLS, StoredCall, find_call, stored_call
from storage.rooms.streams import LIVE_OR_IN_A_CALL

JUST_ENDED = Refusal(Code.CREATOR_BUSY, "One of the two was in another call, or live")
PAST_CALLS_MAX = 64  # calls between two users that the cooldown looks at: it reaches its maximum after fewer failures


class NewCall(msgspec.Struct, frozen=True, kw_only=True):
    """A requested call. `key` is derived from the client's idempotency key: a repeat returns the first call.

    `content` is a digest of the request, 16 bytes.
    """

    id: CallId
    channel: str
    fan: UserId
    creator: UserId
    creator_online: bool
    max_tokens: int | None
    key: PostingKey | None
    content: bytes
    block_seconds: int
    block_rounding: Rounding
    created_at: Instant
    rings_until: Instant
    cooldown: Duration  # after a call that was declined or missed
    expected_rate: int | None = None  # tokens a minute; the call is refused if the creator's rate differs
    server_id: UUID


class Rung(msgspec.Struct, frozen=True):
    """A ringing call, and whether this request created it, or an earlier one with the same key."""

    call: StoredCall
    is_new: bool


async def create_call(postgres: Postgres, new: NewCall) -> Rung | Refusal:
    """Create the call and its room, or return the call of an earlier request with the same key.

    Refuses by the rules of `POST /calls/init`: the creator's state, a busy party, the cooldown, the fan's balance.
    Takes the write lock if there is a key, and then locks both parties' rows in `users` in the order of their ids.
    Cancelling creates all rows or none. Raises StorageUnavailable.
    """

    async def in_transaction(connection: Connection) -> Rung | Refusal | None:
        if (known := await _find_by_key(connection, new)) is not None:
            return known
        price = await _price(connection, new)
        refusal = price if isinstance(price, Refusal) else await _why_not(connection, new, price)
        if refusal is None and new.key is not None:
            # Take the write lock, under which no other request can use the key. It comes late, because blocks wait for
            # it, and before the locks of the parties, in the same order as when a stream goes live.
            await connection.execute("SELECT 1 FROM fence WHERE one FOR NO KEY UPDATE")
        if refusal is None:
            refusal = await _lock_parties(connection, new)
        if (known := await _find_by_key(connection, new)) is not None:  # a concurrent repeat has committed first
            return known
        if isinstance(price, Refusal) or refusal is not None:
            return refusal
        await _insert(connection, new, price)
        return None

    try:
        decided = await claiming_transaction(postgres, in_transaction)
    except StatementRefused as refused:
        if refused.constraint not in ("users_in_calls_pkey", LIVE_OR_IN_A_CALL):
            raise
        # A concurrent transaction began a call or a stream of one of them, which may have ended since.
        busy = await postgres.transaction(lambda connection: _why_busy(connection, new))
        return busy or JUST_ENDED
    if decided is not None:
        return decided
    made = await find_call(postgres, new.id)
    assert made is not None, "it was written just now"
    return Rung(made, is_new=True)


async def _find_by_key(connection: Connection, new: NewCall) -> Rung | Refusal | None:
    known = await find_first_use(connection, new.key, new.content)
    return Rung(await _load(connection, known.ref_id), is_new=False) if isinstance(known, FirstUse) else known


async def _price(connection: Connection, new: NewCall) -> BlockPrice | Refusal:
    if new.fan == new.creator:
        return Refusal(Code.SELF_PAYMENT, "Nobody can call themselves")
    # Read the creator's rate and availability, and whether the creator has blocked the fan.
    creator = await connection.fetchrow(
        "SELECT c.rate_tokens_per_min, c.accepts_calls, b.user_id IS NOT NULL AS unwanted"
        " FROM users u LEFT JOIN creators c ON c.user_id = u.supabase_id"
        " LEFT JOIN creator_blocks b ON b.creator_id = c.user_id AND b.user_id = $2 WHERE u.supabase_id = $1",
        new.creator,
        new.fan,
    )
    if creator is None:
        return Refusal(Code.NOT_FOUND, "No such user")
    if creator["rate_tokens_per_min"] is None:
        return Refusal(Code.NOT_A_CREATOR, "This user is not a creator")
    if not creator["accepts_calls"]:
        return Refusal(Code.CREATOR_UNAVAILABLE, "The creator does not accept calls now")
    if creator["unwanted"] or not new.creator_online:  # a creator appears offline to those whom they block
        return Refusal(Code.CREATOR_UNAVAILABLE, "The creator is not online")
    if new.expected_rate not in (None, creator["rate_tokens_per_min"]):
        return rate_changed(creator["rate_tokens_per_min"])
    return BlockPrice(creator["rate_tokens_per_min"], new.block_seconds, new.block_rounding)


async def _why_not(connection: Connection, new: NewCall, price: BlockPrice) -> Refusal | None:
    if (busy := await _why_busy(connection, new)) is not None:
        return busy
    if (too_soon := await _cooldown(connection, new)) is not None:
        return too_soon
    required = price.tokens(1)
    if new.max_tokens is not None and new.max_tokens < required:
        return unfit(("maxTokens", f"must be at least {required}, the price of one block"))
    if await is_frozen(connection, new.fan):
        return FROZEN
    # Read the fan's balance.
    balance = await connection.fetchval("SELECT balance FROM wallets WHERE id = $1", new.fan)
    if balance < required:
        return insufficient_tokens(required, balance, "to start the call")
    return None


async def _why_busy(connection: Connection, new: NewCall) -> Refusal | None:
    """Refuse if a party is in another call, is live, or starts a stream; constraints check it again at the insert."""
    # Read which of the two are in a call.
    rows = await connection.fetch("SELECT user_id FROM users_in_calls WHERE user_id IN ($1, $2)", new.fan, new.creator)
    busy = {row["user_id"] for row in rows}
    if new.fan in busy:
        return Refusal(Code.ALREADY_IN_CALL, "You are in a call already")
    if new.creator in busy:
        return Refusal(Code.CREATOR_BUSY, "The creator is in a call")
    # Read which of the two are live.
    rows = await connection.fetch(
        "SELECT creator_id FROM streams WHERE creator_id IN ($1, $2) AND status = 'live'", new.fan, new.creator
    )
    live = {row["creator_id"] for row in rows}
    if new.fan in live:
        return Refusal(Code.ALREADY_LIVE, "You are live")
    if new.creator in live:
        return Refusal(Code.CREATOR_BUSY, "The creator is live")
    # Check for a reservation of the creator, see stream_start_reservations.py.
    starting = "SELECT true FROM creators WHERE user_id = $1 AND starts_stream_until > clock_timestamp()"
    if await connection.fetchval(starting, new.creator):
        return Refusal(Code.CREATOR_BUSY, "The creator is going live")
    return None


async def _lock_parties(connection: Connection, new: NewCall) -> Refusal | None:
    """Lock both parties' rows, and repeat the checks that an earlier holder of these locks may have changed.

    The insert of a call takes the same locks, so every other call of the two is now either committed or still waiting.
    """
    # Lock both rows in the order of their ids.
    await connection.execute(
        "SELECT 1 FROM users WHERE supabase_id IN ($1, $2) ORDER BY supabase_id FOR NO KEY UPDATE",
        new.fan,
        new.creator,
    )
    # Check whether one of the two is in a call by now.
    in_calls = "SELECT true FROM users_in_calls WHERE user_id IN ($1, $2) LIMIT 1"
    if await connection.fetchval(in_calls, new.fan, new.creator):
        return await _why_busy(connection, new) or JUST_ENDED
    return await _cooldown(connection, new)


async def _cooldown(connection: Connection, new: NewCall) -> Refusal | None:
    if new.cooldown == 0:
        return None
    # Read the latest ended calls between the two, with their numbers of blocks.
    rows = await connection.fetch(
        "SELECT c.ended_at, c.end_reason, m.last_block FROM calls c, LATERAL (SELECT last_block FROM meters"
        " WHERE room_id = c.id AND payer_id = c.fan_id LIMIT 1) m"
        " WHERE c.fan_id = $1 AND c.creator_id = $2 AND c.ended_at IS NOT NULL"
        f" ORDER BY c.created_at DESC LIMIT {PAST_CALLS_MAX}",
        new.fan,
        new.creator,
    )
    past = [PastCall(from_datetime(row["ended_at"]), row["end_reason"], row["last_block"]) for row in rows]
    free_at = may_ring_at(past, new.created_at, new.cooldown)
    return None if free_at is None else ring_cooldown(ceil((free_at - new.created_at) / 1_000_000))


async def _insert(connection: Connection, new: NewCall, price: BlockPrice) -> None:
    """Insert all rows of a call in one round trip."""
    # Insert the room, the meter, the use of the key and the call.
    await connection.execute(
        f"""
        WITH room AS (INSERT INTO rooms (id, kind, channel, server_id) VALUES ($1, 'call', $2, $3)),
             meter AS (INSERT INTO meters (room_id, payer_id) VALUES ($1, $4)),
             used AS ({key_insert("$12", "$13", ref_id="$1")})
        INSERT INTO calls (id, fan_id, creator_id, rate_tokens_per_min, block_seconds, block_rounding, max_tokens,
                           created_at, rings_until)
        VALUES ($1, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        new.id,
        new.channel,
        new.server_id,
        new.fan,
        new.creator,
        price.rate_tokens_per_min,
        price.block_seconds,
        price.rounding,
        new.max_tokens,
        as_datetime(new.created_at),
        as_datetime(new.rings_until),
        *key_parameters(new.key, new.content),
    )


async def _load(connection: Connection, call_id: UUID | None) -> StoredCall:
    # Read the call with everything that belongs to it.
    row: Row | None = await connection.fetchrow(f"SELECT {CALLS.columns} FROM {CALLS.source} WHERE c.id = $1", call_id)
    assert row is not None, "a key and its call are written together"
    return stored_call(row)
