"""Measures how fast tips go to one creator, alone and beside calls that are billed: `python -m tests.bench.tips`.

1, 16 and 64 fans in a closed loop tip one creator's live stream, with viewers in it, over the websocket: alone, beside
calls whose blocks are spread evenly, and beside the same calls when all their blocks fall due at the same moment. The
server has one core and all clients another; PostgreSQL runs on whichever is free. The limit of messages of a session
(websocket.messages_per_second) is raised: a fan in a closed loop sends more than a person does.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import cyclopts
import msgspec
import trio

from domain.ids import UserId
from server.ids import new_uuid
from server.loadtest.measures.figures import spread
from server.loadtest.rest import RestClient
from storage.embedded.launcher import find_running
from storage.postgres import Postgres, open_postgres
from tests.bench.disk import measure_fsync
from tests.bench.fanout.room import Cores, Spent, choose_cores, spent
from tests.bench.report import save
from tests.bench.tips.calls import PostedBlock, hold_calls
from tests.bench.tips.plot import draw
from tests.bench.tips.result import Beside, Result, Turn, during, figures_of, sweeps
from tests.bench.tips.room import RoundTrip, open_tip_room
from tests.bench.tips.table import show
from tests.load.costs import Cost, cost, raise_file_limit
from tests.load.setup import Server, add_users
from tests.support.processes import run_command

ANY_PACE = {"HALFMINUTE_WEBSOCKET_MESSAGES_PER_SECOND": "50000", "HALFMINUTE_WEBSOCKET_MESSAGES_BURST": "50000"}
SWEEP_FANS = 16
SPARE_SECONDS = 60.0  # at most, to open a stream, and to check that every member has received every tip
EARNED = "SELECT lifetime_earned FROM wallets WHERE id = $1"


class Plan(msgspec.Struct, frozen=True):
    """The size of a run: fans, calls and seconds."""

    fans: tuple[int, ...]
    turn_seconds: float
    calls: int
    block_seconds: int
    ramp_seconds: float
    viewers: int = 50

    @property
    def sweep_seconds(self) -> float:
        """Return the time in which every call has a block, even one whose block is due almost a whole block earlier."""
        return 2 * self.block_seconds + 1

    @property
    def call_seconds(self) -> float:
        """Return a length of the calls that is enough for all turns beside them."""
        return (self.turn_seconds + SPARE_SECONDS) * len(self.fans)


FULL = Plan((1, 16, 64), turn_seconds=8, calls=5000, block_seconds=30, ramp_seconds=60)
QUICK = Plan((1, SWEEP_FANS), turn_seconds=1, calls=40, block_seconds=2, ramp_seconds=2)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A turn before the lateness of the calls' blocks is known."""

    fans: int
    beside: Beside
    began_at: float
    ended_at: float
    trips: list[RoundTrip]
    tips: int  # of the whole turn, including tips that were not measured
    deliveries: int
    used: Cost
    server: Spent
    load: float


def main(
    *,
    quick: bool = False,
    out: Path | None = None,
    calls: int | None = None,
    turn_seconds: float | None = None,
) -> int:
    """Send tips; print how many a second and how long each took, alone and beside calls.

    Args:
        quick: Few calls with short blocks, and short turns: done within 40 seconds.
        out: A directory for `tips.json` and `tips.svg`.
        calls: How many calls are billed beside; none if 0.
        turn_seconds: How long a turn is.
    """
    wanted = {"calls": calls, "turn_seconds": turn_seconds}
    changes = {name: value for name, value in wanted.items() if value is not None}
    result = run(msgspec.structs.replace(QUICK if quick else FULL, **changes))
    show(result)
    if out is not None:
        save(out, "tips", result, draw(result))
    return 0 if result.audit_holds else 1


def run(plan: Plan) -> Result:
    """Run once, from an empty data directory to an audited ledger."""
    raise_file_limit()
    cores = choose_cores()
    with tempfile.TemporaryDirectory(prefix="halfminute-bench-") as folder:
        settings = {**ANY_PACE, "HALFMINUTE_CALLS_BLOCK_SECONDS": str(plan.block_seconds)}
        server = Server(Path(folder) / "house", settings=settings)
        with server:
            _pin(server, cores)
            fsync = measure_fsync(server.data_dir)
            turns = trio.run(_run, plan, server)
            audit = run_command("audit", "--data", str(server.data_dir), cwd=Path(folder))
            print(audit.out, file=sys.stderr)
            server.terminate()
            server.wait_exit()
    return Result(
        figures=figures_of(turns),
        viewers=plan.viewers,
        block_seconds=plan.block_seconds,
        cores=os.cpu_count() or 1,
        fsync=fsync,
        audit_holds=audit.exit_code == 0,
        turns=turns,
    )


