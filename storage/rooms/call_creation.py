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
        facts = await _read_facts(connection, new)
        refusal = _why_not(new, facts)
        if refusal is None:
            await _lock(connection, new)
            # Every other call of the two is now either committed or still waiting for the same locks.
            facts = await _read_facts(connection, new)
            refusal = _why_not(new, facts)
        if (known := await _find_by_key(connection, new)) is not None:  # a concurrent repeat has committed first
            return known
        if refusal is None:
            await _insert(connection, new, facts.rate_tokens_per_min)
        return refusal

    try:
        decided = await claiming_transaction(postgres, in_transaction)
    except StatementRefused as refused:
        if refused.constraint not in ("users_in_calls_pkey", LIVE_OR_IN_A_CALL):
            raise
        # A concurrent transaction began a call or a stream of one of them, which may have ended since.
        facts = await postgres.transaction(lambda connection: _read_facts(connection, new))
        return _why_busy(new, facts) or JUST_ENDED
    if decided is not None:
        return decided
    made = await find_call(postgres, new.id)
    assert made is not None, "it was written just now"
    return Rung(made, is_new=True)


async def _find_by_key(connection: Connection, new: NewCall) -> Rung | Refusal | None:
    known = await find_first_use(connection, new.key, new.content)
    return Rung(await _load(connection, known.ref_id), is_new=False) if isinstance(known, FirstUse) else known


class _Facts(msgspec.Struct, frozen=True):
    """The facts in the database on which a call depends. `in_calls` and `live` hold those of the two parties."""

    creator_is_user: bool
    rate_tokens_per_min: int  # 0 if the callee is no creator
    accepts_calls: bool
    has_blocked_fan: bool
    starts_stream: bool  # whether a reservation of the creator is in force, see stream_start_reservations.py
    in_calls: frozenset[UUID]
    live: frozenset[UUID]
    past: list[PastCall]  # ended calls between the two, newest first
    fan_is_frozen: bool
    fan_balance: int


async def _read_facts(connection: Connection, new: NewCall) -> _Facts:
    # Read everything in one round trip: a call is created under locks that other calls and blocks wait for.
    row = await connection.fetchrow(
        f"""
        SELECT EXISTS (SELECT FROM users WHERE supabase_id = $2),
               c.rate_tokens_per_min, c.accepts_calls,
               EXISTS (SELECT FROM creator_blocks WHERE creator_id = $2 AND user_id = $1),
               c.starts_stream_until > clock_timestamp(),
               ARRAY(SELECT user_id FROM users_in_calls WHERE user_id IN ($1, $2)),
               ARRAY(SELECT creator_id FROM streams WHERE creator_id IN ($1, $2) AND status = 'live'),
               EXISTS (SELECT FROM wallet_freezes WHERE user_id = $1),
               (SELECT balance FROM wallets WHERE id = $1),
               past.ended_at, past.end_reason, past.blocks
          FROM (SELECT array_agg(p.ended_at ORDER BY p.created_at DESC) AS ended_at,
                       array_agg(p.end_reason ORDER BY p.created_at DESC) AS end_reason,
                       array_agg(p.last_block ORDER BY p.created_at DESC) AS blocks
                  FROM (SELECT o.created_at, o.ended_at, o.end_reason, m.last_block
                          FROM calls o, LATERAL (SELECT last_block FROM meters
                                                  WHERE room_id = o.id AND payer_id = o.fan_id LIMIT 1) m
                         WHERE o.fan_id = $1 AND o.creator_id = $2 AND o.ended_at IS NOT NULL
                         ORDER BY o.created_at DESC LIMIT {PAST_CALLS_MAX}) p) past
          LEFT JOIN creators c ON c.user_id = $2
        """,
        new.fan,
        new.creator,
    )
    assert row is not None, "an aggregate without groups has one row"
    is_user, rate, accepts, blocked, starts, in_calls, live, frozen, balance, *past = row
    return _Facts(
        creator_is_user=is_user,
        rate_tokens_per_min=rate or 0,
        accepts_calls=bool(accepts),
        has_blocked_fan=blocked,
        starts_stream=bool(starts),
        in_calls=frozenset(in_calls),
        live=frozenset(live),
        past=[
            PastCall(from_datetime(at), why, blocks) for at, why, blocks in zip(*(p or () for p in past), strict=True)
        ],
        fan_is_frozen=frozen,
        fan_balance=balance,
    )


