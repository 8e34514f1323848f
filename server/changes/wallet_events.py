"""Sends wallet events to users and rooms after the commit of a posting, never before.

The storage actor reports each committed batch here, and the feed those of other servers. Without a broker between the
servers, a room of another server learns of a changed balance from the receipt of its next block.
"""

from collections.abc import Iterable, Sequence

from domain.billing.meter import Funds
from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import UserId
from domain.protocol.events import WalletChanged
from domain.room import inputs
from server.changes.posting_feed import PostingFeed
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom
from server.sessions.directory import Sessions


class WalletEvents:
    """Observes the storage actor. Rooms send the events of their own blocks; all others are sent from here.

    Its public methods run in the actor's task between two batches, so they must neither wait nor raise.
    """

    def __init__(
        self, metrics: Metrics, sessions: Sessions, registry: Registry, faults: Faults, feed: PostingFeed
    ) -> None:
        self._metrics = metrics
        self._feed = feed
        self._sessions = sessions
        self._registry = registry
        self._faults = faults

    def batch_committed(self, receipts: Sequence[Receipt], seconds: float) -> None:
        """Record a committed batch and send its events; `seconds` is how long the commit took.

        Exceptions are contained for each receipt, so that one posting's events cannot cost those of another. A posting
        that was committed before under the same key sends no events again.
        """
        with self._faults.contained("observer"):
            self._metrics.batch_committed(receipts, seconds)
        committed = [receipt for receipt in receipts if receipt.outcome is Outcome.COMMITTED]
        self._send_for_each(committed)
        with self._faults.contained("observer"):
            self._feed.tell(committed)

    def committed_elsewhere(self, committed: Sequence[Receipt]) -> None:
        """Send the events of postings that another server has committed to the sessions and rooms of this one."""
        self._send_for_each(committed)

    def _send_for_each(self, committed: Sequence[Receipt]) -> None:
        for receipt in committed:
            with self._faults.contained("observer"):
                self._send_for(receipt)

    def posting_poisoned(self, receipt: Receipt) -> None:
        """Count a posting that no statement could carry out."""
        with self._faults.contained("observer"):
            self._metrics.posting_poisoned()

    def _send_for(self, receipt: Receipt) -> None:
        """Send the events of one committed posting, to both wallets' owners and to the rooms concerned."""
        posting = receipt.posting
        self._wallet_moved(posting, posting.debit, receipt.debit_after, receipt.debit_n, -posting.tokens)
        self._wallet_moved(posting, posting.credit, receipt.credit_after, receipt.credit_n, posting.tokens)
        if posting.kind is Kind.TICKET or posting.kind is Kind.REFUND:
            self._ticket_changed(posting)
        if posting.kind is Kind.REFUND and posting.ref_id is None:
            self._block_refunded(posting)

    def _ticket_changed(self, posting: Posting) -> None:
        """Deliver a sold or refunded ticket to its live stream, whose access policy depends on it."""
        room = self._find_room(posting)
        if room is None or posting.ref_id is None:
            return
        if posting.kind is Kind.TICKET:
            room.inbox.deliver(inputs.TicketSold(posting.debit, posting.ref_id))
        else:
            room.inbox.deliver(inputs.TicketRefunded(posting.credit, posting.ref_id))

    def _find_room(self, posting: Posting) -> LiveRoom | None:
        """The room of a posting, if it is live on this server."""
        return None if posting.room_id is None else self._registry.find(posting.room_id)

    def _room_of(self, posting: Posting) -> dict[str, str]:
        """The live room of a posting, as the `callId` or `streamId` of a client's event; empty if there is none."""
        room = self._find_room(posting)
        return {} if room is None else {"callId" if room.parties else "streamId": str(room.id)}

    def _block_refunded(self, posting: Posting) -> None:
        """Deliver a refunded block to its live room, whose totals are net of refunds. A block has no `ref_id`."""
        room = self._find_room(posting)
        if room is not None:
            room.inbox.deliver(inputs.BlockRefunded(posting))

    def _wallet_moved(self, posting: Posting, owner: UserId, balance: int | None, n: int | None, change: int) -> None:
        """Send a new balance to the rooms that the owner pays in; and to the owner, unless the room of a block does."""
        assert balance is not None and n is not None, "a committed posting has both balances"
        for room in self._rooms_paid_by(owner):
            if not (posting.kind is Kind.BLOCK and posting.room_id == room.id):
                room.inbox.deliver(inputs.FundsChanged(owner, Funds(balance, n)))
        if posting.kind is not Kind.BLOCK:
            noun = Kind.TICKET if posting.kind is Kind.RELEASE else posting.kind
            ref = {} if posting.ref_id is None else {f"{noun.name.lower()}Id": str(posting.ref_id)}
            if posting.kind is Kind.REFUND:
                ref.update(self._room_of(posting))
            event = WalletChanged(balance=balance, cause=posting.kind.name.lower(), tokens=change, ref=ref)
            self._sessions.send_to_user(owner, event, n)

    def _rooms_paid_by(self, user_id: UserId) -> Iterable[LiveRoom]:
        """The user's call and the metered streams that they watch, whose meters depend on the user's balance."""
        call = self._registry.call_of(user_id)
        calls = () if call is None else (call,)
        if not self._registry.has_metered_streams:  # a short path, since this runs for every posting
            return calls
        return [*calls, *filter(self._registry.is_metered_stream, self._sessions.rooms_of(user_id))]
