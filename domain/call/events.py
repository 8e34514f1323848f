"""What the parties of a call are told: events to the room, and private news to each."""

from typing import Any

from domain.billing.funds_warning import FundsWarning
from domain.billing.meter import Meter
from domain.billing.posting import Receipt
from domain.call.parties import Role
from domain.call.record import CallFacts
from domain.ids import MemberId, UserId
from domain.instant import Duration, Instant, rfc3339, seconds
from domain.protocol import events as m
from domain.room.effects import Effect, Publish, Send
from domain.room.members import Member, Sequence

_OF_RINGING = {"declined": m.CallDeclined, "missed": m.CallMissed, "cancelled": m.CallCancelled}


class CallEvents:
    """Puts the state of a call into words; it decides nothing but what was told already."""

    def __init__(self, facts: CallFacts, meter: Meter) -> None:
        self._facts = facts
        self._meter = meter
        self._sequence = Sequence(facts.channel, meter.epoch)
        self._start_published = meter.committed > 0  # waits until the first block is paid
        self._warning = FundsWarning(facts.channel, meter, facts.max_tokens)
        self._parties = (UserId(facts.fan.user_id), UserId(facts.creator.user_id))

    def publish(self, kind: type[m.SequencedEvent], at: Instant, **fields: Any) -> Publish:
        """The next event of the room."""
        return self._sequence.publish(kind, at, **fields)

    def ringing(self) -> list[Send]:
        """The invitation, to all sessions of both parties."""
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

    def invitation(self, kind: type[m.Invitation]) -> list[Effect]:
        """What became of the ringing, to all sessions of both parties."""
        event = kind(call_id=self._facts.id, channel=self._facts.channel)
        return [Send(user_id, event) for user_id in self._parties]

    def state(self, kind: type[m.CallStateChanged], holds: list[str], at: Instant) -> list[Effect]:
        """The call stands, or goes on; before its start was told there is nothing to tell."""
        return [self._state(kind, holds, at)] if self._start_published else []

    def block_charged(self, receipt: Receipt, tokens: int, holds: list[str], at: Instant) -> list[Effect]:
        """A block is paid: to the room, and to each wallet's owner. With the first one the call has started."""
        started = [] if self._start_published else [self._state(m.CallStarted, holds, at)]
        self._start_published = True
        charged = self.publish(
            m.BlockCharged,
            at,
            call_id=self._facts.id,
            block_no=self._meter.committed,
            tokens=tokens,
            paid_through=_when(self._meter.paid_through()),
            next_at=_when(self._meter.due_at()),
        )
        return [*started, charged, *self._wallets_changed(receipt, tokens, at)]

    def _state(self, kind: type[m.CallStateChanged], holds: list[str], at: Instant) -> Publish:
        paid_through = _when(self._meter.paid_through())
        return self.publish(kind, at, call_id=self._facts.id, holds=holds, paid_through=paid_through)

    def _wallets_changed(self, receipt: Receipt, tokens: int, at: Instant) -> list[Effect]:
        if receipt.credit_after is None:
            return []
        ref = {"callId": str(self._facts.id), "blockNo": self._meter.committed}
        left = seconds(self._meter.left(at, self._facts.max_tokens))
        paid = self._meter.paid
        funds = self._meter.funds  # later news may have come before this receipt
        spent = m.WalletChanged(balance=funds.balance, cause="block", tokens=-tokens, ref=ref, seconds_left=left)
        earned = m.WalletChanged(
            balance=receipt.credit_after,
            cause="block",
            tokens=tokens,
            ref=ref,
            earned=paid.tokens - paid.refunded_tokens,
        )
        fan, creator = self._parties
        return [Send(fan, spent, funds.n), Send(creator, earned, receipt.credit_n or 0)]

    def repeat_warning(self) -> None:
        """A device of the fan joined that has not heard the warning, if one stands."""
        self._warning.repeat()

    def funds(self, low: bool, at: Instant) -> list[Effect]:
        """Warn the fan who cannot pay the next block."""
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
        """The present state, to a connection that joins; how long the fan's money lasts is the fan's to know."""
        you: dict[str, Any] = {"role": role, "paidThrough": room["paidThrough"]}
        if role is Role.FAN:
            you["balance"] = self._meter.funds.balance
            you["secondsLeft"] = seconds(self._meter.left(at, self._facts.max_tokens))
        return m.RoomJoined(
            channel=self._facts.channel,
            room=room,
            member_id=member_id,
            members=members,
            history=history,
            epoch=self._sequence.epoch,
            seq=self._sequence.last,
            you=you,
            ice_servers=[],
        )

    def ended(self, reason: str, active: Duration, members: list[Member], at: Instant) -> list[Effect]:
        """The last event of the room; sessions of the parties that are no members of it are told as well."""
        paid = self._meter.paid
        ended = self.publish(
            m.CallEnded,
            at,
            call_id=self._facts.id,
            reason=reason,
            blocks=paid.blocks,
            tokens=paid.tokens - paid.refunded_tokens,
            active_seconds=seconds(active),
        )
        assert isinstance(ended.event, m.CallEnded)
        events = _OF_RINGING.get(reason)
        return [*(self.invitation(events) if events else self._send_outside(ended.event, members)), ended]

    def _send_outside(self, ended: m.CallEnded, members: list[Member]) -> list[Effect]:
        outside, inside = ended_outside(ended), frozenset(member.member_id for member in members)
        return [Send(user_id, outside, but=inside) for user_id in self._parties]

    def swept(self, end_reason: str | None, metered: int) -> dict[str, Any]:
        """This call's line in the answer of the billing sweep (CONTRACT §6)."""
        line: dict[str, Any] = {"callId": str(self._facts.id), "success": True, "metered": metered, "platformFee": 0}
        if end_reason is not None:
            line |= {"success": end_reason != "insufficient_funds", "reason": end_reason, "callEnded": True}
        elif metered:
            cost = self._meter.price.tokens(self._meter.committed)
            line |= {"blockCost": cost, "creatorCut": cost}
        return line


def ended_outside(ended: m.CallEnded) -> m.CallEndedOutside:
    """The end of a call, to sessions that are not in its room."""
    return m.CallEndedOutside(
        call_id=ended.call_id,
        channel=ended.channel,
        reason=ended.reason,
        blocks=ended.blocks,
        tokens=ended.tokens,
        active_seconds=ended.active_seconds,
    )


def _when(at: Instant | None) -> str | None:
    return None if at is None else rfc3339(at)
