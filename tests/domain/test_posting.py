"""Which postings are valid, and what a receipt means."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.amounts import MAX_POSTING_TOKENS
from domain.billing.posting import Kind, Outcome, Posting, Receipt, fault_of
from domain.ids import PostingKey, RoomId, UserId

PAYER, PAYEE, ROOM = UserId(UUID(int=1)), UserId(UUID(int=2)), RoomId(UUID(int=3))


def tip(**changes: Any) -> Posting:
    fields: dict[str, Any] = {"key": PostingKey(b"k" * 16), "kind": Kind.TIP, "debit": PAYER, "credit": PAYEE}
    return Posting(**fields | {"tokens": 5} | changes)


def block(**changes: Any) -> Posting:
    return tip(**{"kind": Kind.BLOCK, "room_id": ROOM, "epoch": 1, "block_no": 1} | changes)


def fault(posting: Posting) -> str | None:
    refusal = fault_of(posting)
    return refusal.code.name if refusal else None


@pytest.mark.parametrize(
    "posting", [tip(), tip(tokens=MAX_POSTING_TOKENS), tip(room_id=ROOM), block(), block(tokens=0)]
)
def test_sound_postings_have_no_fault(posting: Posting) -> None:
    assert fault_of(posting) is None


def test_nobody_pays_themselves() -> None:
    assert fault(tip(credit=PAYER)) == "SELF_PAYMENT"
    assert fault(block(credit=PAYER)) == "SELF_PAYMENT"


@pytest.mark.parametrize("tokens", [-1, MAX_POSTING_TOKENS + 1])
def test_tokens_beyond_the_limits_are_a_fault(tokens: int) -> None:
    assert fault(tip(tokens=tokens)) == fault(block(tokens=tokens)) == "VALIDATION_FAILED"


def test_only_a_block_may_move_nothing() -> None:
    assert fault(tip(tokens=0)) == "VALIDATION_FAILED"


def test_a_block_has_a_number_from_one_on_and_a_room_and_nothing_else_has_a_number() -> None:
    assert fault(block(block_no=None)) == "VALIDATION_FAILED"
    assert fault(block(block_no=0)) == "VALIDATION_FAILED"
    assert fault(block(room_id=None)) == "VALIDATION_FAILED"
    assert fault(tip(block_no=1, room_id=ROOM)) == "VALIDATION_FAILED"


def test_a_ticket_has_an_id_and_is_for_a_stream() -> None:
    sound = tip(kind=Kind.TICKET, room_id=ROOM, ref_id=UUID(int=4))
    assert fault_of(sound) is None
    for missing in ("room_id", "ref_id"):
        assert fault(msgspec.structs.replace(sound, **{missing: None})) == "VALIDATION_FAILED"


def test_a_receipt_is_paid_when_the_tokens_are_where_they_should_be() -> None:
    paid = {outcome for outcome in Outcome if Receipt(tip(), outcome).paid}
    assert paid == {Outcome.COMMITTED, Outcome.ALREADY}
