"""Each loop that clients can run costs little a turn: prints its cost and its bounds as a table on standard output."""

import msgspec
import pytest
import trio

from server.config.settings import Settings
from tests.budget.loops import LOOPS, Loop, Scene, TurnCost, cost_of
from tests.support.servers import add_creator, add_fan, online, running_server, settings

CPU_MS_MAX = 40.0  # of one turn: at one turn a second each of 25 such users takes a percent of the event loop
HEAD = "\n| loop | CPU ms | statements | events to others | bounded by |\n|---|---|---|---|---|"


async def test_a_turn_of_each_loop_costs_the_server_and_others_little(dsn: str) -> None:
    unhurried = settings(block_seconds=30, ring_cooldown_seconds=0, resumes_per_second=1000, resumes_burst=1000)
    found = dict[str, TurnCost]()
    async with running_server(dsn, unhurried) as context:
        async with (
            online(context, await add_fan(context, 10_000)) as fan,
            online(context, await add_creator(context, 60)) as creator,
            online(context, await add_creator(context, 60)) as owner,
        ):
            scene = await trio.to_thread.run_sync(Scene, fan, creator, owner)
            for loop in LOOPS:
                found[loop.name] = await cost_of(context, scene, loop)
    print(HEAD)
    for loop in LOOPS:
        cpu_ms, statements, events = found[loop.name]
        print(f"| {loop.name} | {cpu_ms:.1f} | {statements:.1f} | {events:.1f} | {', '.join(loop.bound)} |")
    for loop in LOOPS:
        cost = found[loop.name]
        assert cost.cpu_ms <= CPU_MS_MAX, loop.name
        assert cost.statements <= loop.statements_max, (loop.name, cost)
        assert cost.events <= loop.events_max, (loop.name, cost)


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)
def test_every_loop_is_bounded_by_settings(loop: Loop) -> None:
    for bound in loop.bound:
        section, _, key = bound.partition(".")
        assert key in msgspec.structs.asdict(getattr(Settings(), section))
