"""Batches that the fast path cannot book, each for one reason: the outcome does not depend on the payer's balance."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from domain.billing.posting import Outcome, Posting
from domain.ids import RoomId, UserId
from tests.storage.ledger_pair import LedgerPair, block, in_room, open_ledger_pair, tip

TOKENS = 100  # of the fan's balance
TOO_MUCH = 500


class Scene(NamedTuple):
    """Rooms for which the batch sends epoch 1; one of them has a later epoch, one has ended."""

    fan: UserId
    creator: UserId
    live: RoomId
    lost: RoomId
    ended: RoomId


def _block(at: Scene, room: RoomId, block_no: int, tokens: int) -> list[Posting]:
    return [block(room, at.fan, at.creator, block_no, tokens)]


def _tip(at: Scene, room: RoomId, tokens: int) -> list[Posting]:
    return [in_room(tip(at.fan, at.creator, tokens), room, 1)]


def _beside(at: Scene, room: RoomId, tokens: int) -> list[Posting]:
    """Return the posting without an epoch, which any owner of the room may send."""
    return [in_room(tip(at.fan, at.creator, tokens), room, 0)]


def _twice(at: Scene, tokens: int, more: int) -> list[Posting]:
    return [tip(at.fan, at.creator, tokens, "k"), tip(at.fan, at.creator, tokens + more, "k")]


@pytest.mark.parametrize("tokens", [1, TOO_MUCH])
@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [
        (lambda at, tokens: _block(at, at.live, 2, tokens), Outcome.GAP),
        (lambda at, tokens: _block(at, at.lost, 1, tokens), Outcome.FENCED),
        (lambda at, tokens: _block(at, at.ended, 1, tokens), Outcome.CLOSED),
        (lambda at, tokens: _tip(at, at.lost, tokens), Outcome.FENCED),
        (lambda at, tokens: _tip(at, at.ended, tokens), Outcome.CLOSED),
        (lambda at, tokens: _beside(at, at.ended, tokens), Outcome.CLOSED),
        (lambda at, tokens: [block(at.live, at.fan, at.creator, 1, tokens, epoch=0)], Outcome.FENCED),
    ],
    ids=["gap", "later-owner", "ended", "tip-later-owner", "tip-ended", "beside-ended", "block-without-owner"],
)
async def test_a_posting_that_has_no_place_is_refused_for_that_whether_it_can_be_paid_or_not(
    dsn: str, wanted: Callable[[Scene, int], list[Posting]], outcome: Outcome, tokens: int
) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        at = await _scene(ledgers)
        in_database, in_model = await ledgers.post_in_both(wanted(at, tokens))
        assert [receipt.outcome for receipt in in_database] == [outcome]
        assert in_database == in_model
        assert await ledgers.wallets_in_database() == ledgers.model.wallets


@pytest.mark.parametrize(("tokens", "outcome"), [(1, Outcome.COMMITTED), (TOO_MUCH, Outcome.INSUFFICIENT)])
async def test_a_posting_without_an_epoch_does_not_depend_on_the_rooms_owner(
    dsn: str, tokens: int, outcome: Outcome
) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        at = await _scene(ledgers)
        in_database, in_model = await ledgers.post_in_both(_beside(at, at.lost, tokens))
        assert [receipt.outcome for receipt in in_database] == [outcome]
        assert in_database == in_model


@pytest.mark.parametrize(
    ("tokens", "more", "outcome"),
    [
        (10, 0, Outcome.ALREADY),
        (60, 0, Outcome.ALREADY),
        (10, 1, Outcome.CONFLICT),
        (60, 1, Outcome.CONFLICT),
    ],
)
async def test_a_repeat_in_the_same_batch_is_known_whether_it_could_be_paid_again_or_not(
    dsn: str, tokens: int, more: int, outcome: Outcome
) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        in_database, in_model = await ledgers.post_in_both(_twice(await _scene(ledgers), tokens, more))
        assert [receipt.outcome for receipt in in_database] == [Outcome.COMMITTED, outcome]
        assert in_database == in_model
        assert await ledgers.wallets_in_database() == ledgers.model.wallets


async def _scene(ledgers: LedgerPair) -> Scene:
    fan, creator = await ledgers.add_user(TOKENS), await ledgers.add_user()
    live, lost, ended = [await ledgers.add_room(fan) for _ in range(3)]
    ledgers.model.claim(lost)
    await ledgers.postgres.execute("UPDATE rooms SET epoch = epoch + 1 WHERE id = $1", lost)
    ledgers.model.end(ended)
    await ledgers.postgres.execute("UPDATE rooms SET ended_at = now() WHERE id = $1", ended)
    return Scene(fan, creator, live, lost, ended)