def _pin(server: Server, cores: Cores) -> None:
    """Bind the server's threads to one core and all clients to the other; PostgreSQL, started before, runs anywhere."""
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cores.server})
    os.sched_setaffinity(0, {cores.drainer})


async def _run(plan: Plan, server: Server) -> list[Turn]:
    address = await find_running(server.data_dir)
    assert address is not None, "a server that answers has its database"
    async with open_postgres(address.dsn, pool_size=1) as postgres:
        tips = _Tips(plan, server, postgres)
        await tips.open()
        measured = [await tips.turn(fans, "nothing", plan.turn_seconds) for fans in plan.fans]
        if not plan.calls:
            return [_turn(plan, turn, []) for turn in measured]
        async with hold_calls(server, postgres, plan.calls, plan) as calls:
            await calls.reached("up")
            measured += [await tips.turn(fans, "calls", plan.turn_seconds) for fans in plan.fans]
            await calls.go_on_to("aligning")
            await calls.reached("aligned")
            measured.append(await tips.turn(SWEEP_FANS, "sweep", plan.sweep_seconds))
            await calls.go_on_to("over")
            blocks = await calls.end()
        return [_turn(plan, turn, blocks) for turn in measured]


class _Tips:
    """The fans of all turns, and the tips that their creators must have earned."""

    def __init__(self, plan: Plan, server: Server, postgres: Postgres) -> None:
        self._plan = plan
        self._server = server
        self._postgres = postgres
        self._fans = [UserId(new_uuid()) for _ in range(max((SWEEP_FANS, *plan.fans)))]
        self._rest = RestClient(f"http://127.0.0.1:{server.http_port}")

    async def open(self) -> None:
        await add_users(self._postgres, self._fans, [])

    async def turn(self, fans: int, beside: Beside, seconds: float) -> Measured:
        """Run a turn in a new stream. Raises AssertionError unless members and ledger have every tip once."""
        url, secret = f"ws://127.0.0.1:{self._server.websocket_port}/ws", self._server.jwt_secret()
        async with open_tip_room(self._rest, url, secret, self._fans[:fans], self._plan.viewers) as room:
            before, server, began_at = self._cost(), spent(self._server.pid), time.time()
            trips = await room.tip(seconds)
            used = Cost(*(now - then for now, then in zip(self._cost(), before, strict=True)))
            server = Spent(*(now - then for now, then in zip(spent(self._server.pid), server, strict=True)))
            ended_at = time.time()
            rows = await self._postgres.fetch(EARNED, room.creator)
            assert rows[0][0] == room.tips, f"{room.tips} tokens were tipped, {rows[0][0]} were earned"
        print(f"{fans} fans beside {beside}: {len(trips) / seconds:,.0f} tips/s", file=sys.stderr, flush=True)
        return Measured(
            fans=fans,
            beside=beside,
            began_at=began_at,
            ended_at=ended_at,
            trips=trips,
            tips=room.tips,
            deliveries=room.deliveries,
            used=used,
            server=server,
            load=round(os.getloadavg()[0], 2),
        )

    def _cost(self) -> Cost:
        return cost(self._server.pid, self._server.postmaster, os.getpid())


def _turn(plan: Plan, turn: Measured, blocks: list[PostedBlock]) -> Turn:
    """Return the figures of one turn; tips are counted from the first that was measured to the last."""
    meanwhile = [block for block in blocks if turn.began_at <= block.booked_at < turn.ended_at]
    windows = sweeps([(block.due_at, block.booked_at) for block in meanwhile], plan.calls // 2)
    lasted = turn.ended_at - turn.began_at
    seconds = plan.sweep_seconds if turn.beside == "sweep" else plan.turn_seconds
    return Turn(
        fans=turn.fans,
        beside=turn.beside,
        calls=0 if turn.beside == "nothing" else plan.calls,
        seconds=seconds,
        tips=len(turn.trips),
        tips_per_second=round(len(turn.trips) / seconds, 1),
        round_trip_ms=spread(trip.ms for trip in turn.trips),
        sweep_ms=during([(trip.sent_at, trip.ms) for trip in turn.trips], windows),
        deliveries=turn.deliveries,
        blocks=len(meanwhile),
        block_late_ms=spread(block.late_ms for block in meanwhile),
        server_us=round(turn.server.running / turn.tips * 1e6, 1),
        server_cpu_percent=round(turn.server.running / lasted * 100, 1),
        kept_waiting=round(turn.server.kept_waiting / lasted, 3),
        postgres_cpu_percent=round(turn.used.postgres / lasted * 100, 1),
        client_cpu_percent=round(turn.used.client / lasted * 100, 1),
        load=turn.load,
    )


if __name__ == "__main__":
    sys.exit(cyclopts.run(main))
