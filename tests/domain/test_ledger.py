"""The model of the ledger: the outcome of each posting, and the reason."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.amounts import MAX_BALANCE_TOKENS, MAX_POSTING_TOKENS
from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import LOSSES, PROMOTIONS, PostingKey, RoomId, UserId
from tests.model.ledger import Ledger
from tests.model.rows import MeterRow, RoomRow, Wallet

ANA, BEN, ROOM = UserId(UUID(int=1)), UserId(UUID(int=2)), RoomId(UUID(int=3))
NOWHERE = RoomId(UUID(int=99))


def a_ledger(balance: int = 100) -> Ledger:
    ledger = Ledger()
    ledger.wallets = {PROMOTIONS: Wallet(is_system=True), ANA: Wallet(), BEN: Wallet()}
    ledger.rooms[ROOM] = RoomRow()
    ledger.meters[ROOM, ANA] = MeterRow()
    book(ledger, tip("funds", kind=Kind.CREDIT, debit=PROMOTIONS, credit=ANA, tokens=balance))
    return ledger


def tip(key: str = "tip", **changes: Any) -> Posting:
    fields: dict[str, Any] = {"kind": Kind.TIP, "debit": ANA, "credit": BEN, "tokens": 10}
    return Posting(key=PostingKey(key.encode().ljust(16)), **fields | changes)


def block(block_no: int, **changes: Any) -> Posting:
    fields: dict[str, Any] = {"kind": Kind.BLOCK, "room_id": ROOM, "epoch": 1, "block_no": block_no, "tokens": 30}
    return tip(**{"key": f"block {block_no}"} | fields | changes)


def book(ledger: Ledger, posting: Posting) -> Receipt:
    [receipt] = ledger.apply([posting])
    return receipt


def outcomes(ledger: Ledger, *postings: Posting) -> list[str]:
    return [receipt.outcome.name for receipt in ledger.apply(postings)]


def test_a_tip_moves_tokens_and_counts_in_both_wallets() -> None:
    ledger = a_ledger()
    assert book(ledger, tip()) == Receipt(tip(), Outcome.COMMITTED, 90, 10, 2, 1)
    assert ledger.wallets[ANA] == Wallet(balance=90, n=2, lifetime_spent=10, promotional=90)
    assert ledger.wallets[BEN] == Wallet(balance=10, n=1, lifetime_earned=10, promotional=10)
    assert ledger.total() == 0


def test_the_same_posting_again_is_already_booked_with_the_figures_of_the_first_time() -> None:
    ledger = a_ledger()
    first = book(ledger, tip())
    book(ledger, tip("later"))
    again = book(ledger, tip())
    assert again.outcome is Outcome.ALREADY
    assert (again.debit_after, again.credit_after, again.debit_n, again.credit_n) == (90, 10, 2, 1)
    assert first.debit_after == 90
    assert ledger.wallets[ANA].balance == 80


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": 11},
        {"kind": Kind.PURCHASE},
        {"debit": BEN, "credit": ANA},
        {"credit": PROMOTIONS},
        {"room_id": ROOM, "epoch": 1},
        {"content": b"d" * 16},
    ],
)
def test_a_key_used_for_something_else_is_a_conflict_and_says_no_balance(changes: dict[str, Any]) -> None:
    ledger = a_ledger()
    book(ledger, tip())
    assert book(ledger, tip(**changes)) == Receipt(tip(**changes), Outcome.CONFLICT)


@pytest.mark.parametrize("changes", [{"ref_id": UUID(int=7)}, {"memo": "hello"}, {"epoch": 9}])
def test_a_new_reference_memo_or_epoch_is_the_same_movement(changes: dict[str, Any]) -> None:
    ledger = a_ledger()
    book(ledger, tip(room_id=ROOM, epoch=1, content=b"c" * 16))
    replay: dict[str, Any] = {"room_id": ROOM, "epoch": 1, "content": b"c" * 16} | changes
    assert book(ledger, tip(**replay)).outcome is Outcome.ALREADY


def test_a_repeat_says_what_the_first_posting_under_its_key_was_for() -> None:
    ledger, first, later = a_ledger(), UUID(int=7), UUID(int=8)
    receipts = ledger.apply([tip(ref_id=first), tip(ref_id=later), tip(ref_id=later, tokens=11)])
    assert [receipt.ref_id for receipt in receipts] == [first, first, None]


def test_the_key_decides_before_anything_else() -> None:
    ledger = a_ledger(balance=30)
    book(ledger, block(1))
    ledger.end(ROOM)
    assert outcomes(ledger, block(1), block(1, epoch=8), block(1, tokens=5)) == ["ALREADY", "ALREADY", "CONFLICT"]


def test_a_posting_that_was_refused_leaves_its_key_free() -> None:
    ledger = a_ledger(balance=5)
    assert outcomes(ledger, tip()) == ["INSUFFICIENT"]
    book(ledger, tip("top-up", kind=Kind.CREDIT, debit=PROMOTIONS, credit=ANA))
    assert outcomes(ledger, tip()) == ["COMMITTED"]


def test_too_few_tokens_are_refused_with_what_there_is() -> None:
    ledger = a_ledger(balance=9)
    receipt = book(ledger, tip())
    assert receipt == Receipt(tip(), Outcome.INSUFFICIENT, debit_after=9, debit_n=1)
    assert ledger.wallets[BEN] == Wallet()


def test_the_last_token_may_be_spent() -> None:
    ledger = a_ledger(balance=10)
    assert outcomes(ledger, tip()) == ["COMMITTED"]
    assert ledger.wallets[ANA].balance == 0


def test_a_system_wallet_may_owe() -> None:
    assert a_ledger().wallets[PROMOTIONS].balance == -100


def test_blocks_are_booked_one_after_the_other_and_a_gap_is_refused() -> None:
    ledger = a_ledger()
    assert outcomes(ledger, block(2), block(1), block(3), block(2)) == ["GAP", "COMMITTED", "GAP", "COMMITTED"]
    assert ledger.meters[ROOM, ANA] == MeterRow(last_block=2, tokens=60)


def test_a_block_number_under_another_key_is_still_paid_only_once() -> None:
    ledger = a_ledger()
    assert outcomes(ledger, block(1), block(1, key="forged")) == ["COMMITTED", "GAP"]


def test_each_posting_of_a_batch_sees_what_those_before_it_did() -> None:
    ledger = a_ledger(balance=70)
    assert outcomes(ledger, block(1), block(2), block(3), block(4)) == [
        "COMMITTED",
        "COMMITTED",
        "INSUFFICIENT",
        "GAP",
    ]
    assert ledger.wallets[ANA].balance == 10


def test_tokens_that_arrive_in_a_batch_can_be_spent_in_it() -> None:
    ledger = a_ledger(balance=30)
    top_up = tip("top-up", kind=Kind.CREDIT, debit=PROMOTIONS, credit=ANA, tokens=30)
    assert outcomes(ledger, block(1), top_up, block(2)) == ["COMMITTED"] * 3


def test_a_claimed_room_fences_its_earlier_owner() -> None:
    ledger = a_ledger()
    assert ledger.claim(ROOM) == 2
    assert outcomes(ledger, block(1), block(1, epoch=3), block(1, epoch=2)) == ["FENCED", "FENCED", "COMMITTED"]


def test_a_tip_without_an_epoch_is_booked_but_a_block_without_one_is_fenced() -> None:
    ledger = a_ledger()
    ledger.claim(ROOM)
    assert outcomes(ledger, tip(room_id=ROOM, epoch=0), block(1, epoch=0)) == ["COMMITTED", "FENCED"]
    ledger.end(ROOM)
    assert outcomes(ledger, tip("late", room_id=ROOM)) == ["CLOSED"]


def test_an_ended_room_is_closed_to_everyone() -> None:
    ledger = a_ledger()
    ledger.end(ROOM)
    ledger.claim(ROOM)
    assert outcomes(ledger, block(1), block(1, epoch=2), tip(room_id=ROOM, epoch=2)) == ["CLOSED"] * 3
    assert outcomes(ledger, tip()) == ["COMMITTED"]


def test_an_ended_or_fenced_room_is_named_before_a_gap_and_a_gap_before_too_few_tokens() -> None:
    ledger = a_ledger(balance=1)
    assert outcomes(ledger, block(5, epoch=7), block(5), block(1)) == ["FENCED", "GAP", "INSUFFICIENT"]


def ticket(key: str = "ticket", **changes: Any) -> Posting:
    return tip(key, **{"kind": Kind.TICKET, "room_id": ROOM, "ref_id": UUID(int=7)} | changes)


def test_a_ticket_is_bought_once_whatever_could_be_paid() -> None:
    ledger = a_ledger()
    ledger.claim(ROOM)
    assert outcomes(ledger, ticket(), ticket("another"), ticket("dear", tokens=500), ticket()) == [
        "COMMITTED",
        "OWNED",
        "OWNED",
        "ALREADY",
    ]
    assert ledger.wallets[BEN].balance == 10


def test_nobody_spends_more_than_they_allow_themselves_but_what_is_no_spending_goes_on() -> None:
    ledger = a_ledger()
    book(ledger, tip())
    ledger.allow(ANA, 25)
    assert book(ledger, tip("b", tokens=16)) == Receipt(
        tip("b", tokens=16), Outcome.LIMITED, day_limit=25, day_spent=10
    )
    free, correction = block(1, tokens=0), tip("c", kind=Kind.CREDIT, credit=PROMOTIONS, tokens=50)
    assert outcomes(ledger, tip("d", tokens=15), tip("e", tokens=1), free, correction) == [
        "COMMITTED",
        "LIMITED",
        "COMMITTED",
        "COMMITTED",
    ]
    ledger.allow(ANA, None)
    assert outcomes(ledger, tip("f", tokens=1)) == ["COMMITTED"]


def test_a_refund_takes_what_its_payee_has_and_the_rest_from_losses_once() -> None:
    ledger = a_ledger()
    ledger.wallets[LOSSES] = Wallet(is_system=True)
    book(ledger, ticket(tokens=30))
    book(ledger, tip(debit=BEN, credit=ANA, tokens=20))
    ledger.end(ROOM)
    receipts = ledger.refund([ticket().key])
    assert [(receipt.posting.debit, receipt.posting.tokens) for receipt in receipts] == [(BEN, 10), (LOSSES, 20)]
    assert ledger.refund([ticket().key]) == receipts
    assert (ledger.wallets[ANA].balance, ledger.wallets[BEN].balance, ledger.total()) == (120, 0, 0)
    assert ledger.tickets == {}


def test_a_ticket_one_has_comes_before_the_limit_and_the_limit_before_too_few_tokens() -> None:
    ledger = a_ledger(balance=10)
    ledger.allow(ANA, 10)
    assert outcomes(ledger, ticket(), ticket("again"), tip()) == ["COMMITTED", "OWNED", "LIMITED"]


@pytest.mark.parametrize(
    "posting",
    [
        tip(credit=ANA),
        tip(tokens=0),
        tip(tokens=MAX_POSTING_TOKENS + 1),
        tip(credit=UserId(UUID(int=77))),
        tip(debit=UserId(UUID(int=77))),
        tip(room_id=NOWHERE),
        block(1, room_id=NOWHERE),
        block(1, debit=BEN, credit=ANA),
        block(0),
    ],
)
def test_a_posting_that_no_statement_can_book_is_invalid(posting: Posting) -> None:
    ledger = a_ledger()
    assert outcomes(ledger, posting) == ["INVALID"]
    assert ledger.wallets[ANA].balance == 100


def test_no_balance_grows_past_what_every_client_can_hold() -> None:
    ledger = a_ledger()
    ledger.wallets[BEN].balance = MAX_BALANCE_TOKENS - 10
    assert outcomes(ledger, tip(tokens=11), tip(tokens=10)) == ["INVALID", "COMMITTED"]
    ledger.wallets[PROMOTIONS].balance = -MAX_BALANCE_TOKENS
    assert outcomes(ledger, tip("more", kind=Kind.CREDIT, debit=PROMOTIONS, credit=ANA)) == ["INVALID"]


def test_a_free_block_is_booked_and_counted() -> None:
    ledger = a_ledger(balance=1)
    assert outcomes(ledger, block(1, tokens=0)) == ["COMMITTED"]
    assert ledger.meters[ROOM, ANA] == MeterRow(last_block=1, tokens=0)
    assert ledger.wallets[ANA].n == 2


some_postings = st.lists(
    st.one_of(
        st.builds(
            tip,
            st.sampled_from(["a", "b", "c", "d"]),
            debit=st.sampled_from([ANA, BEN, PROMOTIONS]),
            credit=st.sampled_from([ANA, BEN, PROMOTIONS]),
            tokens=st.integers(0, 80),
        ),
        st.builds(block, st.integers(1, 4), tokens=st.integers(0, 60), epoch=st.integers(1, 2)),
    ),
    max_size=25,
)


@given(some_postings, some_postings)
def test_the_ledger_holds_its_invariants_for_any_postings(first: list[Posting], second: list[Posting]) -> None:
    ledger = a_ledger()
    receipts = ledger.apply(first)
    ledger.claim(ROOM)
    receipts += ledger.apply(second)
    committed = [receipt for receipt in receipts if receipt.outcome is Outcome.COMMITTED]
    assert ledger.total() == 0
    assert all(wallet.balance >= 0 for wallet in ledger.wallets.values() if not wallet.is_system)
    assert len({receipt.posting.key for receipt in committed}) == len(committed)
    blocks = [receipt.posting for receipt in committed if receipt.posting.block_no is not None]
    assert [posting.block_no for posting in blocks] == list(range(1, len(blocks) + 1))
    assert ledger.meters[ROOM, ANA] == MeterRow(len(blocks), sum(posting.tokens for posting in blocks))


@given(some_postings)
def test_a_batch_comes_to_the_same_as_its_postings_one_by_one(postings: list[Posting]) -> None:
    together, singly = a_ledger(), a_ledger()
    assert together.apply(postings) == [book(singly, posting) for posting in postings]


@given(some_postings)
def test_sending_a_batch_again_moves_nothing_that_was_booked(postings: list[Posting]) -> None:
    ledger = a_ledger()
    first = ledger.apply(postings)
    for before, after in zip(first, ledger.apply(postings), strict=True):
        if before.outcome is Outcome.COMMITTED:
            assert after.outcome is Outcome.ALREADY
            assert (after.debit_n, after.credit_n) == (before.debit_n, before.credit_n)
