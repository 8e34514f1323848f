"""What the people in a room say and give to each other: chat and tips; what passes between two is in signals.py."""

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
    """Where the talk is: which room, under which epoch, whom tips are for, and what is said once it is over."""

    room_id: RoomId
    channel: str
    epoch: int
    creator_id: UserId
    ended: Refusal


class TipUnderWay(NamedTuple):
    """A tip that was sent to the books and has no receipt yet."""

    posting: Posting
    giver: m.Person
    reply: Reply


class ChatAndTips:
    """Who may be in the room is decided elsewhere; who is, may talk here, within its limits."""

    def __init__(
        self,
        room_ref: RoomRef,
        members: Members,
        publish: Callable[..., Publish],
        rules: RoomRules,
        tips: Iterable[m.PastTip] = (),
        muted: Iterable[UserId] = (),
        hidden: Iterable[UserId] = (),
        clock_stands: Callable[[MemberId], bool] = lambda _: False,
    ) -> None:
        self._place = room_ref
        self._publish = publish
        self._rules = rules
        self._chat = TokenBucket(Rate(rules.chat_per_second, rules.chat_burst))
        self._chat_of: TokenBuckets[UserId] = TokenBuckets(Rate(rules.user_chat_per_second, rules.user_chat_burst))
        self._signals = Signals(room_ref.channel, room_ref.creator_id, members, rules, clock_stands)
        self._under_way: deque[TipUnderWay] = deque()
        self._recent: deque[m.PastTip | m.PastChat] = deque(tips, maxlen=rules.recent_events)
        self.overlays = Overlays(room_ref.channel, room_ref.epoch, room_ref.creator_id, rules)
        self.muted = set(muted)
        self.hidden = {*hidden, *self.muted}  # whose words newcomers are not shown

    @property
    def waits(self) -> bool:
        """Some tip has no receipt yet."""
        return bool(self._under_way)

    def recent(self) -> list[m.PastTip | m.PastChat]:
        """What was said and given lately, oldest first."""
        return list(self._recent)

    def mute(self, user_id: UserId) -> None:
        """The user says nothing more here, and nobody who comes later is shown what they wrote before."""
        self.muted.add(user_id)
        self.hide(user_id)

    def hide(self, user_id: UserId) -> None:
        """Take what a user wrote out of what newcomers are shown; their tips stay, without words."""
        self.hidden.add(user_id)
        kept = [_without_words(past) if past.from_.user_id == user_id else past for past in self._recent]
        self._recent = deque([past for past in kept if past is not None], maxlen=self._recent.maxlen)

    def show(self, user_id: UserId) -> None:
        """From here on, what this user writes is shown again, unless they are muted."""
        if user_id not in self.muted:
            self.hidden.discard(user_id)

    def join_overlay(self, given: OverlayJoined, refusal: Refusal | None, room: dict[str, Any]) -> list[Effect]:
        """An overlay hears of each tip once: now, or when the room does, even if the books were quicker."""
        if refusal is not None:
            return [Answer(given.reply, refusal)]
        recent = [past for past in self._recent if isinstance(past, m.PastTip)]
        return self.overlays.join(given, room, recent, {tip.posting.ref_id for tip in self._under_way})

    def take(self, said: RoomAction, refusal: Refusal | None, at: Instant) -> list[Effect]:
        """Chat, a tip or a signal, unless it is refused; what else there is, a room without an owner refuses."""
        match said.command:
            case _ if refusal is not None:
                return [Answer(said.reply, refusal)]
            case c.TipSend():
                return self._offer(said, said.command)
            case c.ChatSend():
                return self._say(said, clean(said.command.text), at)
            case c.SignalSend():
                return self._signals.take(said, said.command, at)
        return [Answer(said.reply, Refusal(Code.FORBIDDEN, "Only a stream's owner may do this"))]

    # Tips

    def _offer(self, said: RoomAction, command: c.TipSend) -> list[Effect]:
        giver = UserId(said.person.user_id)
        if giver == self._place.creator_id:
            return [Answer(said.reply, Refusal(Code.SELF_PAYMENT, "Nobody can tip themselves"))]
        if len(self._under_way) >= self._rules.tips_under_way:
            return [Answer(said.reply, Refusal(Code.OVERLOADED, "Too many tips wait for the books"))]
        posting = tip_posting(
            giver=giver,
            creator=self._place.creator_id,
            command=command,
            tip_id=said.new_id,
            room_id=self._place.room_id,
            epoch=self._place.epoch,
        )
        self._under_way.append(TipUnderWay(posting, said.person, said.reply))
        return [Post(posting)]

    def settle(self, receipt: Receipt, at: Instant) -> list[Effect]:
        """The receipt of the oldest tip under way: the room hears of it once the books have it, and only once."""
        tip = self._under_way.popleft()
        assert tip.posting.key == receipt.posting.key, "receipts come in the order of their postings"
        if receipt.paid:
            answer = Answer(
                tip.reply, tip_result(tip.posting, receipt.ref_id, receipt.debit_after, self._place.channel)
            )
            return [answer] if receipt.outcome is Outcome.ALREADY else [*self._announce(tip, at), answer]
        closed = receipt.outcome is Outcome.CLOSED
        refusal = self._place.ended if closed else why_not_paid(receipt, "to send the tip", at)
        return [Answer(tip.reply, refusal)]

    def abandon(self) -> list[Answer]:
        """The room is lost, or its rules are broken: of the tips under way, only their keys can tell what came."""
        under_way, self._under_way = self._under_way, deque()
        return [Answer(tip.reply, RESTARTING) for tip in under_way]

    def _announce(self, tip: TipUnderWay, at: Instant) -> list[Effect]:
        """A user who was muted, removed or banned meanwhile has given tokens, and says nothing."""
        silenced = UserId(tip.giver.user_id) in self.hidden
        fields: dict[str, Any] = {
            "tip_id": tip.posting.ref_id,
            "from_": tip.giver,
            "amount_tokens": tip.posting.tokens,
            "message": None if silenced else tip.posting.memo,
        }
        self._recent.append(m.PastTip(at=rfc3339(at), **fields))
        return [self._publish(m.TipNew, at, **fields), self.overlays.publish(m.TipNew, at, **fields)]

    # Chat

    def _say(self, said: RoomAction, text: str, at: Instant) -> list[Effect]:
        refusal = self._why_silent(UserId(said.person.user_id), text, at)
        if refusal is not None:
            return [Answer(said.reply, refusal)]
        self._recent.append(m.PastChat(at=rfc3339(at), from_=said.person, text=text))
        return [self._publish(m.ChatNew, at, from_=said.person, text=text), Answer(said.reply, {})]

    def _why_silent(self, user_id: UserId, text: str, at: Instant) -> Refusal | None:
        if user_id in self.muted:
            return Refusal(Code.FORBIDDEN, "The owner of the room has muted you")
        if not text:
            return Refusal(Code.VALIDATION_FAILED, "text must have a visible character")
        own = self._chat_of.of(user_id, at)
        if wait := max(own.wait(1, at), self._chat.wait(1, at)):
            return too_early("Too much is said here; wait a little", wait)
        own.spend(1, at)
        self._chat.spend(1, at)
        return None


def _without_words(past: m.PastTip | m.PastChat) -> m.PastTip | None:
    return msgspec.structs.replace(past, message=None) if isinstance(past, m.PastTip) else None
