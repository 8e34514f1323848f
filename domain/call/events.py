"""The events of a call: those published to its room, and those sent to one party."""

from typing import Any

from domain.billing.funds_warning import FundsWarning
from domain.billing.meter import Meter
from domain.billing.posting import Receipt
from domain.call.parties import Role
from domain.call.record import CallFacts
from domain.ids import MemberId
from domain.instant import Duration, Instant, rfc3339, rfc3339_or_none, seconds
from domain.protocol import events as m
from domain.room.effects import Effect, Publish, Send
from domain.room.members import Member, Sequence

_OF_RINGING = {"declined": m.CallDeclined, "missed": m.CallMissed, "cancelled": m.CallCancelled}


class CallEvents:
    """Builds the events of a call. It decides only whether the start was published and which warnings were sent."""

    def __init__(self, facts: CallFacts, meter: Meter) -> None:
        self._facts = facts
        self._meter = meter
        self._sequence = Sequence(facts.channel, meter.epoch)
        self._start_published = meter.committed > 0  # `call:started` is published with the first paid block
        self._warning = FundsWarning(facts.channel, meter, facts.max_tokens)
        self._parties = facts.parties

    def publish(self, kind: type[m.SequencedEvent], at: Instant, **fields: Any) -> Publish:
        """Build the next event of the room and return the effect that publishes it."""
        return self._sequence.publish(kind, at, **fields)

    def ringing(self) -> list[Send]:
        """Send `call:ringing` to all sessions of both parties."""
        facts = self._facts
        invitation = m.CallRinging(
            call_id=facts.id,
            channel=facts.channel,
            fan=facts.fan,
            creator=facts.creator,
            rate_tokens_per_min=facts.price.rate_tokens_per_min,
            expires_at=rfc3339(facts.rings_until),
        )
        return [Send(user_id, invitation) for user_id in self._parties]

    def invitation(self, kind: type[m.Invitation]) -> list[Send]:
        """Send the outcome of the ringing to all sessions of both parties."""
        event = kind(call_id=self._facts.id, channel=self._facts.channel)
        return [Send(user_id, event) for user_id in self._parties]

    def state(self, kind: type[m.CallStateChanged], holds: list[str], at: Instant) -> list[Effect]:
        """Publish that the clock is stopped or runs again; nothing before the start was published."""
        return [self._state(kind, holds, at)] if self._start_published else []

    def block_charged(self, receipt: Receipt, tokens: int, holds: list[str], at: Instant) -> list[Effect]:
        """Publish a paid block, and send each party their new balance. The first block also starts the call."""
        started = [] if self._start_published else [self._state(m.CallStarted, holds, at)]
        self._start_published = True
        charged = self.publish(
            m.CallBlockCharged,
            at,
            call_id=self._facts.id,
            block_no=self._meter.committed,
            tokens=tokens,
            paid_through=rfc3339_or_none(self._meter.paid_through()),
            next_at=rfc3339_or_none(self._meter.due_at()),
        )
        return [*started, charged, *self._wallets_changed(receipt, tokens, at)]

    def _state(self, kind: type[m.CallStateChanged], holds: list[str], at: Instant) -> Publish:
        paid_through = rfc3339_or_none(self._meter.paid_through())
        return self.publish(kind, at, call_id=self._facts.id, holds=holds, paid_through=paid_through)

    def _wallets_changed(self, receipt: Receipt, tokens: int, at: Instant) -> list[Effect]:
        if receipt.credit_after is None:
            return []
        ref = {"callId": str(self._facts.id), "blockNo": self._meter.committed}
        left = seconds(self._meter.left(at, self._facts.max_tokens))
        paid = self._meter.paid
        funds = self._meter.funds  # may be newer than this receipt
        spent = m.WalletChanged(balance=funds.balance, cause="block", tokens=-tokens, ref=ref, seconds_left=left)
        earned = m.WalletChanged(
            balance=receipt.credit_after,
            cause="block",
            tokens=tokens,
            ref=ref,
            earned=paid.kept_tokens,
        )
        fan, creator = self._parties
        return [Send(fan, spent, funds.n), Send(creator, earned, receipt.credit_n or 0)]

    def repeat_warning(self) -> None:
        """Send a warning that still applies again, since a device of the fan joined that has not received it."""
        self._warning.repeat()

    def resend_funds(self) -> None:
        """Send the fan `balance:low` or `balance:ok` with the next review: a session of theirs was resumed."""
        self._warning.resend()

    def funds(self, low: bool, at: Instant) -> list[Effect]:
        """Warn the fan if the next block cannot be paid (`low`), or tell them that it can be paid again."""
        events = self._warning.events(low, at)
        return [] if events is None else [Send(self._parties[0], events)]

    def room_joined(
        self,
        member_id: MemberId,
        role: Role,
        members: list[Member],
        room: dict[str, Any],
        history: list[Any],
        at: Instant,
    ) -> m.RoomJoined:
        """Build the answer to a join: the present state. Only the fan receives their balance and remaining time."""
        you: dict[str, Any] = {"role": role, "paidThrough": room["paidThrough"]}
        if role is Role.FAN:
            you["balance"] = self._meter.funds.balance
            you["secondsLeft"] = seconds(self._meter.left(at, self._facts.max_tokens))
        return self._sequence.joined(member_id, room, members, history, you)

    def ended(self, reason: str, active: Duration, members: list[Member], at: Instant) -> list[Effect]:
        """Publish the last event of the room, and send the end to sessions of the parties that are not members."""
        paid = self._meter.paid
        ended = self.publish(
            m.CallEnded,
            at,
            call_id=self._facts.id,
            reason=reason,
            blocks=paid.blocks,
            tokens=paid.kept_tokens,
            active_seconds=seconds(active),
        )
        assert isinstance(ended.event, m.CallEnded)
        events = _OF_RINGING.get(reason)
        return [*(self.invitation(events) if events else self._send_outside(ended.event, members)), ended]

    def _send_outside(self, ended: m.CallEnded, members: list[Member]) -> list[Effect]:
        outside, inside = ended_outside(ended), frozenset(member.member_id for member in members)
        return [Send(user_id, outside, but=inside) for user_id in self._parties]

    def swept(self, end_reason: str | None, metered: int) -> dict[str, Any]:
        """Return this call's entry in the answer of the billing sweep (contract.md, The billing sweep).

        `metered` is the number of blocks booked because of the sweep; `end_reason` is set if the call has ended.
        """
        line: dict[str, Any] = {"callId": str(self._facts.id), "success": True, "metered": metered, "platformFee": 0}
        if end_reason is not None:
            line |= {"success": end_reason != "insufficient_funds", "reason": end_reason, "callEnded": True}
        elif metered:
            cost = self._meter.price.tokens(self._meter.committed)
            line |= {"blockCost": cost, "creatorCut": cost}
        return line


def ended_outside(ended: m.CallEnded) -> m.CallEndedOutside:
    """Build the event of a call's end for sessions that are not in its room."""
    return m.CallEndedOutside(
        call_id=ended.call_id,
        channel=ended.channel,
        reason=ended.reason,
        blocks=ended.blocks,
        tokens=ended.tokens,
        active_seconds=ended.active_seconds,
    )
