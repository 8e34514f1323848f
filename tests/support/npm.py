"""Installs npm packages into a directory of their own when a test needs them."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.lifeline import tied


def install_modules(directory: Path, modules: Sequence[str], seconds: float) -> str | None:
    """Install the packages into the directory's `node_modules`. Return the reason if that failed, else None."""
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
