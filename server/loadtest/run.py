"""A load run from its first connection to its figures: set up, talk, end, and see that everybody heard everything."""

import gc
import itertools
from datetime import UTC, datetime

import trio

from server.loadtest.client.passive_members import NotJoined, PassiveMember, PassiveMembers
from server.loadtest.client.reconnect import NOT_CONNECTED
from server.loadtest.concurrency import each
from server.loadtest.measures.figures import LoadCounts, Result, Sample, curve, spread
from server.loadtest.measures.plan import LoadRefused, Plan, check_target
from server.loadtest.measures.stopwatch import Reading, measure_own_lateness, memory_mib, raise_file_limit, read, sample
from server.loadtest.rest import RequestRefused, RestClient
from server.loadtest.rooms import CallRoom, LoadRoom, StreamRoom, missing, positions
from server.loadtest.traffic import Traffic
from server.loadtest.users import ActiveMember, LoadUsers

PREPARED_AT_ONCE = 8  # rooms: as many as there are requests at once
CONNECTED_AT_ONCE = 32  # handshakes under way: enough to keep a server busy, too few to time out
OPENED_AT_ONCE = 32
LEAVING_AT_ONCE = 64  # each waits for the server's goodbye
RING_SECONDS_MAX = 10.0  # calls begin evenly over a block, or so long: their blocks shall not fall due all at once
SETTLE_SECONDS = 20.0  # for what is still on its way at the end: as long as an answer may take
LOOK_SECONDS = 0.05  # between two looks at whether everybody has heard everything


