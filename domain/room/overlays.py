"""Overlays: pictures over a creator's broadcast that receive tips only, in a sequence of their own."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from domain.ids import MemberId, UserId
from domain.instant import Instant, rfc3339
from domain.protocol import events as m
from domain.refusals import Code, Refusal
from domain.room.effects import Admit, Answer, Audience, Effect, Publish, Remove
from domain.room.inputs import OverlayJoined
from domain.room.members import RoomRules, Sequence


class Overlays:
    """The audience of overlays in one room. An overlay is no member; when it joins it gets the tips that it missed."""

    def __init__(self, channel: str, epoch: int, creator_id: UserId, rules: RoomRules) -> None:
        self._sequence = Sequence(channel, epoch, Audience.OVERLAYS)
        self._creator_id = creator_id
        self._limit = rules.overlays
        self._joined: set[MemberId] = set()

    def publish(self, kind: type[m.SequencedEvent], at: Instant, **fields: Any) -> Publish:
        """Build the next event for overlays and return the effect that publishes it."""
        return self._sequence.publish(kind, at, **fields)

    def join(
        self,
        given: OverlayJoined,
        room: dict[str, Any],
        recent: Iterable[m.HistoryTip],
        coming: Collection[UUID | None],
    ) -> list[Effect]:
        """Admit an overlay of the room's creator, or refuse it.

        FORBIDDEN for another creator's overlay, OVERLOADED past the limit.
        `recent` are the room's latest tips; some may be newer than the answer of the database in `given.missed`.
        `coming` are the ids of tips under way; they are left out, since they are published later.
        """
        if given.creator_id != self._creator_id:
            return [Answer(given.reply, Refusal(Code.FORBIDDEN, "Overlays are for the creator's own rooms"))]
        if given.member_id not in self._joined and len(self._joined) >= self._limit:
            return [Answer(given.reply, Refusal(Code.OVERLOADED, "Too many overlays in this room"))]
        self._joined.add(given.member_id)
        known, asked_at = {tip.tip_id for tip in given.missed}, rfc3339(given.asked_at)
        since = [tip for tip in recent if tip.at >= asked_at and tip.tip_id not in known]
        history = [*(tip for tip in given.missed if tip.tip_id not in coming), *since]
        welcome = self._sequence.joined(given.member_id, room, [], history, {"role": "overlay"})
        return [Admit(given.member_id, given.reply, welcome, Audience.OVERLAYS)]

    def leave(self, member_id: MemberId) -> list[Effect]:
        """Remove the connection if it is an overlay here."""
        if member_id not in self._joined:
            return []
        self._joined.discard(member_id)
        return [Remove(member_id, Audience.OVERLAYS)]
