"""The private names of trio and pytest-xdist that only tests rely on, and whose loss would break no test."""

import trio
from xdist.scheduler import LoadScopeScheduling

from tests.libraries.reliance import Reliance, changes

INJECTION = "tests/seams/injection.py"
TRIO = (
    Reliance(
        trio.lowlevel.Task,
        "_next_send",
        INJECTION,
        "`after_task_step` replaces what a task at a checkpoint is resumed with; trio drops an instrument that raises, "
        "and no fault would be injected any more",
    ),
    Reliance(trio.lowlevel.Task, "_abort_func", INJECTION, "`after_task_step` asks by it whether a task waits"),
    Reliance(
        trio.lowlevel.Task,
        "_attempt_abort",
        INJECTION,
        "`after_task_step` raises in a waiting task by it",
        ("self", "raise_cancel"),
    ),
    Reliance(trio.Cancelled, "_create", INJECTION, "it makes the stray cancellations of several tests"),
)
XDIST = (
    Reliance(
        LoadScopeScheduling,
        "_split_scope",
        "tests/support/parallel.py",
        "`Scheduler` overrides it to keep tests together that share a fixture; without it, each process makes its own",
        ("self", "nodeid"),
    ),
    Reliance(
        LoadScopeScheduling,
        "schedule",
        "tests/support/parallel.py",
        "it must ask `_split_scope` for the group of each test",
        ("self",),
        ("self._split_scope(nodeid)",),
    ),
)


def test_trio_has_the_private_names_that_tests_rely_on() -> None:
    assert changes("trio", (), TRIO) == []


def test_xdist_has_the_private_names_that_tests_rely_on() -> None:
    assert changes("pytest-xdist", (), XDIST) == []
