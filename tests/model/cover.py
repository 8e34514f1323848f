"""Where the tokens of a refund come from: which parts of the payee's balance, open payouts, or nobody."""

from typing import NamedTuple

import msgspec


class Cover(NamedTuple):
    """Where the tokens of one refund come from."""

    promotional: int  # of the promotional tokens that are given back, so many are covered
    other: int  # … and of the others
    of_promotional: int  # taken out of these parts of the payee's balance, and out of open payouts
    of_bought: int
    of_earned: int
    payouts: int
    rest: int  # nobody but `losses` has them

    @property
    def tokens(self) -> int:
        return self.promotional + self.other


class Funds(msgspec.Struct):
    """What a payee can give back."""

    promotional: int
    bought: int
    earned: int
    payouts: int

    def cover(self, tokens: int, promotional: int) -> Cover:
        """Tokens that were not promotional come from what is not promotional; promotional ones from anything."""
        other = tokens - promotional
        earned = min(self.earned, other)
        bought = min(self.bought, other - earned)
        payouts = min(self.payouts, other - earned - bought)
        other_covered = earned + bought + payouts
        of_promotional = covered = min(self.promotional, promotional)
        more = min(self.bought - bought, promotional - covered)
        bought, covered = bought + more, covered + more
        more = min(self.earned - earned, promotional - covered)
        earned, covered = earned + more, covered + more
        more = min(self.payouts - payouts, promotional - covered)
        payouts, covered = payouts + more, covered + more
        return Cover(covered, other_covered, of_promotional, bought, earned, payouts, tokens - covered - other_covered)

    def take(self, cover: Cover) -> None:
        self.promotional -= cover.of_promotional
        self.bought -= cover.of_bought
        self.earned -= cover.of_earned
        self.payouts -= cover.payouts
