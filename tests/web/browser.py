"""Plays a scene in Debian's Chromium: a function of a module of scenes that is given a page of the browser."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.server.peers.absent import leave_out
from tests.server.peers.chromium import CHROMIUM
from tests.support.lifeline import tied
from tests.support.processes import ROOT

SECONDS_MAX = 120


def play(scene: Callable[..., None], **given: Any) -> None:
    """Run `scene(page, **given)` in a process of its own; `given` is JSON.

    Raises AssertionError with what the process printed if the scene fails, and also after an error on the console, an
    unhandled rejection, or a violation of the content security policy, which Chromium reports on the console.
    """
    if not CHROMIUM.exists():
        leave_out("there is no Chromium on this machine")
    done = subprocess.run(
        [sys.executable, "-m", "tests.web.scene_runner", str(CHROMIUM), scene.__module__, scene.__name__],
        input=json.dumps(given),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        preexec_fn=tied(),
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-6000:]}"
