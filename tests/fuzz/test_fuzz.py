"""Random and hostile frames of every user in every state of the server: it answers, lives, and keeps its ledger."""

import itertools
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

import hypothesis
import pytest
import trio
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from tests.fuzz.frames import ONE_FAVOURITE, TWISTS, Step
from tests.fuzz.hostile import FAVOURITES, HOSTILE
from tests.fuzz.world import ROLES, STATES, Fault, World
from tests.storage.own_postgres import own_postgres
from tests.support.clients import SECRET
from tests.support.honest_users import HonestCall, HonestStream
from tests.support.processes import ServerProcess

SHRINK_SECONDS = 20.0
STEPS_MAX = 200  # in one sequence
LONG_SECONDS, FRAMES_MIN, SEEDS_MIN, LONG_SERVERS = 600.0, 200_000, 20, 4
COSTLY = ("away", "restarting", "draining")  # a second or more for each sequence
SETTINGS = {
    "HALFMINUTE_JWT_SECRET": SECRET,
    "HALFMINUTE_CALLS_BLOCK_SECONDS": "1",
    "HALFMINUTE_CALLS_RING_COOLDOWN_SECONDS": "0.001",
    "HALFMINUTE_LIMITS_STREAMS_PER_DAY": "100000",  # the fuzzed rooms are made anew all the time
    "HALFMINUTE_LIMITS_STREAMS_SCHEDULED": "100000",
    "HALFMINUTE_SERVER_LEASE_SECONDS": "2",
    "HALFMINUTE_SERVER_CHECKPOINT_SECONDS": "0.5",
    "HALFMINUTE_SERVER_DRAIN_SECONDS": "4",
}
# So that frames reach the rooms instead of the token buckets.
UNLIMITED = {
    "HALFMINUTE_LIMITS_EXEMPT": '["127.0.0.1/32"]',
    "HALFMINUTE_LIMITS_OPENS_PER_SECOND": "10000",
    "HALFMINUTE_LIMITS_OPENS_BURST": "10000",
    "HALFMINUTE_WEBSOCKET_MESSAGES_PER_SECOND": "50000",
    "HALFMINUTE_WEBSOCKET_MESSAGES_BURST": "50000",
    "HALFMINUTE_WEBSOCKET_SESSIONS_PER_USER": "1000",
    "HALFMINUTE_ROOMS_CHAT_PER_SECOND": "1000",
    "HALFMINUTE_ROOMS_CHAT_BURST": "1000",
}

# Two numbers a step: with more, Hypothesis takes longer than the server needs for the frame. Of numbers wider than
# 24 bits it would mostly choose small ones.
TARGETS, COMMANDS, FIELDS, VALUES = 12, 16, 8, 4 * len(HOSTILE)
steps = st.builds(
    lambda who, what: Step(
        connection=who // TARGETS,
        command=what % COMMANDS,
        target=who % TARGETS,
        twist=what // COMMANDS % TWISTS,
        field=what // COMMANDS // TWISTS % FIELDS,
        value=what // COMMANDS // TWISTS // FIELDS,
    ),
    st.integers(0, 12 * TARGETS - 1),
    st.integers(0, COMMANDS * TWISTS * FIELDS * VALUES - 1),
)
sequences = st.integers(1, STEPS_MAX).flatmap(lambda size: st.lists(steps, min_size=size, max_size=size))


async def test_no_frame_stops_the_server_or_goes_unanswered(tmp_path: Path) -> None:
    async with fuzzed(tmp_path, UNLIMITED) as world:
        await play_all(world, a_seed(), 10.0)
        print(world.summary())
        assert world.frames.keys() == set(STATES)


async def test_every_field_of_every_command_withstands_what_has_done_harm_before(tmp_path: Path) -> None:
    """This test is not random; the random sequences have the same values among many others."""
    async with fuzzed(tmp_path, UNLIMITED) as world:
        fan = 2 * ROLES.index("fan")
        sweep = [
            Step(fan + encoding, command, 1, ONE_FAVOURITE, field, value)
            for command, each in enumerate(world.commands)
            for encoding in range(2)
            for field in range(len(each.fields) + 1)
            for value in range(2 * len(FAVOURITES))
        ]
        await trio.to_thread.run_sync(partial(play_one, world, "active", sweep))
        print(world.summary())


def play_one(world: World, state: str, sequence: list[Step]) -> None:
    """Play one sequence; call it from a thread. Raises Fault with the part of the sequence that causes it."""
    try:
        trio.from_thread.run(world.play, state, sequence)
    except Exception as fault:  # reason: whatever it is, it is reported with its sequence
        blame(world, state, Found(sequence, fault))


@pytest.mark.long
async def test_two_hundred_thousand_frames_of_twenty_seeds_find_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """On several servers at the same time, since a sequence mostly waits for its answers."""
    worlds: list[World] = []
    seeds, played, begun = itertools.count(a_seed()), 0, trio.current_time()

    def is_enough() -> bool:
        frames = sum(world.frames.total() for world in worlds)
        return trio.current_time() >= begun + LONG_SECONDS and frames >= FRAMES_MIN and played >= SEEDS_MIN

    async def play_on_a_server(directory: Path) -> None:
        nonlocal played
        async with fuzzed(directory, UNLIMITED) as world:
            worlds.append(world)
            while not is_enough():
                await play_all(world, next(seeds), LONG_SECONDS / SEEDS_MIN * 3 / 4)
                played += 1

    async with trio.open_nursery() as nursery:
        for number in range(LONG_SERVERS):
            nursery.start_soon(play_on_a_server, tmp_path_factory.mktemp(str(number)))
    frames = sum(world.frames.total() for world in worlds)
    print(f"{frames:,} frames of {played} seeds in {trio.current_time() - begun:.0f} s")
    for world in worlds:
        print(world.summary())


