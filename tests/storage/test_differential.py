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
from tests.storage.books import OPERATOR, Books, block, credit, in_room, open_books, purchase, ticket, tip

PEOPLE = 8
ROOMS = 3
BATCHES = 2000
FIRST_REF = 5  # its place in the statement's row


@pytest.mark.parametrize("seed", range(4))
async def test_random_batches_have_the_outcomes_of_the_model(
    dsn: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, other_chance = random.Random(seed), random.Random(-seed - 1)
    async with open_books(dsn) as books:
        people = [await books.add_user(chance.choice((0, 20, 200))) for _ in range(PEOPLE)]
        rooms = [await books.add_stream(*people) for _ in range(ROOMS)]
        seen: set[Outcome] = set()
        past: list[Posting] = []
        tried: list[Posting] = []
        ways = _watch_ways(monkeypatch)
        as_they_were = 0
        for _ in range(BATCHES // 4):
            await _sometimes_change_a_room(books, people, rooms, chance)
            await _sometimes_change_a_limit(books, people, chance)
            await _sometimes_use_a_key(books, people, other_chance)
            await _sometimes_take_tickets_back(books, chance)
            await _sometimes_give_back(books, past, chance)
            await _sometimes_pay_out_or_release(books, people, rooms, chance)
            wildness = chance.choice((0.0, 0.0, 0.04, 1.0))
            batch = _batch(books, people, rooms, past, wildness, chance)
            ways.clear()
            in_books, in_model = await books.post_in_both(batch)
            as_they_were += ways == [True]
            assert in_books == in_model
            seen |= {receipt.outcome for receipt in in_books}
            past = (past + batch)[-60:]
            tried += batch
        assert await books.wallets_in_books() == books.model.wallets
        assert await books.meters_in_books() == books.model.meters
        assert await books.tickets_in_books() == books.model.tickets
        assert await books.parts_in_books() == books.model.parts
        assert await books.payouts_in_books() == books.model.payouts
        assert await books.debts_in_books() == _owed_in_model(books)
        assert (await books.spent_in_books()).items() >= _spent_in_model(books).items()
        assert books.model.total() == 0
        assert books.model.other_keys & {posting.key for posting in tried}, "some keys stood for something else"
        assert [finding.sentence async for finding in audit(books.postgres) if finding.rows] == []
    assert seen == set(Outcome) - {Outcome.WITHDRAWN}, "every outcome has occurred"
    assert BATCHES // 16 < as_they_were < BATCHES // 4 * 3 // 4, "both ways through the statement were taken often"


def _watch_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each batch that is decided: whether it was booked as it is, with nothing looked up."""
    ways: list[bool] = []

    class Watched(DecidedBatch):
        def __init__(self, batch: Sequence[Posting], row: Any, seconds: float, sent: int | None = None) -> None:
            super().__init__(batch, row, seconds, sent)
            ways.append(row is not None and row[FIRST_REF] is None)

    monkeypatch.setattr(batch, "DecidedBatch", Watched)
    return ways


def _batch(
    books: Books,
    people: list[UserId],
    rooms: list[RoomId],
    past: list[Posting],
    wildness: float,
    chance: random.Random,
) -> list[Posting]:
    """Postings as rooms make them, where at most the tokens are missing; with some wildness, anything among them."""
    batch: list[Posting] = []
    metered: set[tuple[RoomId, UserId]] = set()
    for _ in range(chance.randint(1, 24)):
        if chance.random() < wildness:
            batch.append(_wild_posting(books, people, rooms, past, chance))
        else:
            batch.append(_tame_posting(books, people, rooms, metered, chance))
    return batch


def _tame_posting(
    books: Books,
    people: list[UserId],
    rooms: list[RoomId],
    metered: set[tuple[RoomId, UserId]],
    chance: random.Random,
) -> Posting:
    payer, payee = _parties(people, chance)
    room = chance.choice(rooms)
    draw = chance.random()
    if draw < 0.6 and (room, payer) not in metered:
        metered.add((room, payer))
        next_block = books.model.meters[room, payer].last_block + 1
        return block(room, payer, payee, next_block, chance.choice((0, 5, 15)), books.model.rooms[room].epoch)
    if draw < 0.8:
        return chance.choice((credit, purchase))(payer, chance.randint(1, 50))
    if draw < 0.83 and not any((each, payer) in books.model.tickets for each in rooms):
        return ticket(room, payer, ESCROW, chance.randint(1, 60))
    given = tip(payer, payee, chance.randint(1, 60))
    return given if draw < 0.9 else in_room(given, room, chance.choice((0, books.model.rooms[room].epoch)))


def _parties(people: list[UserId], chance: random.Random) -> tuple[UserId, UserId]:
    payer, payee = chance.sample(people, 2) if chance.random() < 0.6 else (people[0], people[1])
    return payer, payee


def _wild_posting(
    books: Books, people: list[UserId], rooms: list[RoomId], past: list[Posting], chance: random.Random
) -> Posting:
    """Hot wallets, chains in which one can only pay from what another just gave, repeats, stale epochs, gaps."""
    payer, payee = _parties(people, chance)
    draw = chance.random()
    if draw < 0.15 and past:
        return msgspec.structs.replace(chance.choice(past), ref_id=new_uuid())
    if draw < 0.55:
        room = chance.choice(rooms)
        next_block = books.model.meters[room, payer].last_block + 1
        block_no = max(1, next_block + chance.choice((0, 0, 0, 1, 2, -1)))
        epoch = books.model.rooms[room].epoch - (chance.random() < 0.1)
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
        epoch = books.model.rooms[room].epoch
        return in_room(tip(payer, payee, 1), room, chance.choice((0, epoch, epoch - 1)))
    return tip(payer, payee, chance.randint(1, 60), chance.choice((None, "a", "b")))


async def _sometimes_change_a_room(
    books: Books, people: list[UserId], rooms: list[RoomId], chance: random.Random
) -> None:
    room = chance.choice(rooms)
    draw = chance.random()
    if draw < 0.05 and not books.model.rooms[room].ended:
        books.model.claim(room)
        await books.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", room)
    elif draw < 0.06 and not books.model.rooms[room].ended:
        books.model.end(room)
        await books.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", room)
    elif draw < 0.3 and books.model.rooms[room].ended:
        rooms[rooms.index(room)] = await books.add_stream(*people)


def _spent_in_model(books: Books) -> dict[UserId, int]:
    """By those who have a limit."""
    return {who: limit.spent for who, limit in books.model.limits.items() if limit.tokens is not None}


async def _sometimes_change_a_limit(books: Books, people: list[UserId], chance: random.Random) -> None:
    limited = sorted(who for who, limit in books.model.limits.items() if limit.tokens is not None)
    draw = chance.random()
    if draw < 0.04:
        await books.allow(chance.choice(people), chance.choice((0, 20, 100)))
    elif draw < 0.06 and limited:
        await books.allow(chance.choice(limited), chance.choice((None, 200)))
    elif draw < 0.2 and limited:
        await books.allow(chance.choice(limited), None)
        await forget_lifted_limits(books.postgres)


async def _sometimes_use_a_key(books: Books, people: list[UserId], chance: random.Random) -> None:
    """For a call, a purchase or a refund."""
    if chance.random() < 0.05:
        await books.use_key(chance.choice(people), chance.choice("ab"))


async def _sometimes_take_tickets_back(books: Books, chance: random.Random) -> None:
    if books.model.tickets and chance.random() < 0.3:
        place = chance.choice(sorted(books.model.tickets))
        await _refund_in_both(books, [books.model.tickets[place]], chance)


async def _sometimes_give_back(books: Books, past: list[Posting], chance: random.Random) -> None:
    if past and chance.random() < 0.2:
        booked = [books.model.journal[posting.key].posting for posting in past if posting.key in books.model.journal]
        payee = books.model.payee(chance.choice(booked))
        paid = [posting.key for posting in booked if books.model.payee(posting) == payee]
        await _refund_in_both(books, paid, chance)


async def _sometimes_pay_out_or_release(
    books: Books, people: list[UserId], rooms: list[RoomId], chance: random.Random
) -> None:
    draw = chance.random()
    if draw < 0.15:
        await books.payout(chance.choice(people), chance.randint(1, 80))
    elif draw < 0.18:
        await books.release(chance.choice(rooms))


async def _refund_in_both(books: Books, paid: list[PostingKey], chance: random.Random) -> None:
    advance = chance.choice((None, Advance(OPERATOR, None), Advance(OPERATOR, chance.choice((0, 10**6)))))
    refunded = await books.actor.refund(paid, "sorry", advance)
    most = None if advance is None else advance.most_tokens
    in_model = books.model.refund(paid, advance=advance is not None, most_advanced=most)
    found = {receipt.posting.key: _figures(receipt) for receipt in refunded.receipts}
    assert found == {receipt.posting.key: _figures(receipt) for receipt in in_model}


def _owed_in_model(books: Books) -> dict[UserId, int]:
    owed: dict[UserId, int] = {}
    for debt in books.model.debts:
        owed[debt.debtor] = owed.get(debt.debtor, 0) + debt.tokens - debt.repaid
    return owed


def _figures(receipt: Receipt) -> tuple[object, ...]:
    """Without the reason, which the model does not keep, and whether it is new, which the model does not say."""
    return (msgspec.structs.replace(receipt.posting, memo=None), *msgspec.structs.astuple(receipt)[2:7])
