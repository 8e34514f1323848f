"""Which paid blocks are given back as a call or a stay in a metered stream ends (CONTRACT §5, A payee who ends)."""

from domain.billing.block import BlockPrice
from domain.instant import Duration


def blocks_given_back(price: BlockPrice, posted: int, active: Duration, payee_end: Duration) -> range:
    """The numbers of the blocks to give back in full: those of which less than `payee_end` was used.

    `posted` is the last block that was charged or is under way, `active` the payer's active time at the end. A block
    that was used up is never given back, however short blocks are. Empty if there is none. More than one block is
    found where the clock was set back behind several due times, because the payee had not been heard. With 0, as when
    the payee does not end it, only blocks that fell due while the payee was away, and of which nothing was used.
    """
    first = posted + 1
    while first > 1 and active - (first - 2) * price.block < min(payee_end, price.block):
        first -= 1
    return range(first, posted + 1)
