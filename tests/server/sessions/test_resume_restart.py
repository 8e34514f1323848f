"""Connections break at any byte and the server restarts during a busy stream: no event is lost unnoticed."""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from domain.billing.posting import Kind
from domain.ids import UserId, client_key
from server.broadcast.codec import Encoding
from tests.support.client_pool import Party, party
from tests.support.database_reader import DatabaseReader
from tests.support.processes import ServerProcess, run_command
from tests.torture.breaking_proxy import BreakingProxy, breaking_proxy
from tests.torture.member import Member, wait_all
from tests.torture.story import check_stories

SEED = "HALFMINUTE_TEST_SEED"  # the environment variable that repeats a run
SETTINGS = {
    "HALFMINUTE_ROOMS_RECENT_EVENTS": "1000",  # a room's history holds all that is tipped while a member is out of it
    "HALFMINUTE_ROOMS_CHAT_PER_SECOND": "1000",
    "HALFMINUTE_ROOMS_CHAT_BURST": "1000",
    "HALFMINUTE_SERVER_DRAIN_SECONDS": "4",
    "HALFMINUTE_WEBSOCKET_CLOSE_SECONDS": "1",
}

in_thread = trio.to_thread.run_sync


class Plan(NamedTuple):
    """The size of a run."""

    members: int
    pauses: tuple[float, float]  # seconds of chat and tips before each restart, and after the last
    restarts: int
    life_bytes_max: int  # of one connection: some seconds of such a room, and more than a history of it
    drops_min: int


SHORT = Plan(members=6, pauses=(1.5, 3), restarts=2, life_bytes_max=100_000, drops_min=10)
LONG = Plan(members=10, pauses=(8, 20), restarts=10, life_bytes_max=500_000, drops_min=200)


@pytest.mark.parametrize("plan", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"])
async def test_a_resumed_member_receives_all_or_knows_of_the_loss_and_no_tip_is_lost(
    data_dir: Path, plan: Plan
) -> None:
    seed = int(os.environ.get(SEED) or random.randrange(10**6))
    print(f"{SEED}={seed}")
    chance = random.Random(seed)
    with ServerProcess(data_dir, settings=SETTINGS) as server:
        creator, *fans = await _users(server, plan.members)
        stream = await in_thread(_go_live, server, creator)
        async with _members(server, stream["channel"], [creator, *fans], chance, plan) as (members, line):
            await _send_through_restarts(server, stream["channel"], members, chance, plan)
            line.mend()
            await wait_all(members, lambda member: member.inside)
            await in_thread(server.post, f"/api/streams/{stream['id']}/end", creator.token, None)
            await wait_all(members, lambda member: member.story.is_over)
        assert sum(line.breaks.values()) >= plan.drops_min, line.breaks
        await in_thread(_stop, server)
    _check_received(members, restarts=plan.restarts)
    await in_thread(_check_tips, data_dir, members)
    _report(members, line)


async def _users(server: ServerProcess, count: int) -> list[Party]:
    """Make a creator and fans."""
    database, secret = await in_thread(DatabaseReader.beside, server.data_dir), server.jwt_secret()
    pairs = await in_thread(partial(database.add_pairs, count, tokens=1_000_000))
    return [party(pairs[0][1], secret), *(party(fan, secret) for fan, _ in pairs[1:])]


def _go_live(server: ServerProcess, creator: Party) -> dict[str, Any]:
    made = server.post("/api/streams", creator.token, {"title": "A bad line", "type": "public"}).json()["stream"]
    answer = server.post(f"/api/streams/{made['id']}/start", creator.token, None)
    assert answer.status_code == 200, answer.text
    live: dict[str, Any] = answer.json()["stream"]
    return live


@asynccontextmanager
async def _members(
    server: ServerProcess, channel: str, users: list[Party], chance: random.Random, plan: Plan
) -> AsyncIterator[tuple[list[Member], BreakingProxy]]:
    """Connect all over unreliable proxies but the last, who shows the complete events; the subprotocols alternate."""
    port = server.websocket_port
    async with breaking_proxy(port, chance, plan.life_bytes_max) as line, trio.open_nursery() as nursery:
        members = []
        for i, (user_id, token) in enumerate(users):
            through = port if i == len(users) - 1 else line.port
            members.append(Member(nursery, user_id, token, through, list(Encoding)[i % 2]))
            nursery.start_soon(members[-1].run, channel)
        await wait_all(members, lambda member: member.inside)
        yield members, line
        nursery.cancel_scope.cancel()


async def _send_through_restarts(
    server: ServerProcess, channel: str, members: list[Member], chance: random.Random, plan: Plan
) -> None:
    over = trio.Event()
    async with trio.open_nursery() as sending:
        for member in members[1:]:
            sending.start_soon(member.send_events, channel, random.Random(chance.random()), over)
        for restart in range(plan.restarts):
            await trio.sleep(chance.uniform(*plan.pauses))
            epoch = _latest_epoch(members[-1])
            await in_thread(_stop if restart % 2 == 0 else ServerProcess.kill, server)
            await in_thread(server.start)
            await wait_all(members[-1:], partial(_is_beyond, epoch))
        await trio.sleep(chance.uniform(*plan.pauses))
        over.set()


def _latest_epoch(member: Member) -> int:
    """Return the epoch of the last event that the member received."""
    return max(visit.epoch for visit in member.story.visits if visit.events)


def _is_beyond(epoch: int, member: Member) -> bool:
    return _latest_epoch(member) > epoch


def _stop(server: ServerProcess) -> None:
    server.terminate()
    assert server.wait_exit() == 0
    assert not [line for line in server.errors.all() if "Traceback" in line or "crashed" in line]


def _check_received(members: list[Member], restarts: int) -> None:
    last_seq = check_stories(member.story for member in members)
    assert len(last_seq) == restarts + 1, "an epoch for each start"
    for member in members:
        last = member.story.visits[-1]
        assert (last.epoch, last.last_seq) == (max(last_seq), last_seq[max(last_seq)])
        tips = Counter(event["tipId"] for event in member.story.events_of("tip:new"))
        assert not tips or max(tips.values()) == 1


def _check_tips(data_dir: Path, members: list[Member]) -> None:
    """Check that the journal has each acknowledged tip once, as announced, and that every member knows of all."""
    rows = DatabaseReader.at_rest(data_dir).fetch("SELECT key, ref_id FROM journal WHERE kind = $1", int(Kind.TIP))
    booked = {row["key"].bytes: str(row["ref_id"]) for row in rows}
    acknowledged = {
        client_key(UserId(member.user_id), key): tip_id
        for member in members
        for key, tip_id in member.acknowledged.items()
    }
    assert len(booked) == len(rows)
    assert booked == acknowledged
    for member in members:
        assert member.story.known_tips() == set(booked.values())
    proved = run_command("audit", "--data", str(data_dir), cwd=data_dir.parent)
    assert proved.exit_code == 0, proved


def _report(members: list[Member], line: BreakingProxy) -> None:
    tips, repeated = (sum(len(m.acknowledged) for m in members), sum(m.repeated for m in members))
    codes = sum((member.close_codes for member in members), Counter[int | None]())
    print(f"{dict(line.breaks)} breaks; {tips} tips, {repeated} repeats; ends heard: {dict(codes)}")
