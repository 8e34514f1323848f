"""A server process is stopped for a while (SIGSTOP) and goes on: who pays for the stall, and who stays connected."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.ids import new_uuid
from tests.support.clients import Phone, go_live, ring_and_join, token_of
from tests.support.live_server import LiveServer, live_server_on
from tests.support.processes import eventually

# Blocks of a second; a stall of six seconds or more is one in which no party's pong could arrive.
IMPATIENT = {
    "HALFMINUTE_WEBSOCKET_PRESENCE_SECONDS": "6",
    "HALFMINUTE_WEBSOCKET_PARTY_HEARTBEAT_SECONDS": "1",
    "HALFMINUTE_WEBSOCKET_HEARTBEAT_SECONDS": "1",
}
TOKENS = 1000
LONG, SHORT = 8.0, 3.0  # seconds
ACTS_AFTER_SECONDS = 1.0
LOOK_SECONDS, WAKING_SECONDS = 0.2, 1.0  # the server measures from its last step before to its first one after
ROUNDING = 1  # a block that fell due while the server was being stopped
METERED = {"type": "private", "rateTokensPerMin": 60}


class Call:
    """A call with its two phones."""

    def __init__(self, live_server: LiveServer, *, packs: bool = False) -> None:
        self.fan, self.creator = live_server.fan(TOKENS, packs=packs), live_server.creator()
        self.call_id = ring_and_join(self.fan, self.creator)["callId"]

    def blocks(self) -> int:
        return max((event["blockNo"] for event in self.fan.all_events("block:charged")), default=0)

    def ended(self) -> dict[str, Any]:
        """Return its `call:ended`, and check that both parties received the same."""
        events = [phone.wait_for("call:ended") for phone in (self.fan, self.creator)]
        assert events[0] == events[1]
        assert self.fan.balance() == TOKENS - events[0]["tokens"]
        return events[0]


@contextmanager
def stopped(live_server: LiveServer) -> Iterator[None]:
    """Stop the server in the block."""
    os.kill(live_server.server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(live_server.server.pid, signal.SIGCONT)


def stand_still(live_server: LiveServer, seconds: float, *acts: Callable[[], object]) -> float:
    """Stop the server for so long; meanwhile these functions run, each in a thread, and may wait for their answers.

    Return for how many seconds it was stopped, which is more than was wanted on a busy machine.
    """
    with stopped(live_server):
        began = time.monotonic()
        time.sleep(ACTS_AFTER_SECONDS)
        acting = [threading.Thread(target=act) for act in acts]
        for thread in acting:
            thread.start()
        time.sleep(seconds - ACTS_AFTER_SECONDS)
        stood_still = time.monotonic() - began
    for thread in acting:
        thread.join(20)
        assert not thread.is_alive()
    return stood_still


def connections(live_server: LiveServer) -> int:
    figures = live_server.server.get("/metrics").text.splitlines()
    return next(int(float(line.split()[1])) for line in figures if line.startswith("halfminute_connections "))


def end_call(phone: Phone, call: Call) -> None:
    phone.send({"type": "call:end", "callId": call.call_id})


@pytest.mark.parametrize("seconds", [LONG, SHORT])
def test_ending_or_leaving_while_the_server_is_stopped_costs_nothing_for_the_stall(
    dsn: str, tmp_path: Path, seconds: float
) -> None:
    with live_server_on(dsn, tmp_path, **IMPATIENT) as live_server:
        by_fan, by_fan_in_msgpack, by_creator, over_http = (
            Call(live_server),
            Call(live_server, packs=True),
            Call(live_server),
            Call(live_server),
        )
        paused = Call(live_server)
        owner, leaver, closer, packer = (
            live_server.creator(),
            live_server.fan(TOKENS),
            live_server.fan(TOKENS),
            live_server.fan(TOKENS, packs=True),
        )
        stream = go_live(owner, **METERED)
        viewers = (leaver, closer, packer)
        for phone in (owner, *viewers):
            assert phone.join(stream["channel"])["type"] == "room:joined"
        for viewer in viewers:
            viewer.wait_for("block:charged", blockNo=3)
        calls = (by_fan, by_fan_in_msgpack, by_creator, over_http, paused)
        before = [call.blocks() for call in calls]
        watched = [len(viewer.all_events("block:charged")) for viewer in viewers]
        leave = {"type": "room:leave", "channel": stream["channel"]}
        stand_still(
            live_server,
            seconds,
            lambda: end_call(by_fan.fan, by_fan),
            lambda: end_call(by_fan_in_msgpack.fan, by_fan_in_msgpack),
            lambda: end_call(by_creator.creator, by_creator),
            lambda: over_http.fan.http.post(f"/billing/{over_http.call_id}/stop"),
            lambda: paused.fan.send({"type": "call:pause", "callId": paused.call_id}),
            lambda: leaver.send(leave),
            lambda: packer.send(leave),
            closer.hang_up_network,
        )
        paused.fan.ask_ok({"type": "call:end", "callId": paused.call_id})
        reasons = ["hangup", "hangup", "creator_ended", "hangup", "hangup"]
        for call, blocks, reason in zip(calls, before, reasons, strict=True):
            ended = call.ended()
            assert ended["reason"] == reason
            assert blocks <= ended["blocks"] <= blocks + ROUNDING
        for viewer, blocks in zip(viewers, watched, strict=True):
            assert blocks <= TOKENS - viewer.balance() <= blocks + ROUNDING
        live_server.check_ledger()


def test_a_short_stall_is_charged_once_and_a_long_one_not_and_no_session_ends(dsn: str, tmp_path: Path) -> None:
    with live_server_on(dsn, tmp_path, **IMPATIENT) as live_server:
        call, owner, viewer = Call(live_server), live_server.creator(), live_server.fan(TOKENS)
        stream = go_live(owner, **METERED)
        for phone in (owner, viewer):
            assert phone.join(stream["channel"])["type"] == "room:joined"
        viewer.wait_for("block:charged", blockNo=2)
        before, watched, began = call.blocks(), len(viewer.all_events("block:charged")), time.monotonic()
        short = stand_still(live_server, SHORT)
        call.fan.wait_for("block:charged", blockNo=before + 4)
        viewer.wait_for("block:charged", blockNo=watched + 4)
        assert time.monotonic() - began < SHORT + 3
        assert call.fan.all_events("call:paused") == []
        before, watched = call.blocks(), len(viewer.all_events("block:charged"))
        long = stand_still(live_server, LONG)
        resumed = call.fan.wait_for("call:resumed", holds=[])
        blocks = call.blocks()
        assert before <= blocks <= before + ROUNDING
        assert watched <= len(viewer.all_events("block:charged")) <= watched + ROUNDING
        call.fan.wait_for("block:charged", blockNo=blocks + 2)
        viewer.wait_for("block:charged", blockNo=watched + 3)
        numbers = [event["blockNo"] for event in call.fan.all_events("block:charged")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert resumed["paidThrough"] is not None
        assert all(phone.close_code is None for phone in (call.fan, call.creator, owner, viewer))
        call.fan.ask_ok({"type": "call:end", "callId": call.call_id})
        call.ended()
        live_server.check_ledger()
        logged = [line["seconds"] for line in live_server.server.logged("server.stalled")]
        for seconds, stood_still in zip(logged, (short, long), strict=True):
            assert stood_still - LOOK_SECONDS <= seconds <= stood_still + WAKING_SECONDS


def test_no_session_is_closed_because_the_server_was_stopped(dsn: str, tmp_path: Path) -> None:
    """Silence, a session that waits to be resumed, and a token that expired meanwhile are no reasons."""
    short_lives = {"HALFMINUTE_WEBSOCKET_PING_TIMEOUT_SECONDS": "7", "HALFMINUTE_WEBSOCKET_SESSION_SECONDS": "5"}
    with live_server_on(dsn, tmp_path, **IMPATIENT, **short_lives) as live_server:
        silent, lost, user_id = live_server.fan(TOKENS), live_server.fan(TOKENS), new_uuid()
        expiring = live_server.phone(user_id, token_of(user_id, ttl_seconds=4))
        lost.lose_network()
        eventually(lambda: connections(live_server) == 2, "the server's notice of a lost connection")
        stand_still(live_server, LONG)
        eventually(lambda: live_server.server.logged("server.stalled"), "the server's notice of the stall")
        assert expiring.ask({"type": "token:refresh", "token": token_of(user_id)})["type"] == "ok"
        lost.open(resume=True)
        assert lost.ready["resumed"]
        silent.send({"type": "ping", "ref": "still here"})
        silent.wait_for("pong", ref="still here")
        assert expiring.close_code is None


def test_a_token_that_is_not_refreshed_after_a_stall_expires(dsn: str, tmp_path: Path) -> None:
    with live_server_on(dsn, tmp_path, **IMPATIENT) as live_server:
        user_id = new_uuid()
        expiring = live_server.phone(user_id, token_of(user_id, ttl_seconds=2))
        stand_still(live_server, SHORT)
        expiring.wait_closed()
        assert expiring.close_code == 4401
