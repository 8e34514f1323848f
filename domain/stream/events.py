"""The events of a stream: those published to its room, and those sent to a payer or the owner."""

from collections.abc import Sequence as Listing
from typing import Any

from domain.billing.posting import Receipt
from domain.ids import MemberId, UserId
from domain.instant import Instant, rfc3339_or_none, seconds
from domain.protocol import events as m
from domain.room.effects import Effect, Publish, Send, SendToMember
from domain.room.members import Member, Sequence
from domain.stream.record import StreamFacts
from domain.stream.viewing_session import ViewingSession


class StreamEvents:
    """Builds the events of a stream; it decides nothing."""

    def __init__(self, facts: StreamFacts, epoch: int) -> None:
        self._facts = facts
        self._sequence = Sequence(facts.channel, epoch)

    def publish(self, kind: type[m.SequencedEvent], at: Instant, **fields: Any) -> Publish:
        """Build the next event of the room and return the effect that publishes it."""
        return self._sequence.publish(kind, at, **fields)

    def block_charged(
        self, viewing: ViewingSession, receipt: Receipt, tokens: int, earned: int, at: Instant
    ) -> list[Effect]:
        """Send a paid block and the new balances to its payer and the owner; other viewers do not receive it.

        `earned` is the owner's income from all blocks of the stream, in tokens.
        """
        meter = viewing.meter
        charged = m.ViewerBlockCharged(
            stream_id=self._facts.id,
            user_id=meter.payer,
            block_no=meter.committed,
            tokens=tokens,
            paid_through=rfc3339_or_none(meter.paid_through()),
            next_at=rfc3339_or_none(meter.due_at()),
        )
        if receipt.credit_after is None:
            return [Send(meter.payer, charged), Send(self._facts.owner_id, charged)]
        ref = {"streamId": str(self._facts.id), "blockNo": meter.committed}
        left = seconds(meter.left(at))
        funds = meter.funds
        spent = m.WalletChanged(balance=funds.balance, cause="block", tokens=-tokens, ref=ref, seconds_left=left)
        paid_by = {**ref, "userId": str(meter.payer)}
        gained = m.WalletChanged(balance=receipt.credit_after, cause="block", tokens=tokens, ref=paid_by, earned=earned)
        return [
            Send(meter.payer, charged),
            Send(meter.payer, spent, funds.n),
            Send(self._facts.owner_id, charged),
            Send(self._facts.owner_id, gained, receipt.credit_n or 0),
        ]

    def funds(self, viewing: ViewingSession, at: Instant) -> list[Effect]:
        """Warn a payer who cannot pay the next block, or tell them that they can pay it again."""
        events = viewing.warning.events(viewing.meter.cannot_pay_next, at)
        return [] if events is None else [Send(viewing.meter.payer, events)]

    def evict(self, user_id: UserId, reason: str) -> Send:
        """Send `access:revoked` to all sessions of a user."""
        return Send(user_id, m.AccessRevoked(channel=self._facts.channel, reason=reason))

    def evict_one(self, member_id: MemberId, reason: str) -> SendToMember:
        """Send `access:revoked` to one connection, whose user may keep others."""
        return SendToMember(member_id, m.AccessRevoked(channel=self._facts.channel, reason=reason))

    def room_joined(
        self,
        member_id: MemberId,
        role: str,
        members: Listing[Member],
        room: dict[str, Any],
        history: Listing[Any],
        viewing: ViewingSession | None,
        at: Instant,
    ) -> m.RoomJoined:
        """Build the answer to a join: the present state, and the funds of a viewer who pays."""
        you: dict[str, Any] = {"role": role}
        if viewing is not None:
            you["balance"] = viewing.meter.funds.balance
            you["secondsLeft"] = seconds(viewing.meter.left(at))
            you["paidThrough"] = rfc3339_or_none(viewing.meter.paid_through())
        return self._sequence.joined(member_id, room, members, history, you)
