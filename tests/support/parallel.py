"""A pytest plugin: how a run is divided among several test processes (pytest-xdist).

Each process has a PostgreSQL, a temporary directory and a range of ports of its own. Tests that share a fixture wider
than one test run in the same process, so that the fixture is made once. No test may depend on how busy the machine is.
"""

import functools
import os
from pathlib import Path
from typing import Any

import pytest

# Many tests wait: for a block of one second, or for another process.
WORKERS_PER_CORE = 3
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
