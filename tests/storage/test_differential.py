"""The batch statement and its model in Python decide random batches alike, posting by posting."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from domain.billing.posting import Outcome, Posting, Receipt
from domain.ids import ESCROW, PROMOTIONS, PostingKey, RoomId, UserId
from server.ids import new_uuid
from storage.ledger import batch
from storage.ledger.audit import audit
from storage.ledger.batch import DecidedBatch
from storage.ledger.refunds import Advance
from storage.ledger.spend_limits import forget_lifted_limits
from tests.storage.ledger_pair import (
    OPERATOR,
    LedgerPair,
    block,
    credit,
    in_room,
    open_ledger_pair,
    purchase,
    ticket,
    tip,
)

USERS = 8
ROOMS = 3
BATCHES = 2000
FIRST_REF = 5  # its index in the statement's row


@pytest.mark.parametrize("seed", range(4))
async def test_random_batches_have_the_outcomes_of_the_model(
    dsn: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, other_chance = random.Random(seed), random.Random(-seed - 1)
    async with open_ledger_pair(dsn) as ledgers:
        users = [await ledgers.add_user(chance.choice((0, 20, 200))) for _ in range(USERS)]
        rooms = [await ledgers.add_stream(*users) for _ in range(ROOMS)]
        seen: set[Outcome] = set()
        past: list[Posting] = []
        tried: list[Posting] = []
        ways = _watch_ways(monkeypatch)
        as_they_were = 0
        for _ in range(BATCHES // 4):
            await _sometimes_change_a_room(ledgers, users, rooms, chance)
            await _sometimes_change_a_limit(ledgers, users, chance)
            await _sometimes_use_a_key(ledgers, users, other_chance)
            await _sometimes_take_tickets_back(ledgers, chance)
            await _sometimes_give_back(ledgers, past, chance)
            await _sometimes_pay_out_or_release(ledgers, users, rooms, chance)
            wildness = chance.choice((0.0, 0.0, 0.04, 1.0))
            batch = _batch(ledgers, users, rooms, past, wildness, chance)
            ways.clear()
            in_database, in_model = await ledgers.post_in_both(batch)
            as_they_were += ways == [True]
            assert in_database == in_model
            seen |= {receipt.outcome for receipt in in_database}
            past = (past + batch)[-60:]
            tried += batch
        assert await ledgers.wallets_in_database() == ledgers.model.wallets
        assert await ledgers.meters_in_database() == ledgers.model.meters
        assert await ledgers.tickets_in_database() == ledgers.model.tickets
        assert await ledgers.parts_in_database() == ledgers.model.parts
        assert await ledgers.payouts_in_database() == ledgers.model.payouts
        assert await ledgers.debts_in_database() == _owed_in_model(ledgers)
        assert (await ledgers.spent_in_database()).items() >= _spent_in_model(ledgers).items()
        assert ledgers.model.total() == 0
        assert ledgers.model.other_keys & {posting.key for posting in tried}, "some keys stood for something else"
        assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
    assert seen == set(Outcome) - {Outcome.WITHDRAWN}, "every outcome has occurred"
    assert BATCHES // 16 < as_they_were < BATCHES // 4 * 3 // 4, "both ways through the statement were taken often"


def _watch_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record for each batch whether the fast path booked it, without a lookup of keys."""
    ways: list[bool] = []

    class Watched(DecidedBatch):
        def __init__(self, batch: Sequence[Posting], row: Any, seconds: float, sent: int | None = None) -> None:
            super().__init__(batch, row, seconds, sent)
            ways.append(row is not None and row[FIRST_REF] is None)

    monkeypatch.setattr(batch, "DecidedBatch", Watched)
    return ways


def _batch(
    ledgers: LedgerPair,
    users: list[UserId],
    rooms: list[RoomId],
    past: list[Posting],
    wildness: float,
    chance: random.Random,
) -> list[Posting]:
    """Random postings as rooms make them, which fail at most for lack of tokens; `wildness` adds invalid ones."""
    batch: list[Posting] = []
    metered: set[tuple[RoomId, UserId]] = set()
    for _ in range(chance.randint(1, 24)):
        if chance.random() < wildness:
            batch.append(_wild_posting(ledgers, users, rooms, past, chance))
        else:
            batch.append(_tame_posting(ledgers, users, rooms, metered, chance))
    return batch


def _tame_posting(
    ledgers: LedgerPair,
    users: list[UserId],
    rooms: list[RoomId],
    metered: set[tuple[RoomId, UserId]],
    chance: random.Random,
) -> Posting:
    payer, payee = _parties(users, chance)
    room = chance.choice(rooms)
    draw = chance.random()
    if draw < 0.6 and (room, payer) not in metered:
        metered.add((room, payer))
        next_block = ledgers.model.meters[room, payer].last_block + 1
        return block(room, payer, payee, next_block, chance.choice((0, 5, 15)), ledgers.model.rooms[room].epoch)
    if draw < 0.8:
        return chance.choice((credit, purchase))(payer, chance.randint(1, 50))
    if draw < 0.83 and not any((each, payer) in ledgers.model.tickets for each in rooms):
        return ticket(room, payer, ESCROW, chance.randint(1, 60))
    given = tip(payer, payee, chance.randint(1, 60))
    return given if draw < 0.9 else in_room(given, room, chance.choice((0, ledgers.model.rooms[room].epoch)))


def _parties(users: list[UserId], chance: random.Random) -> tuple[UserId, UserId]:
    payer, payee = chance.sample(users, 2) if chance.random() < 0.6 else (users[0], users[1])
    return payer, payee


