"""Installs and runs Autobahn's fuzzing client, which needs Python 2.7, and reads its verdicts."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.support.lifeline import tied

PYTHON = "python2.7"
PACKAGES = Path(__file__).with_name("python27.txt")
INSTALL_SECONDS_MAX = 300
RUN_SECONDS_MAX = 600  # of all cases; on two busy cores they took 140
AGENT = "halfminute"


class Verdict(msgspec.Struct, rename={"behaviour": "behavior", "close": "behaviorClose"}):
    """The verdict of one case: the server's behaviour, and how it closed the connection."""

    behaviour: str
    close: str


def install(scratch: Path) -> str | None:
    """Install the client. Return the reason if that failed, else None."""
    if shutil.which(PYTHON) is None or _python(scratch, "-m", "pip", "--version", seconds=60).returncode != 0:
        return f"there is no {PYTHON} with pip on this machine"
    words = "-m", "pip", "install", "--quiet", "--user", "--requirement", str(PACKAGES)
    done = _python(scratch, *words, seconds=INSTALL_SECONDS_MAX)
    return None if done.returncode == 0 else f"{PYTHON} -m pip failed: {done.stderr[-300:].strip()}"


def try_cases(scratch: Path, port: int, cases: Sequence[str]) -> dict[str, Verdict]:
    """Run the cases against the server on this port; return the fuzzing client's verdict for each case."""
    spec = {
        "outdir": str(scratch / "report"),
        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}/ws"}],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (scratch / "spec.json").write_bytes(msgspec.json.encode(spec))
    words = "-m", "autobahntestsuite.wstest", "-m", "fuzzingclient", "-s", str(scratch / "spec.json")
    done = _python(scratch, *words, seconds=RUN_SECONDS_MAX)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    report = (scratch / "report" / "index.json").read_bytes()
    return msgspec.json.decode(report, type=dict[str, dict[str, Verdict]])[AGENT]


def _python(scratch: Path, *words: str, seconds: float) -> "subprocess.CompletedProcess[str]":
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    there = {"PYTHONUSERBASE": str(scratch / "packages"), "PYENV_VERSION": "2.7"}  # pyenv would choose another Python
    return subprocess.run(
        [PYTHON, "-W", "ignore", *words],
        cwd=scratch,
        env=ours | there,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        preexec_fn=tied(),
    )
