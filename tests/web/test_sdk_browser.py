"""Two clients of the SDK in Chromium hold a call with audio and video, over WebRTC of the browser's own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.server.peers.absent import leave_out
from tests.server.peers.chromium import CHROMIUM
from tests.support.clients import token_of
from tests.support.lifeline import tied
from tests.support.servers import add_creator, add_fan, running_server, with_section
from tests.web.sdk_page import ORIGIN

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("sdk_page.py")
SECONDS_MAX = 120
RATE_TOKENS_PER_MIN = 60


def run_browser(settings: dict[str, Any]) -> dict[str, Any]:
    """Run the page to its end; return what it returned. Raises AssertionError with the output if it fails."""
    command = [sys.executable, str(PROGRAM), str(CHROMIUM), json.dumps(settings)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS_MAX, preexec_fn=tied())
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_media_flows_in_a_call_also_after_a_resume_and_a_pause(dsn: str) -> None:
    if not CHROMIUM.exists():
        leave_out(f"there is no {CHROMIUM}")
    async with running_server(dsn, with_section("http", allowed_origins=(ORIGIN,))) as context:
        fan, creator = await add_fan(context, 1000), await add_creator(context, RATE_TOKENS_PER_MIN)
        settings = {
            "url": f"http://127.0.0.1:{context.http_port}",
            "fan": token_of(fan),
            "creator": token_of(creator),
            "creatorId": str(creator),
        }
        held = await trio.to_thread.run_sync(run_browser, settings)
    assert held["errors"] == []
    assert held["kinds"] == [["audio", "video"], ["audio", "video"]]
    assert held["resumed"] == [True, True]
    assert held["isSilentInPause"] and held["reason"] == "creator_ended"
