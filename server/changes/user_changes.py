"""Changes of users that sessions and rooms must know of at once: names, and whom creators have blocked.

They are stored already. A server that does not hear of one, since the broker is away, uses the stored state when it
opens a room or reads a user anew.
"""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from domain.ids import UserId
from domain.protocol.events import Person
from domain.room import inputs
from server.access.user_cache import UserCache
from server.cluster.bus import Bus
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom
from server.sessions.directory import Sessions

SUBJECT = "users"


class Renamed(msgspec.Struct, frozen=True, tag=True):
    """A user has another display name."""

    person: Person


class BlockChanged(msgspec.Struct, frozen=True, tag=True):
    """A creator blocks a user, or does so no more."""

    creator_id: UserId
    user_id: UserId
    blocked: bool


Change: TypeAlias = Renamed | BlockChanged
_decode = msgspec.msgpack.Decoder(Change).decode
_encode = msgspec.msgpack.Encoder().encode


class UserChanges:
    """Applies changes of users to the sessions and rooms of this server, and tells the other servers of them."""

    def __init__(self, user_cache: UserCache, sessions: Sessions, registry: Registry, bus: Bus) -> None:
        self._user_cache = user_cache
        self._sessions = sessions
        self._registry = registry
        self._bus = bus
        bus.subscribe(SUBJECT, lambda message: self._apply(_decode(message)))

    def tell(self, change: Change) -> None:
        """Apply a change that is stored, here and on the other servers. Never waits."""
        self._apply(change)
        self._bus.publish(SUBJECT, _encode(change))

    def _apply(self, change: Change) -> None:
        match change:
            case Renamed(person):
                self._user_cache.rename(person)
                self._sessions.rename(person)
            case BlockChanged(creator_id, user_id, blocked):
                for room in self._rooms_between(creator_id, user_id):
                    room.inbox.deliver(inputs.UserBlocked(user_id, blocked))

    def _rooms_between(self, creator_id: UserId, user_id: UserId) -> Iterator[LiveRoom]:
        """The creator's live streams, and a call of the creator with this user."""
        call = self._registry.call_of(creator_id)
        if call is not None and user_id != creator_id and user_id in call.parties:
            yield call
        yield from [room for room in self._registry if room.stream is not None and room.owner_id == creator_id]
