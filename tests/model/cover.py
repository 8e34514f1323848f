"""The sources of a refund's tokens: which parts of the payee's balance, open payouts, or nobody."""

from typing import NamedTuple

import msgspec


class Cover(NamedTuple):
    """The sources of the tokens of one refund."""

    promotional: int  # of the promotional tokens to refund, so many are covered
    other: int  # … and of the others
    of_promotional: int  # taken out of these parts of the payee's balance, and out of open payouts
    of_bought: int
    of_earned: int
    payouts: int
    rest: int  # the rest, which `losses` advances

    @property
    def tokens(self) -> int:
        return self.promotional + self.other


class Funds(msgspec.Struct):
    """The tokens of a payee that a refund can take."""

    promotional: int
    bought: int
    earned: int
    payouts: int

    def cover(self, tokens: int, promotional: int) -> Cover:
        """Split a refund by source.

        Bought and earned tokens are taken from parts that are not promotional, promotional ones from any part.
        """
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
