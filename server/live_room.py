"""A room as the rest of the server reaches it."""

import trio

from domain.call import Call
from domain.ids import RoomId, UserId
from server.clock import Clock
from server.fanout import Fanout
from server.inbox import Inbox


class LiveRoom:
    """A room as others reach it; its task may be replaced after a crash, its inbox and its members stay."""

    def __init__(
        self, room_id: RoomId, channel: str, parties: tuple[UserId, ...], clock: Clock, inbox: Inbox, fanout: Fanout
    ) -> None:
        self.id = room_id
        self.channel = channel
        self.parties = parties
        self.clock = clock
        self.inbox = inbox
        self.fanout = fanout
        self.call: Call | None = None  # its rules, for who only reads; None while it starts again
        self.settled = trio.Event()
