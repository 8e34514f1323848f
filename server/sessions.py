"""Who is connected: by connection, and by user."""

from typing import TYPE_CHECKING

import msgspec

from domain.ids import MemberId, UserId
from server.fanout import send_to_all

if TYPE_CHECKING:
    from server.websocket import Connection


class Sessions:
    """The open sessions of this server."""

    def __init__(self) -> None:
        self.connections: dict[MemberId, Connection] = {}
        self._by_user: dict[UserId, list[Connection]] = {}

    def add(self, connection: "Connection") -> None:
        self.connections[connection.id] = connection
        self._by_user.setdefault(connection.user_id, []).append(connection)

    def remove(self, connection: "Connection") -> None:
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