class LoadRun:
    """Everybody of one run. `phase`, `opened` and `counts` may be looked at meanwhile."""

    def __init__(self, plan: Plan, secret: str, rest: RestClient) -> None:
        self.plan = plan
        self.phase = "everybody connects"
        self.counts = LoadCounts()
        self.connected = 0
        self.samples: list[Sample] = []
        self._rest = rest
        self._users = LoadUsers(secret, rest)
        self._rooms: list[LoadRoom] = []
        self._open_rooms: list[LoadRoom] = []
        self._block_seconds = 0.0
        self._began_at = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def opened(self) -> int:
        """Rooms that are open, or were."""
        return len(self._open_rooms)

    async def run(self, yes_really: bool) -> Result:
        """Raises LoadRefused where there is nothing to be measured."""
        raise_file_limit()
        config = await self._rest.ask("GET", "/config")
        check_target(config["websocketUrl"], yes_really)
        self._block_seconds = config["blockSeconds"]
        async with trio.open_nursery() as nursery:
            passive_members = PassiveMembers(config["websocketUrl"], self.plan.encoding, self.counts, nursery)
            self._rooms = [self._room(number, nursery, passive_members) for number in range(self.plan.rooms)]
            nursery.start_soon(passive_members.run)
            nursery.start_soon(measure_own_lateness, self.counts)
            result = await self._carry_out(nursery)
            await each(self._active_members(), _close_client, LEAVING_AT_ONCE)
            nursery.cancel_scope.cancel()
        return result

    async def _carry_out(self, nursery: trio.Nursery) -> Result:
        connects_per_second = await self._connect_all(nursery)
        self.phase = "people get their tokens"
        await each(self._rooms, self._prepare, PREPARED_AT_ONCE)
        self.phase = "rooms open"
        await self._open_all()
        self.phase = "everybody talks"
        traffic_reading = await self._run_traffic()
        self.phase = "rooms end"
        await each(self._open_rooms, self._end, OPENED_AT_ONCE)
        await self._wait_settled()
        return self._result(connects_per_second, traffic_reading)

    # Who is there

    def _room(self, number: int, nursery: trio.Nursery, passive_members: PassiveMembers) -> LoadRoom:
        def member() -> ActiveMember:
            return ActiveMember(nursery, passive_members.url, self.plan.encoding, self._users, self.counts)

        if self.plan.kind_of(number) == "call":
            fan, creator = member(), member()
            devices = itertools.islice(itertools.cycle((fan, creator)), self.plan.members - 2)
            passive = [PassiveMember(passive_members, person.token) for person in devices]
            return CallRoom(number, self._rest, fan, creator, passive)
        fans = [member() for _ in range(self.plan.fans_in_a_stream)]
        viewers = self.plan.members - 1 - len(fans)
        passive = [PassiveMember(passive_members, self._users.new_viewer_token()) for _ in range(viewers)]
        return StreamRoom(number, self._rest, member(), fans, passive)

    async def _prepare(self, room: LoadRoom) -> None:
        try:
            await room.prepare(self._users)
        except RequestRefused as refused:
            raise LoadRefused(f"nobody can take part: {refused}{_hint(str(refused))}") from None

    async def _connect_all(self, nursery: trio.Nursery) -> float:
        """Sessions a second."""
        members = self._active_members()
        passive_members = [listener for room in self._rooms for listener in room.passive_members]
        everybody: list[ActiveMember | PassiveMember] = [*members, *passive_members]
        began = trio.current_time()
        await each(everybody, self._connect, CONNECTED_AT_ONCE)
        seconds = trio.current_time() - began
        for member in members:
            nursery.start_soon(member.keep_connected)
        return round(self.connected / seconds, 1)

    def _active_members(self) -> list[ActiveMember]:
        return [member for room in self._rooms for member in (room.owner, *room.fans)]

    async def _connect(self, member: ActiveMember | PassiveMember) -> None:
        try:
            await member.connect()
        except NOT_CONNECTED as error:
            reason = str(error) or type(error).__name__
            raise LoadRefused(f"connection {self.connected + 1:,} failed: {reason}{_hint(reason)}") from None
        self.connected += 1

    # What happens

    async def _open_all(self) -> None:
        """Calls evenly over a block, measured from the start; streams as fast as they open."""
        spread_seconds = 0 if self.plan.kind == "streams" else min(self._block_seconds, RING_SECONDS_MAX)
        started = trio.current_time()

        async def open_in_turn(numbered: tuple[int, LoadRoom]) -> None:
            number, room = numbered
            await trio.sleep_until(started + number * spread_seconds / len(self._rooms))
            await self._open(room)

        await each(enumerate(self._rooms), open_in_turn, OPENED_AT_ONCE)
        if not self._open_rooms:
            raise LoadRefused(f"no room opened: {', '.join(self.counts.errors)}")

    async def _open(self, room: LoadRoom) -> None:
        try:
            await room.open()
        except* (RequestRefused, NotJoined, trio.TooSlowError) as failed:
            self.counts.errors[f"not opened: {_first_of(failed)}"] += 1
        else:
            self._open_rooms.append(room)

    async def _run_traffic(self) -> Reading:
        gc.freeze()  # what lives now lives to the end: to look through it again would only make everybody late
        del self.counts.own_lateness[:]
        began = read(self.counts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample, self.counts, self.samples)
            await Traffic(self._open_rooms, self.plan, self.counts).run()
            nursery.cancel_scope.cancel()
        return read(self.counts).since(began)

    async def _end(self, room: LoadRoom) -> None:
        try:
            await room.end()
        except RequestRefused as refused:
            self.counts.errors[f"not ended: {refused}"] += 1

    async def _wait_settled(self) -> None:
        """Until everybody has heard what anybody has, or it is clear that somebody will not."""
        with trio.move_on_after(SETTLE_SECONDS):
            while self._waits_for_something():  # noqa: ASYNC110  # reason: what is counted everywhere wakes nobody
                await trio.sleep(LOOK_SECONDS)

    def _waits_for_something(self) -> bool:
        return any(missing(room) or any(fan.unheard_tips for fan in room.fans) for room in self._open_rooms)

    def _result(self, connects_per_second: float, traffic_reading: Reading) -> Result:
        counts = self.counts
        heard = [position for room in self._open_rooms for position in positions(room)]
        return Result(
            plan=self.plan,
            began_at=self._began_at,
            rooms=len(self._open_rooms),
            members=self.connected,
            connects_per_second=connects_per_second,
            seconds=round(traffic_reading.seconds, 2),
            deliveries=sum(position.heard for position in heard),
            deliveries_per_second=traffic_reading.per_second(traffic_reading.deliveries),
            commands=dict(counts.sent),
            tips_per_second=traffic_reading.per_second(traffic_reading.tips),
            round_trip_ms=spread(counts.round_trips),
            blocks=counts.blocks,
            block_late_ms=spread(counts.lateness),
            lost=sum(position.lost for position in heard) + sum(map(missing, self._open_rooms)),
            doubled=sum(position.doubled for position in heard),
            unanswered=counts.sent.total() - counts.answered.total(),
            unheard_tips=sum(fan.unheard_tips for room in self._open_rooms for fan in room.fans),
            reconnects=counts.reconnects,
            errors=dict(counts.errors.most_common()),
            client_cpu_percent=traffic_reading.cpu_percent,
            client_memory_mib=memory_mib(),
            client_late_ms=spread(counts.own_lateness),
            samples=self.samples,
            round_trip_curve=curve(counts.round_trips),
            lateness_curve=curve(counts.lateness),
        )


async def _close_client(member: ActiveMember) -> None:
    """For good: the session is not to wait for anybody."""
    await member.client.close()


def _first_of(failed: BaseExceptionGroup[BaseException]) -> str:
    """One reason is enough: all members of a room are told the same."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _hint(reason: str) -> str:
    """All of us come from one address, which a server that is meant for people does not let through for long."""
    limited = "429" in reason or "RATE_LIMITED" in reason
    return """; start that server with HALFMINUTE_LIMITS_EXEMPT='["127.0.0.1/32"]'""" if limited else ""
