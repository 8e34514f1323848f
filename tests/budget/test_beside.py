"""An honest call, stream and REST client beside each attack notice at most a quarter of a second of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from server.config.settings import LimitSettings
from tests.budget.attack import ATTACKS, Target
from tests.support.clients import Phone, go_live, ring_and_join
from tests.support.lifeline import tied
from tests.support.live_server import LiveServer, live_server_on
from tests.support.processes import ROOT

NOTICED_SECONDS_MAX = 0.25
ATTACK_SECONDS = 4.0
USUAL_LIMITS = {
    f"HALFMINUTE_LIMITS_{name.upper()}": str(value)
    for name, value in msgspec.structs.asdict(LimitSettings()).items()
    if name != "exempt"
}


class Honest(NamedTuple):
    """The requests that honest users repeat, by name; each callable returns once it is answered."""

    asked: dict[str, Callable[[], Any]]
    channel: str


@pytest.fixture
def live_server(dsn: str, tmp_path: Path) -> Iterator[LiveServer]:
    with live_server_on(dsn, tmp_path, **{**USUAL_LIMITS, "HALFMINUTE_CALLS_BLOCK_SECONDS": "30"}) as live_server:
        yield live_server


def honest_in(live_server: LiveServer) -> Honest:
    fan, creator, owner, viewer = (
        live_server.fan(10_000),
        live_server.creator(),
        live_server.creator(),
        live_server.fan(100),
    )
    ring_and_join(fan, creator)
    stream = go_live(owner)
    assert viewer.join(stream["channel"])["type"] == "room:joined"
    assert owner.join(stream["channel"])["type"] == "room:joined"
    asked = {
        "call": lambda: fan.ask({"type": "ping"}),
        "stream": lambda: owner.ask({"type": "chat:send", "channel": stream["channel"], "text": "hello"}),
        "rest": lambda: creator.http.get("/config").raise_for_status(),
    }
    return Honest(asked, stream["channel"])


def slowest(honest: Honest, seconds: float) -> dict[str, float]:
    """Return the longest time that each kind of request took, of all that were sent within these seconds."""
    longest = dict.fromkeys(honest.asked, 0.0)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        for name, ask in honest.asked.items():
            began = time.monotonic()
            ask()
            longest[name] = max(longest[name], time.monotonic() - began)
        time.sleep(0.1)  # the pace of an honest client
    return longest


def attack(live_server: LiveServer, name: str, attacker: Phone, channel: str) -> "subprocess.Popen[bytes]":
    """Start the attack; the attacker is a creator with tokens and a call of their own, and rings another user."""
    credit = {"userId": str(attacker.user_id), "tokens": 1_000, "reason": "welcome"}
    assert live_server.operator.http.post("/admin/credits", json=credit).status_code == 201
    call_id = ring_and_join(attacker, live_server.creator())["callId"] if name == "pauses" else ""
    server, rung = live_server.server, live_server.creator()
    target = Target(server.http_port, server.websocket_port, attacker.token, channel, call_id, str(rung.user_id))
    words = (name, json.dumps(target._asdict()), str(ATTACK_SECONDS))
    command = [sys.executable, "-m", "tests.budget.attack", *words]
    return subprocess.Popen(command, cwd=ROOT, preexec_fn=tied())


@pytest.mark.long
@pytest.mark.parametrize("name", ATTACKS)
def test_honest_users_beside_an_attack_notice_little_of_it(live_server: LiveServer, name: str) -> None:
    honest, attacker = honest_in(live_server), live_server.creator()
    usual = slowest(honest, ATTACK_SECONDS / 2)
    with attack(live_server, name, attacker, honest.channel) as process:
        beside = slowest(honest, ATTACK_SECONDS)
        assert process.wait(30) == 0
    noticed = {who: round(beside[who] - usual[who], 3) for who in usual}
    print(f"| {name} | {usual} | {beside} |")
    assert max(noticed.values()) <= NOTICED_SECONDS_MAX, (noticed, usual)
    live_server.check_ledger()
