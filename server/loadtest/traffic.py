"""What is said in the rooms of a load run: tips and chat, each at an even pace, however slow the answers are."""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from server.loadtest.measures.figures import LoadCounts
from server.loadtest.measures.plan import Plan
from server.loadtest.rooms import LoadRoom
from server.loadtest.users import ActiveMember

UNDER_WAY_MAX = 1000  # commands without an answer: a server so far behind is not asked for more


class Traffic:
    """Tips and chat of all rooms: each room in turn, and in each of them another every time."""

    def __init__(self, rooms: Sequence[LoadRoom], plan: Plan, counts: LoadCounts) -> None:
        self._plan = plan
        self._counts = counts
        self._tippers = in_turn([room.fans for room in rooms])
        self._chatters = in_turn([(*room.fans, room.owner) for room in rooms])
        self._under_way = 0

    async def run(self) -> None:
        """For as long as is planned, and until all that was said is answered."""
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
        """Measured from the start: a late one never delays the next."""
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
                self._counts.errors["not said: too much is unanswered"] += 1

    async def _send_one(self, send: Callable[[ActiveMember], Awaitable[None]], member: ActiveMember) -> None:
        try:
            await send(member)
        finally:
            self._under_way -= 1


def in_turn(groups: Sequence[Sequence[ActiveMember]]) -> Iterator[ActiveMember]:
    """For ever one of each group, and of each group one after the other."""
    endless = [itertools.cycle(group) for group in groups]
    return (next(group) for group in itertools.cycle(endless))
