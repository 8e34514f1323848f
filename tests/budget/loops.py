"""Measures one turn of a loop that clients can run: the server's CPU time, its statements, and events to others."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import trio

from server.context import Context
from tests.support.clients import Phone, go_live, ring_and_join

TURNS = 20


class Loop(NamedTuple):
    """A loop of commands; `bound`: the settings that limit how often a user may send them."""

    name: str
    turn: Callable[["Scene"], None]
    bound: tuple[str, ...]
    statements_max: float  # of one turn
    events_max: float  # to each of the others, of one turn


class Scene:
    """A fan who loops, a creator who takes calls, and another who is live."""

    def __init__(self, fan: Phone, creator: Phone, owner: Phone) -> None:
        self.fan, self.creator, self.owner = fan, creator, owner
        self.public = go_live(owner)["channel"]
        assert owner.join(self.public)["type"] == "room:joined"
        assert fan.join(self.public)["type"] == "room:joined"
        self.call: dict[str, Any] = {}

    def start_call(self) -> None:
        """Start a call of the fan and the creator."""
        if not self.call:
            self.call = ring_and_join(self.fan, self.creator)
            self.fan.wait_for("block:charged", blockNo=1)

    def settle(self) -> None:
        """Wait until all events of the loop have reached the others."""
        for phone in (self.fan, self.creator, self.owner):
            phone.ask({"type": "ping"})

    def received(self) -> int:
        """Return the number of events that the others received so far."""
        for phone in (self.creator, self.owner):
            phone.all_events("")
        answers = ("pong", "ok", "error")
        return sum(event["type"] not in answers for phone in (self.creator, self.owner) for event in phone.events)


def ring(scene: Scene) -> None:
    rung = scene.fan.http.post("/calls/init", json={"creatorId": str(scene.creator.user_id)})
    assert rung.status_code == 201, rung.text
    scene.fan.ask_ok({"type": "call:cancel", "callId": rung.json()["callId"]})
    scene.fan.wait_for("call:cancelled", callId=rung.json()["callId"])


def decline(scene: Scene) -> None:
    rung = scene.fan.http.post("/calls/init", json={"creatorId": str(scene.creator.user_id)})
    assert rung.status_code == 201, rung.text
    scene.creator.ask_ok({"type": "call:decline", "callId": rung.json()["callId"]})
    scene.fan.wait_for("call:declined", callId=rung.json()["callId"])


def ring_unknown(scene: Scene) -> None:
    assert scene.fan.ask({"type": "call:cancel", "callId": str(scene.fan.user_id)})["error"] == "NOT_FOUND"


def pause(scene: Scene) -> None:
    scene.start_call()
    for kind in ("call:pause", "call:resume"):
        scene.fan.ask_ok({"type": kind, "callId": scene.call["callId"]})


def leave_call(scene: Scene) -> None:
    scene.start_call()
    scene.fan.ask_ok({"type": "room:leave", "channel": scene.call["channel"]})
    assert scene.fan.join(scene.call["channel"])["type"] == "room:joined"


def leave(scene: Scene) -> None:
    scene.fan.ask_ok({"type": "room:leave", "channel": scene.public})
    assert scene.fan.join(scene.public)["type"] == "room:joined"


def join_unknown(scene: Scene) -> None:
    assert scene.fan.join("c" * 22)["error"] == "NOT_FOUND"


def resume(scene: Scene) -> None:
    """Cut the connection, and resume the session over another."""
    scene.start_call()
    scene.fan.lose_network()
    scene.fan.open(resume=True)


def open_anew(scene: Scene) -> None:
    scene.fan.hang_up_network()
    scene.fan.open()


def announce(scene: Scene) -> None:
    announced = scene.creator.http.post("/streams", json={"title": "a show", "type": "public"})
    assert announced.status_code == 201, announced.text
    ended = scene.creator.http.post(f"/streams/{announced.json()['stream']['id']}/end")
    assert ended.status_code == 200, ended.text


LOOPS = (
    Loop("ring and cancel", ring, ("limits.money_per_second", "calls.ring_cooldown_seconds"), 30, 3),
    Loop("ring and decline", decline, ("limits.money_per_second", "calls.ring_cooldown_seconds"), 30, 3),
    Loop("cancel an unknown call", ring_unknown, ("limits.user_per_second",), 3, 0),
    Loop("leave and join a stream", leave, ("limits.joins_per_second",), 3, 2),
    Loop("join an unknown room", join_unknown, ("limits.joins_per_second",), 5, 0),
    Loop("announce and end a stream", announce, ("limits.streams_per_day", "limits.user_per_second"), 20, 0),
    Loop("pause and resume a call", pause, ("calls.resumes_per_second", "limits.user_per_second"), 6, 2),
    Loop("leave and join a call", leave_call, ("limits.joins_per_second",), 8, 4),
    Loop("cut and resume a session", resume, ("limits.opens_per_second",), 8, 4),
    Loop("hang up and open a session", open_anew, ("limits.opens_per_second",), 8, 4),
)


class TurnCost(NamedTuple):
    """The average cost of one turn."""

    cpu_ms: float
    statements: float
    events: float


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    """Collects the statements that any connection of this process sends to the database within the block."""
    sent: list[str] = []
    connection: Any = asyncpg.Connection
    do_execute, execute = connection._do_execute, connection.execute

    async def counting_do_execute(self: Any, query: str, *args: Any, **named: Any) -> Any:
        sent.append(query)
        return await do_execute(self, query, *args, **named)

    async def counting_execute(self: Any, query: str, *args: Any, **named: Any) -> Any:
        if not args:  # otherwise the method above counts it as well
            sent.append(query)
        return await execute(self, query, *args, **named)

    connection._do_execute, connection.execute = counting_do_execute, counting_execute
    try:
        yield sent
    finally:
        connection._do_execute, connection.execute = do_execute, execute


async def cost_of(context: Context, scene: Scene, loop: Loop) -> TurnCost:
    """Measure a loop, less the server's cost in the same time without it."""
    in_thread = trio.to_thread.run_sync

    def turns() -> None:
        for _ in range(TURNS):
            loop.turn(scene)
        scene.settle()

    await in_thread(loop.turn, scene)  # the first turn may start a call, or fill a cache
    await in_thread(scene.settle)
    idle = await _measured(partial(trio.sleep, 1))
    received = await in_thread(scene.received)
    began = time.monotonic()
    busy = await _measured(lambda: in_thread(turns))
    seconds = time.monotonic() - began
    cpu, statements = (busy[n] - idle[n] * seconds for n in range(2))
    return TurnCost(1000 * cpu / TURNS, statements / TURNS, (await in_thread(scene.received) - received) / TURNS)


async def _measured(work: Callable[[], Awaitable[object]]) -> tuple[float, int]:
    """Return the seconds of this thread's CPU, and the number of statements."""
    with counted_statements() as sent:
        began = time.thread_time()
        await work()
        return time.thread_time() - began, len(sent)
