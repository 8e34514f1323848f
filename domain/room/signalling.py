"""Signals between two connections of a room: opaque to the server, and within budgets of their senders."""

from collections.abc import Callable

import msgspec

from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.protocol import events as m
from domain.protocol.commands import SignalSend
from domain.refusals import Code, Refusal, too_early
from domain.room.effects import Answer, Effect, SendToMember
from domain.room.inputs import RoomAction
from domain.room.members import Members, RoomRules
from domain.token_bucket import Rate, TokenBucket, TokenBuckets

MAX_SIGNAL_BYTES = 16_384  # as JSON: an SDP has a few thousand

NOT_A_MEMBER = Refusal(Code.FORBIDDEN, "Only members pass signals on")
NOT_PRESENT = Refusal(Code.NOT_PRESENT, "One of the two is not present")


class Budget:
    """How much one user may send, or receive: bytes, and messages."""

    def __init__(self, size: Rate, messages: Rate) -> None:
        self._bytes: TokenBuckets[UserId] = TokenBuckets(size)
        self._messages: TokenBuckets[UserId] = TokenBuckets(messages)

    def of(self, user_id: UserId, at: Instant) -> tuple[TokenBucket, TokenBucket]:
        return self._bytes.of(user_id, at), self._messages.of(user_id, at)


class Signals:
    """Signals pass between the room's creator and somebody else: the media they are about do so, too.

    A member's budgets are those of all their connections together. The creator's are larger, since many negotiate with
    the creator at once, and the creator's budget for receiving is what keeps their queue short.
    """

    def __init__(
        self,
        channel: str,
        creator_id: UserId,
        members: Members,
        rules: RoomRules,
        clock_stands: Callable[[MemberId], bool],
    ) -> None:
        """`clock_stands`: whether a member pays by the block here, and does not do so now."""
        self._channel, self._creator_id, self._members = channel, creator_id, members
        self._clock_stands = clock_stands
        size = Rate(rules.signal_bytes_per_second, rules.signal_bytes_burst)
        messages = Rate(rules.signals_per_second, rules.signals_burst)
        share = rules.creator_signal_share
        self._sent, self._received = Budget(size, messages), Budget(size, messages)
        self._creator_sent, self._creator_received = (
            Budget(_times(share, size), _times(share, messages)),
            Budget(_times(share, size), _times(share, messages)),
        )

    def take(self, said: RoomAction, command: SignalSend, at: Instant) -> list[Effect]:
        if said.member_id is None:
            return [Answer(said.reply, NOT_A_MEMBER)]
        if (refusal := self._refuse(said, said.member_id, command, at)) is not None:
            return [Answer(said.reply, refusal)]
        passed_on = m.SignalNew(channel=self._channel, from_=said.member_id, data=command.data)
        return [SendToMember(MemberId(command.to), passed_on), Answer(said.reply, {})]

    def _refuse(self, said: RoomAction, member_id: MemberId, command: SignalSend, at: Instant) -> Refusal | None:
        receiver, sender_id = self._members.find(MemberId(command.to)), UserId(said.person.user_id)
        if receiver is None:
            return Refusal(Code.NOT_FOUND, "No such member")
        if (receiver.user_id == self._creator_id) is (sender_id == self._creator_id):
            return Refusal(Code.FORBIDDEN, "Signals pass between the creator and another member")
        both = (member_id, receiver.member_id)
        if any(map(self._members.is_silent, both)) or any(map(self._clock_stands, both)):
            return NOT_PRESENT
        try:
            size = len(msgspec.json.encode(command.data))
        except (TypeError, ValueError):
            return Refusal(Code.VALIDATION_FAILED, "data cannot be written as JSON")
        if size > MAX_SIGNAL_BYTES:
            return Refusal(Code.VALIDATION_FAILED, f"data has more than {MAX_SIGNAL_BYTES} bytes")
        return self._charge(sender_id, receiver.user_id, size, at)

    def _charge(self, sender_id: UserId, receiver_id: UserId, size: int, at: Instant) -> Refusal | None:
        """Spend what the signal costs of both budgets, or of none."""
        sent = self._creator_sent if sender_id == self._creator_id else self._sent
        received = self._creator_received if receiver_id == self._creator_id else self._received
        costs: list[tuple[TokenBucket, int]] = []
        for allowance_of_bytes, allowance_of_messages in (sent.of(sender_id, at), received.of(receiver_id, at)):
            costs += [(allowance_of_bytes, size), (allowance_of_messages, 1)]
        if wait := max(allowance.wait(units, at) for allowance, units in costs):
            return too_early("Too many signals; send them again a little later", wait)
        for allowance, units in costs:
            allowance.spend(units, at)
        return None


def _times(share: int, rate: Rate) -> Rate:
    return Rate(share * rate.per_second, share * rate.burst)
