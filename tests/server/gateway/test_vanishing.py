"""Phones that vanish without closing: their connection stays open, but sends nothing any more."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from server.config.settings import Settings
from server.context import Context
from tests.support.clients import Phone
from tests.support.servers import add_creator, add_fan, online, running_server, settings

ROOT = Path(__file__).parents[3]
BLOCK_SECONDS = 2


def impatient() -> Settings:
    """Settings under which a silence of one second is a drop, with a grace of half a second."""
    wanted = settings(block_seconds=BLOCK_SECONDS, drop_grace_seconds=0.5, drop_limit_seconds=4)
    return msgspec.structs.replace(
        wanted,
        websocket=msgspec.structs.replace(wanted.websocket, presence_seconds=1, party_heartbeat_seconds=0.3),
    )


@contextmanager
def phone_in_a_process(context: Context, user_id: UUID, channel: str) -> Iterator[subprocess.Popen[str]]:
    """Run a phone that joins a room in a process that can be stopped: the kernel then answers for it."""
    program = (
        "import sys, uuid\n"
        "from tests.support.clients import Phone\n"
        "http, websocket, user, channel = sys.argv[1:]\n"
        "phone = Phone(int(http), int(websocket), uuid.UUID(user)).open()\n"
        "print(phone.join(channel)['type'], flush=True)\n"
        "sys.stdin.read()\n"
    )
    arguments = [str(context.http_port), str(context.websocket_port), str(user_id), channel]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "room:joined"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


@pytest.mark.parametrize("who", ["fan", "creator"])
async def test_a_party_that_vanishes_stops_the_clock_and_is_billed_for_at_most_one_further_block(
    dsn: str, who: str
) -> None:
    async with running_server(dsn, impatient()) as context:
        fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
        async with online(context, fan) as fans, online(context, creator) as creators:
            remaining, vanishes = (creators, fan) if who == "fan" else (fans, creator)
            ended, at_vanishing = await trio.to_thread.run_sync(
                _vanish_in_a_call, context, fans, creators, remaining, vanishes
            )
    assert ended["reason"] == "peer_lost"
    assert ended["blocks"] <= at_vanishing + 1
    if who == "creator":
        assert ended["blocks"] == at_vanishing, "it vanished when a block had just begun, and was noticed within it"


def _vanish_in_a_call(
    context: Context, fans: Phone, creators: Phone, remaining: Phone, vanishes: UUID
) -> tuple[dict[str, Any], int]:
    answer = fans.http.post("/calls/init", json={"creatorId": str(creators.user_id)})
    ring = creators.wait_for("call:ringing", callId=answer.json()["callId"])
    creators.ask_ok({"type": "call:accept", "callId": ring["callId"]})
    with phone_in_a_process(context, vanishes, ring["channel"]) as phone:
        assert remaining.join(ring["channel"])["type"] == "room:joined"
        block = remaining.wait_for("block:charged", blockNo=2)
        os.kill(phone.pid, signal.SIGSTOP)
        paused = remaining.wait_for("call:paused")
        assert paused["holds"] == [f"absent:{'fan' if vanishes == fans.user_id else 'creator'}"]
        return remaining.wait_for("call:ended"), int(block["blockNo"])


async def test_a_phone_that_comes_back_is_present_again_and_the_paid_rest_is_kept(dsn: str) -> None:
    async with running_server(dsn, impatient()) as context:
        fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
        async with online(context, fan) as fans, online(context, creator) as creators:
            await trio.to_thread.run_sync(_vanish_and_return, context, fans, creators)


def _vanish_and_return(context: Context, fans: Phone, creators: Phone) -> None:
    answer = fans.http.post("/calls/init", json={"creatorId": str(creators.user_id)})
    ring = creators.wait_for("call:ringing", callId=answer.json()["callId"])
    creators.ask_ok({"type": "call:accept", "callId": ring["callId"]})
    with phone_in_a_process(context, fans.user_id, ring["channel"]) as phone:
        creators.join(ring["channel"])
        creators.wait_for("block:charged", blockNo=1)
        os.kill(phone.pid, signal.SIGSTOP)
        creators.wait_for("call:paused")
        os.kill(phone.pid, signal.SIGCONT)
        creators.wait_for("call:resumed")
        second = creators.wait_for("block:charged", blockNo=2)
        assert second["tokens"] == BLOCK_SECONDS
        creators.ask_ok({"type": "call:end", "callId": ring["callId"]})
        ended = creators.wait_for("call:ended")
        assert ended["blocks"] == 2
