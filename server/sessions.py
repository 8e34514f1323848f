"""Who is connected: by connection, and by user."""

from typing import Protocol

import msgspec

from domain.ids import MemberId, UserId
from server.fanout import Outlet, send_to_all


class Session(Outlet, Protocol):
    """A user's open connection."""

    id: MemberId
    user_id: UserId
    unheard: bool

    @property
    def heard_at(self) -> float: ...

    def check(self, now: float) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    async def wait_closed(self) -> None: ...


class Sessions:
    """The open sessions of this server."""

    def __init__(self) -> None:
        self.connections: dict[MemberId, Session] = {}
        self._by_user: dict[UserId, list[Session]] = {}

    def add(self, connection: Session) -> None:
        self.connections[connection.id] = connection
        self._by_user.setdefault(connection.user_id, []).append(connection)

    def remove(self, connection: Session) -> None:
        """Idempotent."""
        if self.connections.pop(connection.id, None) is None:
            return
        of_user = self._by_user[connection.user_id]
        of_user.remove(connection)
        if not of_user:
            del self._by_user[connection.user_id]

    def online(self, user_id: UserId) -> bool:
        return user_id in self._by_user

    def count(self, user_id: UserId) -> int:
        return len(self._by_user.get(user_id, ()))

    def tell(self, user_id: UserId, event: msgspec.Struct) -> None:
        """To all sessions of one user."""
        if connections := self._by_user.get(user_id):
            send_to_all(list(connections), event)

    async def say_goodbye(self, code: int, reason: str) -> None:
        """Close every connection, and wait until the clients have gone or are given up."""
        leaving = list(self.connections.values())
        for connection in leaving:
            connection.close(code, reason)
        for connection in leaving:
            await connection.wait_closed()
