"""Chat and tips of one room, and the history that is sent to members who join."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from domain.billing.payment_refusal import RESTARTING, why_not_paid
from domain.billing.posting import Outcome, Posting, Receipt
from domain.billing.tip_posting import tip_posting, tip_result
from domain.ids import MemberId, RoomId, UserId
from domain.instant import Instant, rfc3339
from domain.protocol import commands as c
from domain.protocol import events as m
from domain.refusals import Code, Refusal, too_early
from domain.room.effects import Answer, Effect, Post, Publish
from domain.room.inputs import OverlayJoined, Reply, RoomAction
from domain.room.members import Members, RoomRules
from domain.room.overlays import Overlays
from domain.room.signalling import Signals
from domain.text import clean
from domain.token_bucket import Rate, TokenBucket, TokenBuckets


class RoomRef(NamedTuple):
    """The room of the messages: its id, channel and epoch, the payee of tips, and the refusal once it has ended."""

    room_id: RoomId
    channel: str
    epoch: int
    creator_id: UserId
    ended: Refusal


class TipUnderWay(NamedTuple):
    """A tip that was sent to the ledger and has no receipt yet."""

    posting: Posting
    giver: m.Person
    reply: Reply


class ChatAndTips:
    """Checks and publishes chat messages, tips and signals, and keeps the room's recent messages.

    The caller has decided whether the sender has access to the room. Limits here are rates, sizes and mutes.
    """

    def __init__(
        self,
        room_ref: RoomRef,
        members: Members,
        publish: Callable[..., Publish],
        rules: RoomRules,
        tips: Iterable[m.HistoryTip] = (),
        muted: Iterable[UserId] = (),
        hidden: Iterable[UserId] = (),
        clock_stands: Callable[[MemberId], bool] = lambda _: False,
    ) -> None:
        """`tips` are the room's recent tips from the database, oldest first.

        `muted` users may not chat; messages of `hidden` users are not shown to new members.
        `clock_stands(member_id)` says whether a member pays by the block and their clock is stopped, see `Signals`.
        """
        self._room_ref = room_ref
        self._publish = publish
        self._rules = rules
        self._chat = TokenBucket(Rate(rules.chat_per_second, rules.chat_burst))
        self._chat_of: TokenBuckets[UserId] = TokenBuckets(Rate(rules.user_chat_per_second, rules.user_chat_burst))
        self._signals = Signals(room_ref.channel, room_ref.creator_id, members, rules, clock_stands)
        self._under_way: deque[TipUnderWay] = deque()
        self._recent: deque[m.HistoryTip | m.HistoryChat] = deque(tips, maxlen=rules.recent_events)
        self.overlays = Overlays(room_ref.channel, room_ref.epoch, room_ref.creator_id, rules)
        self.muted = set(muted)
        self.hidden = {*hidden, *self.muted}  # users whose messages are left out of the history

    @property
    def waits(self) -> bool:
        """Whether some tip has no receipt yet."""
        return bool(self._under_way)

    def recent(self) -> list[m.HistoryTip | m.HistoryChat]:
        """Return the latest tips and chat messages, oldest first, as history for a new member."""
        return list(self._recent)

    def mute(self, user_id: UserId) -> None:
        """Refuse chat of this user from now on, and remove their earlier messages from the history."""
        self.muted.add(user_id)
        self.hide(user_id)

    def hide(self, user_id: UserId) -> None:
        """Remove a user's messages from the history; their tips stay without the message."""
        self.hidden.add(user_id)
        kept = [_without_words(past) if past.from_.user_id == user_id else past for past in self._recent]
        self._recent = deque([past for past in kept if past is not None], maxlen=self._recent.maxlen)

    def show(self, user_id: UserId) -> None:
        """Keep this user's messages in the history again from now on, unless they are muted."""
        if user_id not in self.muted:
            self.hidden.discard(user_id)

    def join_overlay(self, given: OverlayJoined, refusal: Refusal | None, room: dict[str, Any]) -> list[Effect]:
        """Admit an overlay, or answer `refusal`.

        An overlay receives each tip once: in the answer, or when it is published, even if the database already has it.
        """
        if refusal is not None:
            return [Answer(given.reply, refusal)]
        recent = [past for past in self._recent if isinstance(past, m.HistoryTip)]
        return self.overlays.join(given, room, recent, {tip.posting.ref_id for tip in self._under_way})

    def take(self, action: RoomAction, refusal: Refusal | None, at: Instant) -> list[Effect]:
        """Handle chat, a tip or a signal, or answer `refusal`.

        Moderation is FORBIDDEN here: a stream handles its owner's before, and a call has none.
        """
        match action.command:
            case _ if refusal is not None:
                return [Answer(action.reply, refusal)]
            case c.TipSend():
                return self._send_tip(action, action.command)
            case c.ChatSend():
                return self._send_chat(action, clean(action.command.text), at)
            case c.SignalSend():
                return self._signals.take(action, action.command, at)
        return [Answer(action.reply, Refusal(Code.FORBIDDEN, "Only a stream's owner may do this"))]

    # Tips

    def _send_tip(self, action: RoomAction, command: c.TipSend) -> list[Effect]:
        giver = UserId(action.person.user_id)
        if giver == self._room_ref.creator_id:
            return [Answer(action.reply, Refusal(Code.SELF_PAYMENT, "Nobody can tip themselves"))]
        if len(self._under_way) >= self._rules.tips_under_way:
            return [Answer(action.reply, Refusal(Code.OVERLOADED, "Too many tips wait to be booked"))]
        posting = tip_posting(
            giver=giver,
            creator=self._room_ref.creator_id,
            command=command,
            tip_id=action.new_id,
            room_id=self._room_ref.room_id,
            epoch=self._room_ref.epoch,
        )
        self._under_way.append(TipUnderWay(posting, action.person, action.reply))
        return [Post(posting)]

    def settle(self, receipt: Receipt, at: Instant) -> list[Effect]:
        """Handle the receipt of the oldest tip under way: answer its sender, and publish the tip if it was booked now.

        A tip that was booked before under the same key is not published again.
        """
        tip = self._under_way.popleft()
        assert tip.posting.key == receipt.posting.key, "receipts come in the order of their postings"
        if receipt.paid:
            answer = Answer(
                tip.reply, tip_result(tip.posting, receipt.ref_id, receipt.debit_after, self._room_ref.channel)
            )
            return [answer] if receipt.outcome is Outcome.ALREADY else [*self._announce(tip, at), answer]
        closed = receipt.outcome is Outcome.CLOSED
        refusal = self._room_ref.ended if closed else why_not_paid(receipt, "to send the tip", at)
        return [Answer(tip.reply, refusal)]

    def abandon(self) -> list[Answer]:
        """Answer ROOM_STARTING to the senders of all tips under way; a retry with the same key returns the outcome.

        For a room that has a later owner, or whose rules failed.
        """
        under_way, self._under_way = self._under_way, deque()
        return [Answer(tip.reply, RESTARTING) for tip in under_way]

    def _announce(self, tip: TipUnderWay, at: Instant) -> list[Effect]:
        """Publish a booked tip; without its message if the sender was muted, removed or banned meanwhile."""
        silenced = UserId(tip.giver.user_id) in self.hidden
        fields: dict[str, Any] = {
            "tip_id": tip.posting.ref_id,
            "from_": tip.giver,
            "amount_tokens": tip.posting.tokens,
            "message": None if silenced else tip.posting.memo,
        }
        self._recent.append(m.HistoryTip(at=rfc3339(at), **fields))
        return [self._publish(m.TipNew, at, **fields), self.overlays.publish(m.TipNew, at, **fields)]

    # Chat

    def _send_chat(self, action: RoomAction, text: str, at: Instant) -> list[Effect]:
        refusal = self._refuse_chat(UserId(action.person.user_id), text, at)
        if refusal is not None:
            return [Answer(action.reply, refusal)]
        self._recent.append(m.HistoryChat(at=rfc3339(at), from_=action.person, text=text))
        return [self._publish(m.ChatNew, at, from_=action.person, text=text), Answer(action.reply, {})]

    def _refuse_chat(self, user_id: UserId, text: str, at: Instant) -> Refusal | None:
        if user_id in self.muted:
            return Refusal(Code.FORBIDDEN, "The owner of the room has muted you")
        if not text:
            return Refusal(Code.VALIDATION_FAILED, "text must have a visible character")
        own = self._chat_of.of(user_id, at)
        if wait := max(own.wait(1, at), self._chat.wait(1, at)):
            return too_early("Too many chat messages; wait a little", wait)
        own.spend(1, at)
        self._chat.spend(1, at)
        return None


def _without_words(past: m.HistoryTip | m.HistoryChat) -> m.HistoryTip | None:
    return msgspec.structs.replace(past, message=None) if isinstance(past, m.HistoryTip) else None
