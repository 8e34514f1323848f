"""Parts of a balance, escrow and debts in the model: only tokens that were bought can be paid out."""

from typing import Any
from uuid import UUID

from domain.billing.posting import Kind, Outcome, Posting
from domain.ids import (
    ESCROW,
    LOSSES,
    PAYOUTS,
    PROMOTIONS,
    TOKEN_SALES,
    PostingKey,
    RoomId,
    UserId,
    client_key,
)
from tests.model.ledger import Ledger
from tests.model.rows import Parts, RoomRow, Wallet

ANA, BEN, CLEO, STREAM = UserId(UUID(int=1)), UserId(UUID(int=2)), UserId(UUID(int=3)), RoomId(UUID(int=9))
USERS = (ANA, BEN, CLEO)


class Accounts:
    """A model with three users and a stream of Ben."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        for wallet_id in (TOKEN_SALES, PROMOTIONS, PAYOUTS, LOSSES, ESCROW):
            self.ledger.wallets[wallet_id] = Wallet(is_system=True)
        for user_id in USERS:
            self.ledger.wallets[user_id] = Wallet()
        self.ledger.rooms[STREAM] = RoomRow(creator=BEN)

    def book(self, kind: Kind, debit: UserId, credit: UserId, tokens: int, **more: Any) -> PostingKey:
        key = client_key(debit, str(len(self.ledger.journal)))
        posting = Posting(key=key, kind=kind, debit=debit, credit=credit, tokens=tokens, **more)
        outcome = self.ledger.apply([posting])[0].outcome
        assert outcome is Outcome.COMMITTED, outcome
        return key

    def buy(self, user_id: UserId, tokens: int) -> None:
        self.book(Kind.PURCHASE, TOKEN_SALES, user_id, tokens)

    def give(self, user_id: UserId, tokens: int) -> None:
        self.book(Kind.CREDIT, PROMOTIONS, user_id, tokens)

    def tip(self, giver: UserId, taker: UserId, tokens: int) -> PostingKey:
        return self.book(Kind.TIP, giver, taker, tokens)

    def ticket(self, buyer: UserId, tokens: int) -> PostingKey:
        return self.book(Kind.TICKET, buyer, ESCROW, tokens, room_id=STREAM, ref_id=UUID(int=7))

    def cash_out(self, user_id: UserId, tokens: int) -> Outcome:
        key = client_key(user_id, str(len(self.ledger.journal)))
        wanted = Posting(key=key, kind=Kind.PAYOUT, debit=user_id, credit=PAYOUTS, tokens=tokens)
        return self.ledger.apply([wanted])[0].outcome

    def parts(self, user_id: UserId) -> tuple[int, Parts]:
        wallet = self.ledger.wallets[user_id]
        return wallet.balance, Parts(wallet.promotional, wallet.earned)


def test_promotional_tokens_go_first_and_earned_ones_last() -> None:
    accounts = Accounts()
    accounts.buy(CLEO, 30)
    accounts.tip(CLEO, ANA, 30)
    accounts.buy(ANA, 20)
    accounts.give(ANA, 10)
    assert accounts.parts(ANA) == (60, Parts(10, 30))
    accounts.tip(ANA, BEN, 15)
    assert (accounts.parts(ANA), accounts.parts(BEN)) == ((45, Parts(0, 30)), (15, Parts(10, 5)))
    accounts.tip(ANA, BEN, 25)
    assert (accounts.parts(ANA), accounts.parts(BEN)) == ((20, Parts(0, 20)), (40, Parts(10, 30)))


def test_only_earned_tokens_are_cashed_out() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 30)
    accounts.give(ANA, 50)
    accounts.tip(ANA, BEN, 60)
    assert accounts.cash_out(BEN, 11) is Outcome.INSUFFICIENT
    assert accounts.cash_out(BEN, 10) is Outcome.COMMITTED
    assert accounts.cash_out(ANA, 1) is Outcome.INSUFFICIENT


def test_a_refund_restores_the_parts_as_they_were() -> None:
    accounts = Accounts()
    accounts.buy(CLEO, 5)
    accounts.tip(CLEO, ANA, 5)
    accounts.buy(ANA, 10)
    accounts.give(ANA, 10)
    before = accounts.parts(ANA)
    paid = accounts.tip(ANA, BEN, 25)
    accounts.ledger.refund([paid])
    assert (accounts.parts(ANA), accounts.parts(BEN)) == (before, (0, Parts()))


def test_promotional_tokens_do_not_pay_back_what_was_bought() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 10)
    paid = accounts.tip(ANA, BEN, 10)
    assert accounts.cash_out(BEN, 10) is Outcome.COMMITTED
    accounts.give(BEN, 10)
    accounts.ledger.payouts.clear()  # it was paid
    accounts.ledger.refund([paid])
    assert (accounts.parts(ANA), accounts.parts(BEN)) == ((10, Parts()), (10, Parts(10, 0)))
    assert (accounts.ledger.wallets[BEN].owed, accounts.ledger.wallets[LOSSES].balance) == (10, -10)


def test_an_open_payout_is_reduced_before_anything_is_advanced() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 30)
    paid = accounts.tip(ANA, BEN, 20)
    accounts.tip(ANA, BEN, 10)
    assert accounts.cash_out(BEN, 25) is Outcome.COMMITTED
    accounts.ledger.refund([paid])
    assert list(accounts.ledger.payouts.values()) == [10]
    assert (accounts.parts(ANA), accounts.parts(BEN)) == ((20, Parts()), (0, Parts()))
    assert accounts.ledger.wallets[LOSSES].balance == 0


def test_a_debt_is_repaid_by_what_is_earned_next_and_only_by_that() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 40)
    paid = accounts.tip(ANA, BEN, 20)
    accounts.tip(BEN, CLEO, 20)
    accounts.ledger.refund([paid])
    assert accounts.ledger.wallets[BEN].owed == 20
    accounts.buy(BEN, 5)
    accounts.give(CLEO, 7)
    accounts.tip(CLEO, BEN, 7)
    assert (accounts.ledger.wallets[BEN].owed, accounts.parts(BEN)) == (20, (12, Parts(7, 0)))
    accounts.tip(ANA, BEN, 15)
    assert (accounts.ledger.wallets[BEN].owed, accounts.parts(BEN)) == (5, (12, Parts(7, 0)))
    accounts.tip(ANA, BEN, 15)
    assert (accounts.ledger.wallets[BEN].owed, accounts.parts(BEN)) == (0, (22, Parts(7, 10)))
    assert accounts.ledger.wallets[LOSSES].balance == 0


def test_a_ticket_is_its_buyers_until_it_is_released() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 10)
    paid = accounts.ticket(ANA, 10)
    assert (accounts.parts(BEN), accounts.ledger.wallets[ESCROW].balance) == ((0, Parts()), 10)
    accounts.ledger.refund([paid], advance=False)
    assert (accounts.parts(ANA), accounts.ledger.wallets[ESCROW].balance) == ((10, Parts()), 0)
    accounts.give(CLEO, 4)
    accounts.buy(CLEO, 6)
    accounts.ticket(CLEO, 10)
    accounts.ledger.release(STREAM)
    assert (accounts.parts(BEN), accounts.ledger.wallets[ESCROW].balance) == ((10, Parts(4, 6)), 0)
    accounts.ticket(ANA, 10)
    assert (accounts.parts(BEN), accounts.ledger.wallets[ESCROW].balance) == ((20, Parts(4, 16)), 0)


def test_a_payment_that_its_payee_cannot_cover_is_not_refunded() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 10)
    paid = accounts.ticket(ANA, 10)
    accounts.ledger.release(STREAM)
    accounts.tip(BEN, CLEO, 1)
    assert accounts.ledger.refund([paid], advance=False) == []
    assert (accounts.parts(ANA), accounts.parts(BEN)) == ((0, Parts()), (9, Parts(0, 9)))


def test_nothing_is_advanced_beyond_the_limit_of_a_day() -> None:
    accounts = Accounts()
    accounts.buy(ANA, 20)
    paid = [accounts.tip(ANA, BEN, 10), accounts.tip(ANA, BEN, 10)]
    accounts.tip(BEN, CLEO, 20)
    assert accounts.ledger.refund(paid, most_advanced=19) == []
    assert len(accounts.ledger.refund(paid[:1], most_advanced=19)) == 1
    assert len(accounts.ledger.refund(paid, most_advanced=19)) == 1, "the first was given back, the other waits"
    assert len(accounts.ledger.refund(paid, most_advanced=None)) == 2