def _why_not(new: NewCall, facts: _Facts) -> Refusal | None:
    return _why_unavailable(new, facts) or _why_busy(new, facts) or _too_soon(new, facts) or _why_unpaid(new, facts)


def _why_unavailable(new: NewCall, facts: _Facts) -> Refusal | None:
    if new.fan == new.creator:
        return Refusal(Code.SELF_PAYMENT, "Nobody can call themselves")
    if not facts.creator_is_user:
        return Refusal(Code.NOT_FOUND, "No such user")
    if not facts.rate_tokens_per_min:
        return Refusal(Code.NOT_A_CREATOR, "This user is not a creator")
    if not facts.accepts_calls:
        return Refusal(Code.CREATOR_UNAVAILABLE, "The creator does not accept calls now")
    if facts.has_blocked_fan or not new.creator_online:  # a creator appears offline to those whom they block
        return Refusal(Code.CREATOR_UNAVAILABLE, "The creator is not online")
    if new.expected_rate not in (None, facts.rate_tokens_per_min):
        return rate_changed(facts.rate_tokens_per_min)
    return None


def _why_busy(new: NewCall, facts: _Facts) -> Refusal | None:
    """Refuse if a party is in another call, is live, or starts a stream; constraints check it again at the insert."""
    if new.fan in facts.in_calls:
        return Refusal(Code.ALREADY_IN_CALL, "You are in a call already")
    if new.creator in facts.in_calls:
        return Refusal(Code.CREATOR_BUSY, "The creator is in a call")
    if new.fan in facts.live:
        return Refusal(Code.ALREADY_LIVE, "You are live")
    if new.creator in facts.live:
        return Refusal(Code.CREATOR_BUSY, "The creator is live")
    if facts.starts_stream:
        return Refusal(Code.CREATOR_BUSY, "The creator is going live")
    return None


def _too_soon(new: NewCall, facts: _Facts) -> Refusal | None:
    free_at = may_ring_at(facts.past, new.created_at, new.cooldown) if new.cooldown else None
    return None if free_at is None else ring_cooldown(ceil((free_at - new.created_at) / 1_000_000))


def _why_unpaid(new: NewCall, facts: _Facts) -> Refusal | None:
    """Refuse a fan who cannot or will not pay the first block."""
    required = _price(new, facts.rate_tokens_per_min).tokens(1)
    if new.max_tokens is not None and new.max_tokens < required:
        return unfit(("maxTokens", f"must be at least {required}, the price of one block"))
    if facts.fan_is_frozen:
        return FROZEN
    if facts.fan_balance < required:
        return insufficient_tokens(required, facts.fan_balance, "to start the call")
    return None


def _price(new: NewCall, rate_tokens_per_min: int) -> BlockPrice:
    return BlockPrice(rate_tokens_per_min, new.block_seconds, new.block_rounding)


async def _lock(connection: Connection, new: NewCall) -> None:
    """Lock both parties' rows in the order of their ids, as the insert of a call does; with a key the write lock first.

    Under the write lock no other request can use the key. Blocks wait for it, so a refused call does not take it. A
    stream that goes live takes it before its creator's row as well.
    """
    if new.key is not None:
        await connection.execute("SELECT 1 FROM fence WHERE one FOR NO KEY UPDATE")
    await connection.execute(
        "SELECT 1 FROM users WHERE supabase_id IN ($1, $2) ORDER BY supabase_id FOR NO KEY UPDATE",
        new.fan,
        new.creator,
    )


async def _insert(connection: Connection, new: NewCall, rate_tokens_per_min: int) -> None:
    """Insert all rows of a call in one round trip."""
    price = _price(new, rate_tokens_per_min)
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
