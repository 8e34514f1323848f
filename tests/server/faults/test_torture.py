"""A server under attack from all sides: honest members receive every event, and nothing of the attackers is left."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from server.ids import new_uuid
from server.loadtest.rest import RestClient
from tests.support.clients import SECRET, token_of
from tests.support.honest_users import HonestCall, HonestStream
from tests.support.processes import LOOK_SECONDS, ServerProcess
from tests.torture.attacks import IMPATIENCE, attack_from_all_sides
from tests.torture.honest_room import honest_room
from tests.torture.vitals import Vitals

in_thread = trio.to_thread.run_sync

SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_CALLS_BLOCK_SECONDS": "1",
    **{f"HALFMINUTE_WEBSOCKET_{name.upper()}": str(value) for name, value in IMPATIENCE.items()},
}
GONE_SECONDS_MAX = 10.0  # from the last attack to the end of its last session
POOL_FILES = 5  # connections to the database beside the first
UNDER_WAY = 3  # events of one moment: the last block to two members, or the last chat message to three
GROWTH_MIB_MAX = 8.0  # over what the process holds after the first round, however many rounds follow


@pytest.mark.parametrize("seconds", [1.0, pytest.param(600.0, marks=pytest.mark.long)])
async def test_honest_members_receive_all_and_nothing_is_left_of_the_attackers(data_dir: Path, seconds: float) -> None:
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        async with (
            honest_pair(server),
            honest_room(server.http_port, server.websocket_port, SECRET) as target,
        ):
            calm = _vitals(server)
            assert await attack_from_all_sides(target) == {}
            before = await _settled(server, calm)
            ends_at = trio.current_time() + seconds
            while trio.current_time() < ends_at:
                assert await attack_from_all_sides(target) == {}
            after = await _settled(server, calm)
        print(f"calm: {calm}\nafter one round: {before}\nin the end: {after}")
        assert after.resident_mib - before.resident_mib < GROWTH_MIB_MAX
        assert after.open_files <= before.open_files + POOL_FILES
        await in_thread(_stop, server)


@asynccontextmanager
async def honest_pair(server: ServerProcess) -> AsyncIterator[None]:
    """Hold a call and a stream in the block; at its end check that every event due in them was received once."""
    url = f"ws://127.0.0.1:{server.websocket_port}/ws"
    with closing(RestClient(f"http://127.0.0.1:{server.http_port}")) as rest:
        async with trio.open_nursery() as nursery:
            call, stream = HonestCall(nursery, rest, url), HonestStream(nursery, rest, url)
            await call.begin(token_of(new_uuid(), role="operator"))
            await stream.begin()
            yield
            figures = {"call": await call.figures(), "stream": stream.figures()}
            nursery.cancel_scope.cancel()
    for room, received in figures.items():
        print(f"honest {room}: {received}")
        assert received.lost_or_doubled == []
        assert received.due - received.received <= UNDER_WAY, "events that were not received are under way"


def _vitals(server: ServerProcess) -> Vitals:
    return Vitals.of(server.pid, server.websocket_port)


async def _settled(server: ServerProcess, calm: Vitals) -> Vitals:
    """Return the process's figures once every attacker's connection is gone."""
    with trio.move_on_after(GONE_SECONDS_MAX):
        while _vitals(server).connections != calm.connections:  # noqa: ASYNC110  # reason: nothing wakes us
            await trio.sleep(LOOK_SECONDS)
    vitals = _vitals(server)
    assert vitals.connections == calm.connections
    return vitals


def _stop(server: ServerProcess) -> None:
    server.terminate()
    assert server.wait_exit() == 0
    faults = [line for line in server.errors.all() if "Traceback" in line or "fault" in line or "crashed" in line]
    assert faults == []
