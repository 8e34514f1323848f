"""A load run: connect, set up rooms, send traffic, end the rooms, and check that every event was delivered.

Everything runs in one process and one event loop, so the load program itself may become the bottleneck; it measures
its own CPU time and lateness and reports them beside the server's figures.
"""

import gc
import itertools
from datetime import UTC, datetime

import trio

from server.loadtest.client.passive_members import NotJoined, PassiveMember, PassiveMembers
from server.loadtest.client.reconnect import NOT_CONNECTED
from server.loadtest.concurrency import each
from server.loadtest.measures.figures import LoadCounts, Result, Sample, curve, spread
from server.loadtest.measures.plan import LoadRefused, Plan, check_target
from server.loadtest.measures.stopwatch import (
    Snapshot,
    measure_own_lateness,
    memory_mib,
    raise_file_limit,
    read,
    sample,
)
from server.loadtest.rest import RequestRefused, RestClient
from server.loadtest.rooms import CallRoom, LoadRoom, StreamRoom, missing, positions
from server.loadtest.traffic import Traffic
from server.loadtest.users import ActiveMember, LoadUsers

PREPARED_AT_ONCE = 8  # rooms: as many as there are requests at once
CONNECTED_AT_ONCE = 32  # handshakes under way: enough to keep a server busy, too few to time out
OPENED_AT_ONCE = 32  # rooms that are being opened or ended
LEAVING_AT_ONCE = 64  # each waits for the server's Close frame
RING_SECONDS_MAX = (
    10.0  # calls start evenly over a block, at most this long, so that their blocks are not due all at once
)
SETTLE_SECONDS = 20.0  # for events on their way at the end: as long as an answer may take
CHECK_SECONDS = 0.05  # between two checks whether every event has arrived


class LoadRun:
    """One load run; `phase`, `opened`, `connected` and `counts` may be read while it runs.

    `secret` signs the users' tokens. The caller closes `rest`. A run is used once.
    """

    def __init__(self, plan: Plan, secret: str, rest: RestClient) -> None:
        self.plan = plan
        self.phase = "members connect"
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
        """Return the number of rooms that were opened."""
        return len(self._open_rooms)

    async def run(self, yes_really: bool) -> Result:
        """Run the plan and return its figures. Raises LoadRefused if nothing can be measured.

        Rooms that cannot be opened, lost connections and refused commands are counted and do not end the run.
        Cancelled, it closes all connections; the server's rooms then end by its own rules.
        """
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
        """Run the phases one after the other. Members reconnect in `nursery` until the caller cancels it."""
        connects_per_second = await self._connect_all(nursery)
        self.phase = "users get their tokens"
        await each(self._rooms, self._prepare, PREPARED_AT_ONCE)
        self.phase = "rooms open"
        await self._open_all()
        self.phase = "traffic"
        traffic_reading = await self._run_traffic()
        self.phase = "rooms end"
        await each(self._open_rooms, self._end, OPENED_AT_ONCE)
        await self._wait_settled()
        return self._result(connects_per_second, traffic_reading)

    # Members

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
            raise LoadRefused(f"the users cannot be set up: {refused}{_hint(str(refused))}") from None

    async def _connect_all(self, nursery: trio.Nursery) -> float:
        """Connect all members; return the sessions opened per second."""
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

    # Phases

    async def _open_all(self) -> None:
        """Open calls evenly over a block, measured from the start, and streams as fast as possible."""
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
        """Open a room; count the reason if that fails, and go on without the room."""
        try:
            await room.open()
        except* (RequestRefused, NotJoined, trio.TooSlowError) as failed:
            self.counts.errors[f"not opened: {_first_of(failed)}"] += 1
        else:
            self._open_rooms.append(room)

    async def _run_traffic(self) -> Snapshot:
        """Send the planned traffic and sample its figures; return the counts of this phase alone."""
        gc.freeze()  # present objects live to the end; collecting them again would only add delays
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
        """Wait until every member has received all events, at most SETTLE_SECONDS."""
        with trio.move_on_after(SETTLE_SECONDS):
            while self._is_incomplete():  # noqa: ASYNC110  # reason: no event signals the counters
                await trio.sleep(CHECK_SECONDS)

    def _is_incomplete(self) -> bool:
        return any(missing(room) or any(fan.unheard_tips for fan in room.fans) for room in self._open_rooms)

    def _result(self, connects_per_second: float, traffic_reading: Snapshot) -> Result:
        counts = self.counts
        read_positions = [position for room in self._open_rooms for position in positions(room)]
        return Result(
            plan=self.plan,
            began_at=self._began_at,
            rooms=len(self._open_rooms),
            members=self.connected,
            connects_per_second=connects_per_second,
            seconds=round(traffic_reading.seconds, 2),
            deliveries=sum(position.received for position in read_positions),
            deliveries_per_second=traffic_reading.per_second(traffic_reading.deliveries),
            commands=dict(counts.sent),
            tips_per_second=traffic_reading.per_second(traffic_reading.tips),
            round_trip_ms=spread(counts.round_trips),
            blocks=counts.blocks,
            block_late_ms=spread(counts.lateness),
            lost=sum(position.lost for position in read_positions) + sum(map(missing, self._open_rooms)),
            doubled=sum(position.doubled for position in read_positions),
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
    """Close the session for good, so that the server does not keep it for a resume."""
    await member.client.close()


def _first_of(failed: BaseExceptionGroup[BaseException]) -> str:
    """Return the first reason: all members of a room get the same refusal."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def _hint(reason: str) -> str:
    """Return a hint for rate limits: all members connect from one address, which servers limit."""
    limited = "429" in reason or "RATE_LIMITED" in reason
    return """; start that server with HALFMINUTE_LIMITS_EXEMPT='["127.0.0.1/32"]'""" if limited else ""
