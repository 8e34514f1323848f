"""The traffic of a load run: tips and chat messages at an even rate, independent of the speed of answers.

A sender that waits for each answer would slow down together with the server and hide its delays ("coordinated
omission").
"""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from server.loadtest.measures.figures import LoadCounts
from server.loadtest.measures.plan import Plan
from server.loadtest.rooms import LoadRoom
from server.loadtest.users import ActiveMember

UNDER_WAY_MAX = 1000  # unanswered commands; beyond, further ones are counted as errors and not sent


class Traffic:
    """Sends tips and chat messages to all rooms in turn, from a different member each time.

    Owners send no tips, since nobody can pay themselves.
    """

    def __init__(self, rooms: Sequence[LoadRoom], plan: Plan, counts: LoadCounts) -> None:
        self._plan = plan
        self._counts = counts
        self._tippers = in_turn([room.fans for room in rooms])
        self._chatters = in_turn([(*room.fans, room.owner) for room in rooms])
        self._under_way = 0

    async def run(self) -> None:
        """Send for the planned time, then wait until all commands are answered or have timed out."""
        ends_at = trio.current_time() + self._plan.seconds
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                self._send_evenly, nursery, ActiveMember.tip, self._tippers, self._plan.tips_per_second, ends_at
            )
            nursery.start_soon(
                self._send_evenly, nursery, ActiveMember.chat, self._chatters, self._plan.chats_per_second, ends_at
            )
            await trio.sleep_until(ends_at)

    async def _send_evenly(
        self,
        nursery: trio.Nursery,
        send: Callable[[ActiveMember], Awaitable[None]],
        members: Iterator[ActiveMember],
        per_second: float,
        ends_at: float,
    ) -> None:
        """Send at an even rate; times are measured from the start, so that a late command never delays the next."""
        if not per_second:
            return
        started = trio.current_time()
        for number in itertools.count():
            due = started + number / per_second
            if due >= ends_at:
                return
            await trio.sleep_until(due)
            if self._under_way < UNDER_WAY_MAX:
                self._under_way += 1
                nursery.start_soon(self._send_one, send, next(members))
            else:
                self._counts.errors["not sent: too many commands are unanswered"] += 1

    async def _send_one(self, send: Callable[[ActiveMember], Awaitable[None]], member: ActiveMember) -> None:
        try:
            await send(member)
        finally:
            self._under_way -= 1


def in_turn(groups: Sequence[Sequence[ActiveMember]]) -> Iterator[ActiveMember]:
    """Yield without end: one member of each group in turn, and the members of each group in turn."""
    endless = [itertools.cycle(group) for group in groups]
    return (next(group) for group in itertools.cycle(endless))
