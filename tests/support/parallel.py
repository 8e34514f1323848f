"""A pytest plugin: how a run with `-n auto` is divided among several test processes (pytest-xdist).

Each process has a PostgreSQL, a temporary directory and a range of ports of its own. Tests that share a fixture wider
than one test run in the same process, so that the fixture is made once. A test marked `alone` runs while no other test
of the run does.
"""

import fcntl
import functools
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

# Many tests wait: for a block of one second, or for another process.
WORKERS_PER_CORE = 2
WORKERS_MAX = 8  # each has a PostgreSQL
FILES_MIN = 20  # it takes each process some seconds to import them
# Made once a run, as it takes half a minute; the other fixtures of a session are made by each process.
SLOW_FIXTURE = "old_server"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of test processes for `-n auto`; 0 runs the tests in this one.

    One process is enough for a few files, and needed for `-s`: the others' standard output is not shown.
    """
    files = sum(len(list(Path(argument).rglob("test_*.py"))) for argument in config.args)
    if files < FILES_MIN or config.option.capture == "no" or config.option.collectonly:
        return 0
    return min(WORKERS_PER_CORE * len(os.sched_getaffinity(0)), WORKERS_MAX)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Let the same process run all tests that share a fixture. xdist's own groups do nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist comes without types
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(config.rootpath / nodeid.partition("::")[0]) or nodeid

    return Scheduler(config, log)


@functools.cache
def _group_of(file: Path) -> str:
    """Return the name under which the tests of this file are kept together; empty where they may be divided."""
    text = file.read_text()
    if SLOW_FIXTURE in text:
        return SLOW_FIXTURE
    return str(file) if 'scope="module"' in text else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test marked `alone` wait until the tests of the other processes are over, and those wait for its end."""
    with ExitStack() as stack:
        if run := os.environ.get("PYTEST_XDIST_TESTRUNUID"):
            how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
            turn, next_turn = _locks(run)
            with _locked(next_turn, how):
                stack.enter_context(_locked(turn, how))
        return (yield)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock on the file, which all processes of the run have in common."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the files of the locks, when the other processes have ended."""
    if run := session.config.getoption("testrunuid", None):
        for path in _locks(run):
            path.unlink(missing_ok=True)


def _locks(run: str) -> tuple[Path, Path]:
    """The lock that is held while a test runs, and the one that is held while waiting for it."""
    directory = Path(tempfile.gettempdir())
    return directory / f"halfminute-tests-{run}.turn", directory / f"halfminute-tests-{run}.next"