def a_seed() -> int:
    """Return a seed, which is printed with each run and each fault: `HALFMINUTE_FUZZ_SEED` repeats a run."""
    return int(os.environ.get("HALFMINUTE_FUZZ_SEED", time.time_ns() % 1_000_000))


async def test_the_usual_limits_hold_against_the_same_frames(tmp_path: Path) -> None:
    async with fuzzed(tmp_path, {}) as world:
        await play_all(world, a_seed(), 4.0, states=("active", "ringing"))
        print(world.summary())


async def play_all(world: World, seed: int, seconds: float, states: tuple[str, ...] = STATES) -> None:
    """Play sequences of this seed in every state; fast states share the seconds, slow ones get a sequence each."""
    print(f"seed {seed} after {world.frames.total():,} frames", flush=True)
    cheap = [state for state in states if state not in COSTLY]
    for state in cheap:
        until = trio.current_time() + seconds / len(cheap)
        await trio.to_thread.run_sync(partial(play_some, world, state, seed, until))
    for state in states:
        if state in COSTLY:
            await trio.to_thread.run_sync(partial(play_some, world, state, seed, 0.0))


class Enough(BaseException):
    """Raised when the time is over; Hypothesis passes it on."""


class Found(NamedTuple):
    """A fault, and the shortest sequence so far that causes it."""

    sequence: list[Step]
    fault: Exception


def play_some(world: World, state: str, seed: int, until: float) -> None:
    """Play at least one sequence, and more until `until`; call it from a thread.

    Raises Fault with the shortest sequence that Hypothesis finds within SHRINK_SECONDS.
    """
    played = 0
    found: list[Found] = []
    ends_at = until

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=1_000_000,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(sequences)
    def play(sequence: list[Step]) -> None:
        nonlocal played, ends_at
        now = trio.from_thread.run_sync(trio.current_time)
        if (
            not found and len(set(sequence)) == 1
        ):  # as Hypothesis begins; the outcome is not used, but shrinking needs it
            return
        if played and now > ends_at:
            raise Enough
        played += 1
        try:
            trio.from_thread.run(world.play, state, sequence)
        except Exception as fault:  # reason: whatever it is, a shorter sequence is searched
            ends_at = ends_at if found else now + SHRINK_SECONDS
            if not found or len(sequence) <= len(found[0].sequence):
                found[:] = [Found(sequence, fault)]
            raise

    try:
        play()
    except Enough:
        pass
    except Exception as error:  # reason: Hypothesis may raise an error of its own, which is reported like any other
        found = found or [Found([], error)]
    if found:
        blame(world, state, found[0], f", seed {seed}")


def blame(world: World, state: str, found: Found, more: str = "") -> NoReturn:
    """Raise Fault with the frames that cause it."""
    print(f"a fault in state {state}{more}: {found.fault}", flush=True)
    least = halved(world, state, found, time.monotonic() + SHRINK_SECONDS)
    frames = "\n".join(world.describe(step) for step in least.sequence)
    raise Fault(f"{least.fault}\nin state {state}{more}, after\n{frames}") from None


def halved(world: World, state: str, found: Found, until: float) -> Found:
    """Return the half of a sequence that causes the fault alone, repeatedly halved; mostly it is one frame."""
    middle = len(found.sequence) // 2
    for half in (found.sequence[:middle], found.sequence[middle:]) if middle else ():
        if time.monotonic() > until:
            return found
        try:
            trio.from_thread.run(world.play, state, half)
        except Exception as fault:  # reason: this half causes it as well
            return halved(world, state, Found(half, fault), until)
    return found


@asynccontextmanager
async def fuzzed(directory: Path, more: dict[str, str]) -> AsyncIterator[World]:
    """Yield a server whose database can be disconnected, with an honest call and an honest stream beside it."""
    with ThreadPoolExecutor(1) as keeper, own_postgres(directory / "postgres") as postgres:
        wanted = {**SETTINGS, **more, "DATABASE_URL": postgres.dsn}
        with ServerProcess(directory / "data", settings=wanted) as server:
            async with trio.open_nursery() as nursery:
                world = World(nursery, server, postgres, keeper)
                with closing(world.rest):
                    await world.begin()
                    url = f"ws://127.0.0.1:{server.websocket_port}/ws"
                    call, stream = HonestCall(nursery, world.rest, url), HonestStream(nursery, world.rest, url)
                    await call.begin(world.operator)
                    await stream.begin()
                    yield world
                    await world.arrange("active")
                    await trio.sleep(0.5)  # the last events of the honest rooms are under way; no event marks the end
                    figures = {"call": await call.figures(), "stream": stream.figures()}
                    audit = await world.rest.ask("GET", "/admin/audit", world.operator)
                nursery.cancel_scope.cancel()
    for room, received in figures.items():
        print(f"honest {room}: {received}")
        assert received.lost_or_doubled == []
    assert audit["holds"], [proof for proof in audit["proofs"] if not proof["holds"]]
