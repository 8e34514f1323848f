"""Signalling: WebRTC messages between two connections of a room, limited by budgets of both users."""

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
    """How many bytes and messages each user may send, or receive."""

    def __init__(self, size: Rate, messages: Rate) -> None:
        self._bytes: TokenBuckets[UserId] = TokenBuckets(size)
        self._messages: TokenBuckets[UserId] = TokenBuckets(messages)

    def of(self, user_id: UserId, at: Instant) -> tuple[TokenBucket, TokenBucket]:
        """Return this user's buckets for bytes and for messages."""
        return self._bytes.of(user_id, at), self._messages.of(user_id, at)


class Signals:
    """Passes signals between the room's creator and another member; nobody else sends media to each other.

    All connections of a user share one budget. The creator's budgets are larger, since many members negotiate with the
    creator at once; the creator's budget for receiving bounds their send queue.
    """

    def __init__(
        self,
        channel: str,
        creator_id: UserId,
        members: Members,
        rules: RoomRules,
        clock_stands: Callable[[MemberId], bool],
    ) -> None:
        """`clock_stands(member_id)` says whether a member pays by the block here and their clock is stopped."""
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

    def take(self, action: RoomAction, command: SignalSend, at: Instant) -> list[Effect]:
        """Pass a signal on, or refuse it.

        FORBIDDEN unless both are members and exactly one of them is the creator; NOT_FOUND for an unknown receiver;
        NOT_PRESENT if one of them is silent or its clock is stopped; VALIDATION_FAILED for data too large or not JSON;
        RATE_LIMITED past a budget.
        """
        if action.member_id is None:
            return [Answer(action.reply, NOT_A_MEMBER)]
        if (refusal := self._refuse(action, action.member_id, command, at)) is not None:
            return [Answer(action.reply, refusal)]
        passed_on = m.SignalNew(channel=self._channel, from_=action.member_id, data=command.data)
        return [SendToMember(MemberId(command.to), passed_on), Answer(action.reply, {})]

    def _refuse(self, action: RoomAction, member_id: MemberId, command: SignalSend, at: Instant) -> Refusal | None:
        receiver, sender_id = self._members.find(MemberId(command.to)), UserId(action.person.user_id)
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
        """Spend the signal's cost of the sender's and the receiver's budget, or of neither if one is too small."""
        sent = self._creator_sent if sender_id == self._creator_id else self._sent
        received = self._creator_received if receiver_id == self._creator_id else self._received
        costs: list[tuple[TokenBucket, int]] = []
        for byte_bucket, message_bucket in (sent.of(sender_id, at), received.of(receiver_id, at)):
            costs += [(byte_bucket, size), (message_bucket, 1)]
        if wait := max(bucket.wait(units, at) for bucket, units in costs):
            return too_early("Too many signals; send them again a little later", wait)
        for bucket, units in costs:
            bucket.spend(units, at)
        return None


def _times(share: int, rate: Rate) -> Rate:
    return Rate(share * rate.per_second, share * rate.burst)
