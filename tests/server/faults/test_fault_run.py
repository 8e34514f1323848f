"""Faults in random order beside honest calls and streams: the process lives, and every bill is right."""

import random
import time
from pathlib import Path
from uuid import UUID

import pytest

from tests.fault_run.accountant import Accountant, Bill, Stop, call_bill, stream_bills
from tests.fault_run.honest_clients import HonestClient
from tests.fault_run.kinds import FAULTS, Fault, made, process_stopped
from tests.fault_run.report import Outcome, Uptime, print_report
from tests.fault_run.scene import GIFT, PRESENCE_SECONDS, Scene, Size, scene
from tests.support.client_pool import Pair
from tests.support.database_reader import DatabaseReader
from tests.support.processes import eventually
from tests.torture.vitals import Vitals

SHORT = Size(calls=16, leaving=12, streams=1, viewers=2, block_seconds=1, seconds=0)
LONG = Size(calls=75, leaving=25, streams=5, viewers=4, block_seconds=2, seconds=600)
LEAVES_AFTER_SECONDS = 0.5  # after the fault has started
# The log events that each fault causes, so that each is known to have reached the server.
FELT = (
    "connections.out_of_files",
    "jwks.not_read",
    "log.lines_dropped",
    "server.stalled",
    "storage.away",
    "storage.back",
)
BACK_SECONDS_MAX = 40.0  # then the run fails; each fault has a bound of its own, well below this


@pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
def test_faults_in_random_order_end_nothing_and_bill_nobody_for_them(tmp_path: Path, size: Size) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with scene(tmp_path, size, chance) as running:
        context, pool = running.context, running.pool
        left, stops, outcomes = list[Bill](), list[Stop](), list[Outcome]()
        for fault, seconds in plan(size, chance):
            pair = running.leaving.pop() if running.leaving else None
            outcome, left_at = happen(running, pair, fault, seconds, stops, {bill.room_id for bill in left})
            print(f"{fault.name}: {outcome.seconds:.1f} s, back after {outcome.recovered_seconds:.1f} s", flush=True)
            outcomes.append(outcome)
            if pair is not None:
                left.append(call_bill(pair, left_at))
        over, gone = time.time(), {bill.room_id for bill in left}
        stayed = [call_bill(pair, over) for pair in pool.pairs if pair.call_id not in gone]
        stayed += [bill for audience in pool.audiences for bill in stream_bills(audience, over)]
        audit = context.server.get("/api/admin/audit", running.operator).json()
        assert audit.get("holds"), audit
        resident_mib = Vitals.of(context.server.pid, context.server.websocket_port).resident_mib
        context.server.terminate()
        assert context.server.wait_exit() == 0
        log = context.server.log.text()
        assert [event for event in FELT if f'"event": "{event}"' not in log] == []
        accountant = Accountant(
            DatabaseReader(context.postgres.dsn),
            gift=GIFT,
            block_seconds=size.block_seconds,
            presence_seconds=PRESENCE_SECONDS,
        )
        counts = accountant.check([*left, *stayed], stops)
    uptime = Uptime.of((bill.payer for bill in stayed), sum(counts[len(left) :]), size.block_seconds)
    print_report(seed, outcomes, uptime, resident_mib)
    assert [each for each in outcomes if each.recovered_seconds > each.fault.bound_seconds] == []


def plan(size: Size, chance: random.Random) -> list[tuple[Fault, float]]:
    """Choose the faults and their durations in random order; a long run has as many rounds as fit."""
    if not size.seconds:
        return chance.sample([(fault, seconds) for fault in FAULTS for seconds in fault.short_seconds], len(FAULTS) + 1)
    planned, left = list[tuple[Fault, float]](), size.seconds
    while left > 0:
        for fault in chance.sample(FAULTS, len(FAULTS)):
            seconds = chance.uniform(max(fault.short_seconds), fault.long_seconds_max)
            planned.append((fault, seconds))
            left -= seconds + 2 * size.block_seconds
    return planned


def happen(
    running: Scene, pair: Pair | None, fault: Fault, seconds: float, stops: list[Stop], gone: set[UUID]
) -> tuple[Outcome, float]:
    """Cause one fault, during which a fan leaves; return when that was, in unix seconds."""
    context, pool = running.context, running.pool
    began, left_at = time.time(), 0.0
    with made(fault, context):
        time.sleep(LEAVES_AFTER_SECONDS)
        if pair is not None:
            pool.hang_up(pair)
            left_at = time.time()
        time.sleep(seconds - LEAVES_AFTER_SECONDS)
    over = time.time()
    if fault.make is process_stopped:
        stops.append(Stop(began, over))
    staying = [each for each in pool.pairs if each is not pair and each.call_id not in gone]
    payers = [*(each.fan for each in staying if isinstance(each.fan, HonestClient)), *pool.viewers()]
    try:
        recovered = pool.wait_more(payers, BACK_SECONDS_MAX)
    except AssertionError:
        assert context.server.running, context.server.log.text()[-5000:]
        print(context.server.log.text()[-5000:])
        raise
    if pair is not None:
        eventually(
            lambda: all(caller.events_of("call:ended") for caller in pair.both), f"the end of a call in {fault.name}"
        )
    return Outcome(fault, over - began, recovered), left_at
