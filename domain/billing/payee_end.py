"""Which blocks are refunded when a call or a viewing session ends (contract.md, A payee who ends)."""

from domain.billing.block import BlockPrice
from domain.instant import Duration


def blocks_given_back(price: BlockPrice, posted: int, active: Duration, payee_end: Duration) -> range:
    """Return the numbers of the blocks to refund in full: those of which less than `payee_end` was used.

    `posted` is the last block that was charged or is under way, `active` the payer's active time at the end.
    A block that was used up is never refunded, however short blocks are. The range is empty if there is none.
    It has more than one block if the clock was set back behind several due times, because the payee was absent.
    With a `payee_end` of 0, as when the payee does not end it, it has only the blocks that fell due while the payee was
    absent, of which nothing was used.
    """
    first = posted + 1
    while first > 1 and active - (first - 2) * price.block < min(payee_end, price.block):
        first -= 1
    return range(first, posted + 1)
