"""Malformed postings: the actor refuses each by a fault code before it sends anything, and so does the database."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from domain.amounts import MAX_POSTING_TOKENS
from domain.billing.block import BlockPrice
from domain.billing.posting import Outcome, Posting, fault_of
from domain.ids import PROMOTIONS, RoomId, UserId, block_key
from domain.refusals import Code
from storage.database_errors import StatementRefused
from storage.ledger import batch as batch_statement
from storage.ledger.audit import audit
from storage.postgres import LoneConnection, Row
from tests.storage.ledger_pair import LedgerPair, block, credit, open_ledger_pair, tip

NOBODY, NOWHERE = UserId(UUID(int=7)), RoomId(UUID(int=8))
BIGINT_MAX = 2**63 - 1


class Bad(NamedTuple):
    """The change to a valid tip, credit or block, its fault code, and the database's error if it is sent.

    The careful way looks up meters before it writes anything.
    """

    base: str
    changes: dict[str, Any]
    code: Code
    in_database: str
    with_care: str | None = None


INVALID = Code.VALIDATION_FAILED
BAD = {
    "beyond one posting": Bad("credit", {"tokens": MAX_POSTING_TOKENS + 1}, INVALID, "tokens_in_range"),
    "beyond any balance": Bad("credit", {"tokens": 2**53}, INVALID, "HM004"),
    "as much as a bigint holds": Bad("credit", {"tokens": BIGINT_MAX}, INVALID, "22003"),
    "more than a bigint holds": Bad("credit", {"tokens": BIGINT_MAX + 1}, INVALID, "22000"),
    "a negative tip": Bad("tip", {"tokens": -1}, INVALID, "only_blocks_are_free"),
    "a negative block": Bad("block", {"tokens": -1}, INVALID, "tokens_in_range"),
    "as little as a bigint holds": Bad("tip", {"tokens": -BIGINT_MAX - 1}, INVALID, "22003"),
    "a tip of nothing": Bad("tip", {"tokens": 0}, INVALID, "only_blocks_are_free"),
    "a credit of nothing": Bad("credit", {"tokens": 0}, INVALID, "only_blocks_are_free"),
    "a tip to oneself": Bad("tip", {"credit": "fan"}, Code.SELF_PAYMENT, "nobody_pays_themselves"),
    "a block to oneself": Bad("block", {"credit": "fan"}, Code.SELF_PAYMENT, "nobody_pays_themselves"),
    "block 0": Bad("block", {"block_no": 0}, INVALID, "blocks_are_numbered"),
    "a negative block number": Bad("block", {"block_no": -1}, INVALID, "blocks_are_numbered"),
    "a block without a number": Bad("block", {"block_no": None}, INVALID, "blocks_are_numbered"),
    "a block without a room": Bad("block", {"room_id": None, "epoch": 0}, INVALID, "blocks_are_numbered", "HM003"),
    "a tip with a number": Bad("tip", {"block_no": 1}, INVALID, "blocks_are_numbered", "HM003"),
}


class Scene(NamedTuple):
    ledgers: LedgerPair
    fan: UserId
    creator: UserId
    room: RoomId
    sent: list[str]  # the arguments of every batch that went out

    def make(self, base: str, **changes: Any) -> Posting:
        """Return a valid posting with a change."""
        sound = {
            "tip": tip(self.fan, self.creator, 1),
            "credit": credit(self.fan, 1),
            "block": block(self.room, self.fan, self.creator, 1),
        }
        resolved = {name: self.fan if value == "fan" else value for name, value in changes.items()}
        return msgspec.structs.replace(sound[base], **resolved)

    async def post_between(self, *middle: Posting) -> list[Outcome]:
        """Return the outcomes of these postings between two valid ones, which must be booked."""
        batch = [self.make("tip"), *middle, self.make("tip")]
        outcomes = [receipt.outcome for receipt in await self.ledgers.actor.post(batch)]
        assert [outcomes[0], outcomes[-1]] == [Outcome.COMMITTED] * 2
        assert [finding.sentence async for finding in audit(self.ledgers.postgres) if finding.rows] == []
        return outcomes[1:-1]


@pytest.fixture
async def scene(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        scene = Scene(ledgers, fan, creator, await ledgers.add_room(fan, creator), [])
        fetchrow = LoneConnection.fetchrow

        async def spied(connection: LoneConnection, sql: str, *args: Any) -> Row | None:
            scene.sent.append(repr(args))
            return await fetchrow(connection, sql, *args)

        monkeypatch.setattr(LoneConnection, "fetchrow", spied)
        yield scene


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_it_is_refused_by_name_and_never_sent_and_its_neighbours_are_booked(scene: Scene, bad: Bad) -> None:
    posting = scene.make(bad.base, **bad.changes)
    fault = fault_of(posting)
    assert fault is not None and fault.code is bad.code
    assert fault.message
    assert await scene.post_between(posting) == [Outcome.INVALID]
    assert len(scene.sent) == 1
    assert str(UUID(bytes=posting.key)) not in scene.sent[0]
    scene.sent.clear()
    assert [receipt.outcome for receipt in await scene.ledgers.actor.post([posting])] == [Outcome.INVALID]
    assert scene.sent == []


@pytest.mark.parametrize(
    "changes", [{"tokens": 2.5}, {"key": b"short"}, {"content": b"short"}, {"block_no": 2**31}], ids=repr
)
async def test_a_posting_that_cannot_be_encoded_intact_is_refused(scene: Scene, changes: dict[str, Any]) -> None:
    posting = scene.make("block", **changes)
    assert await scene.post_between(posting) == [Outcome.INVALID]
    assert len(scene.sent) == 1


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_if_it_were_sent_the_database_would_refuse_it_by_name(scene: Scene, bad: Bad, careful: bool) -> None:
    batch = [scene.make("tip"), scene.make(bad.base, **bad.changes)]
    wallets = await scene.ledgers.wallets_in_database()
    with pytest.raises(StatementRefused) as refused:
        await scene.ledgers.postgres.fetchrow(batch_statement.APPLY, *batch_statement.batch_arguments(batch, careful))
    assert (refused.value.constraint or refused.value.sqlstate) == ((careful and bad.with_care) or bad.in_database)
    assert await scene.ledgers.wallets_in_database() == wallets


@pytest.mark.parametrize(
    ("base", "changes", "outcome"),
    [
        ("tip", {"credit": NOBODY}, Outcome.INVALID),
        ("tip", {"debit": NOBODY}, Outcome.INVALID),
        ("block", {"room_id": NOWHERE, "key": block_key(NOWHERE, NOBODY, 1)}, Outcome.INVALID),
        ("tip", {"room_id": NOWHERE, "epoch": 1}, Outcome.INVALID),
        ("block", {"debit": PROMOTIONS}, Outcome.INVALID),  # it has no meter in the room
        ("tip", {"memo": "nul \u0000"}, Outcome.INVALID),
        ("tip", {"memo": "half of a pair \ud800"}, Outcome.INVALID),
        ("tip", {"memo": "x" * 1001}, Outcome.INVALID),
        ("block", {"epoch": 2**31}, Outcome.INVALID),
        ("block", {"epoch": 2}, Outcome.FENCED),
        ("block", {"block_no": 2}, Outcome.GAP),
        ("tip", {"tokens": 101}, Outcome.INSUFFICIENT),
    ],
)
async def test_a_posting_that_only_the_database_can_refuse_is_refused_alone(
    scene: Scene, base: str, changes: dict[str, Any], outcome: Outcome
) -> None:
    posting = scene.make(base, **changes)
    assert fault_of(posting) is None
    assert await scene.post_between(posting) == [outcome]
    poisoned = [receipt.posting for receipt in scene.ledgers.observer.poisoned]
    assert poisoned == ([posting] if outcome is Outcome.INVALID else [])
    assert (await scene.ledgers.wallets_in_database())[scene.creator].balance == 2


async def test_many_bad_ones_of_every_sort_harm_no_sound_one(scene: Scene) -> None:
    bad = [scene.make(each.base, **each.changes) for each in BAD.values()]
    unknown = [scene.make("tip", credit=NOBODY), scene.make("tip", room_id=NOWHERE, epoch=1)]
    sound = [scene.make("tip") for _ in range(len(bad))]
    mixed = [posting for pair in zip(bad, sound, strict=True) for posting in pair]
    expected = [Outcome.INVALID, Outcome.COMMITTED] * len(bad)
    assert await scene.post_between(*mixed, *unknown) == [*expected, Outcome.INVALID, Outcome.INVALID]


async def test_a_block_that_rounding_makes_free_is_booked(scene: Scene) -> None:
    price = BlockPrice(1, 30, "exact")
    prices = [price.tokens(n) for n in range(1, 5)]
    assert prices == [1, 0, 1, 0]
    blocks = [block(scene.room, scene.fan, scene.creator, n, tokens) for n, tokens in enumerate(prices, 1)]
    assert [fault_of(posting) for posting in blocks] == [None] * 4
    assert await scene.post_between(*blocks) == [Outcome.COMMITTED] * 4
    free = scene.make("block", block_no=5, tokens=0, key=block_key(scene.room, scene.fan, 5))
    assert await scene.post_between(free) == [Outcome.COMMITTED]
    assert (await scene.ledgers.meters_in_database())[scene.room, scene.fan].last_block == 5