def _wild_posting(
    ledgers: LedgerPair, users: list[UserId], rooms: list[RoomId], past: list[Posting], chance: random.Random
) -> Posting:
    """Busy wallets, chains of payments that depend on each other, repeats, stale epochs, gaps."""
    payer, payee = _parties(users, chance)
    draw = chance.random()
    if draw < 0.15 and past:
        return msgspec.structs.replace(chance.choice(past), ref_id=new_uuid())
    if draw < 0.55:
        room = chance.choice(rooms)
        next_block = ledgers.model.meters[room, payer].last_block + 1
        block_no = max(1, next_block + chance.choice((0, 0, 0, 1, 2, -1)))
        epoch = ledgers.model.rooms[room].epoch - (chance.random() < 0.1)
        return block(room, payer, payee, block_no, chance.choice((0, 5, 15)), epoch)
    if draw < 0.58:
        return tip(payer, UserId(new_uuid()), 1)
    if draw < 0.62:
        return tip(payer, payee, chance.choice((0, -1, 10**9 + 1)))
    if draw < 0.72:
        return credit(payer, chance.randint(1, 50))
    if draw < 0.75:
        return tip(PROMOTIONS, payee, 1)
    if draw < 0.79:
        return ticket(chance.choice(rooms), payer, chance.choice((ESCROW, ESCROW, payee)), chance.randint(1, 60))
    if draw < 0.84:
        room = chance.choice(rooms)
        epoch = ledgers.model.rooms[room].epoch
        return in_room(tip(payer, payee, 1), room, chance.choice((0, epoch, epoch - 1)))
    return tip(payer, payee, chance.randint(1, 60), chance.choice((None, "a", "b")))


async def _sometimes_change_a_room(
    ledgers: LedgerPair, users: list[UserId], rooms: list[RoomId], chance: random.Random
) -> None:
    room = chance.choice(rooms)
    draw = chance.random()
    if draw < 0.05 and not ledgers.model.rooms[room].ended:
        ledgers.model.claim(room)
        await ledgers.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", room)
    elif draw < 0.06 and not ledgers.model.rooms[room].ended:
        ledgers.model.end(room)
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", room)
    elif draw < 0.3 and ledgers.model.rooms[room].ended:
        rooms[rooms.index(room)] = await ledgers.add_stream(*users)


def _spent_in_model(ledgers: LedgerPair) -> dict[UserId, int]:
    """Return the tokens spent by users who have a limit."""
    return {who: limit.spent for who, limit in ledgers.model.limits.items() if limit.tokens is not None}


async def _sometimes_change_a_limit(ledgers: LedgerPair, users: list[UserId], chance: random.Random) -> None:
    limited = sorted(who for who, limit in ledgers.model.limits.items() if limit.tokens is not None)
    draw = chance.random()
    if draw < 0.04:
        await ledgers.allow(chance.choice(users), chance.choice((0, 20, 100)))
    elif draw < 0.06 and limited:
        await ledgers.allow(chance.choice(limited), chance.choice((None, 200)))
    elif draw < 0.2 and limited:
        await ledgers.allow(chance.choice(limited), None)
        await forget_lifted_limits(ledgers.postgres)


async def _sometimes_use_a_key(ledgers: LedgerPair, users: list[UserId], chance: random.Random) -> None:
    """For a call, a purchase or a refund."""
    if chance.random() < 0.05:
        await ledgers.use_key(chance.choice(users), chance.choice("ab"))


async def _sometimes_take_tickets_back(ledgers: LedgerPair, chance: random.Random) -> None:
    if ledgers.model.tickets and chance.random() < 0.3:
        place = chance.choice(sorted(ledgers.model.tickets))
        await _refund_in_both(ledgers, [ledgers.model.tickets[place]], chance)


async def _sometimes_give_back(ledgers: LedgerPair, past: list[Posting], chance: random.Random) -> None:
    if past and chance.random() < 0.2:
        booked = [
            ledgers.model.journal[posting.key].posting for posting in past if posting.key in ledgers.model.journal
        ]
        payee = ledgers.model.payee(chance.choice(booked))
        paid = [posting.key for posting in booked if ledgers.model.payee(posting) == payee]
        await _refund_in_both(ledgers, paid, chance)


async def _sometimes_pay_out_or_release(
    ledgers: LedgerPair, users: list[UserId], rooms: list[RoomId], chance: random.Random
) -> None:
    draw = chance.random()
    if draw < 0.15:
        await ledgers.payout(chance.choice(users), chance.randint(1, 80))
    elif draw < 0.18:
        await ledgers.release(chance.choice(rooms))


async def _refund_in_both(ledgers: LedgerPair, paid: list[PostingKey], chance: random.Random) -> None:
    advance = chance.choice((None, Advance(OPERATOR, None), Advance(OPERATOR, chance.choice((0, 10**6)))))
    refunded = await ledgers.actor.refund(paid, "sorry", advance)
    most = None if advance is None else advance.most_tokens
    in_model = ledgers.model.refund(paid, advance=advance is not None, most_advanced=most)
    found = {receipt.posting.key: _figures(receipt) for receipt in refunded.receipts}
    assert found == {receipt.posting.key: _figures(receipt) for receipt in in_model}


def _owed_in_model(ledgers: LedgerPair) -> dict[UserId, int]:
    owed: dict[UserId, int] = {}
    for debt in ledgers.model.debts:
        owed[debt.debtor] = owed.get(debt.debtor, 0) + debt.tokens - debt.repaid
    return owed


def _figures(receipt: Receipt) -> tuple[object, ...]:
    """Return the fields of the receipt that the model has too."""
    return (msgspec.structs.replace(receipt.posting, memo=None), *msgspec.structs.astuple(receipt)[2:7])
