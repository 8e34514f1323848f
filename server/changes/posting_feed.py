"""Sends committed postings to the other servers, and receives theirs.

A user may be connected to any server, and a posting is committed by the one that was asked: without the feed, the
user's balance would stay as it was on the other servers, and the room in which they pay would not know of a ticket, a
refund or a new balance.

One message has all committed postings of a batch, and every server reads each of them: looking up two wallets and a
room costs less than two messages to the servers that the users are connected to.
"""

from collections.abc import Callable, Sequence

import msgspec

from domain.billing.posting import Posting, Receipt
from server.cluster.bus import Bus

SUBJECT = "postings"
RECEIPTS_MAX = 1000  # in a message, which stays well below the megabyte that NATS allows
_decode = msgspec.msgpack.Decoder(list[Receipt]).decode
_encode = msgspec.msgpack.Encoder().encode


class PostingFeed:
    """Sends receipts of committed postings to the other servers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def tell(self, committed: Sequence[Receipt]) -> None:
        """Send these receipts. Never waits and never raises; without a broker it costs nothing."""
        if not self._bus.is_connected:
            return
        for start in range(0, len(committed), RECEIPTS_MAX):
            receipts = [_without_texts(receipt) for receipt in committed[start : start + RECEIPTS_MAX]]
            self._bus.publish(SUBJECT, _encode(receipts))

    def follow(self, handle: Callable[[Sequence[Receipt]], None]) -> None:
        """Call `handle` with the receipts that another server has sent, a message at a time."""
        self._bus.subscribe(SUBJECT, lambda message: handle(_decode(message)))


def _without_texts(receipt: Receipt) -> Receipt:
    """Return the receipt without what a user wrote: nobody needs it there."""
    if receipt.posting.memo is None:
        return receipt
    posting: Posting = msgspec.structs.replace(receipt.posting, memo=None)
    return msgspec.structs.replace(receipt, posting=posting)
