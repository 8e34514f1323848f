"""Packages of npm's, installed aside when they are needed."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.lifeline import tied


def install_modules(directory: Path, modules: Sequence[str], seconds: float) -> str | None:
    """Into its `node_modules`, where a script beside it finds them; why not, or None if they are there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "there is no node with npm on this machine"
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(directory), *modules]
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            preexec_fn=tied(),
        )
    except subprocess.TimeoutExpired:
        return f"npm install took more than {seconds:g} s"
    return None if done.returncode == 0 else f"npm install failed: {done.stderr[-200:].strip()}"
