"""Fault injection: makes places of the server raise, each once, except for the rooms and sessions of honest users."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from types import FrameType
from typing import Any
from uuid import UUID

import outcome
import pytest
import trio

from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import Postgres
from storage.rooms.leases import Leases
from tests.seams.places import Seam
from tests.support.faults import PlantedFault

ERRORS: dict[str, Callable[[], BaseException]] = {
    "unexpected": PlantedFault,
    "unavailable": lambda: StorageUnavailable("planted"),
    "refused": lambda: StatementRefused("planted", "23514"),
    "cancelled": lambda: trio.Cancelled._create(source="unknown"),
}
# Only the listeners, the actor and the leases may end the process.
MAY_END_THE_PROCESS = {
    "StorageActor.run",
    "StorageActor._hand_out_beside",
    "Lease.run",
    "serve_http",
    "_note_closing",
}
WITHOUT_PLACE = (Postgres,)  # its callers are places as well
CONNECTION = "Listener._serve_one"
OF_HONEST_USERS = {CONNECTION, "Registry._run"}  # of users: their connections and their rooms


class Injection(trio.abc.Instrument):
    """An armed place raises the next time it is reached; an armed task raises where it next waits."""

    def __init__(self, error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
        self._error = error
        self._monkeypatch = monkeypatch
        self._armed: dict[Seam, None] = {}
        self._patched: set[Seam] = set()
        self._spared_tasks: set[trio.lowlevel.Task] = set()
        self._spared_objects: list[object] = []
        self.spared_ids: set[UUID] = set()
        self.fired: list[Seam] = []

    @property
    def armed(self) -> list[Seam]:
        """Return the armed places that were not reached yet."""
        return list(self._armed)

    def spare(self, *ids: UUID, objects: Iterable[object] = ()) -> None:
        """Spare these users and rooms, and the connections and rooms that exist now: they belong to honest users.

        So are `objects`: a task that runs a method of one of them is spared whenever it begins.
        """
        self.spared_ids.update(ids)
        self._spared_objects += objects
        self._spared_tasks.update(task for task in _all_tasks() if OF_HONEST_USERS & set(_chain(task)))

    def arm(self, seams: list[Seam]) -> None:
        for seam in seams:
            if seam.owner not in WITHOUT_PLACE and _qualified(seam) not in MAY_END_THE_PROCESS:
                self._armed[seam] = None
                if seam.kind != "task" and seam not in self._patched:
                    self._patch(seam)

    def disarm(self) -> None:
        self._armed.clear()

    # Functions

    def _patch(self, seam: Seam) -> None:
        self._patched.add(seam)
        real = inspect.getattr_static(seam.owner, seam.name)
        if inspect.iscoroutinefunction(real):

            @wraps(real)
            async def faulty(*args: Any, **named: Any) -> Any:
                self._raise_at(seam, args)
                return await real(*args, **named)
        else:

            @wraps(real)
            def faulty(*args: Any, **named: Any) -> Any:
                self._raise_at(seam, args)
                return real(*args, **named)

        self._monkeypatch.setattr(seam.owner, seam.name, faulty)

    def _raise_at(self, seam: Seam, args: tuple[Any, ...]) -> None:
        if seam not in self._armed or (seam.given and type(args[1]).__name__ != seam.given):
            return
        if _may_end_the_process(_chain(trio.lowlevel.current_task())):
            return
        if seam.owner is not Leases and any(map(self._is_honest, args)):
            return
        self._fire(seam)
        raise self._error()

    def _is_honest(self, argument: Any) -> bool:
        if isinstance(argument, UUID):
            return argument in self.spared_ids
        if isinstance(argument, list | tuple):
            return any(self._is_honest(getattr(each, "room_id", None) or each) for each in argument)
        facts = getattr(argument, "facts", argument)
        return getattr(facts, "id", None) in self.spared_ids

    def _fire(self, seam: Seam) -> None:
        del self._armed[seam]
        self.fired.append(seam)

    # Tasks

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Raise at the place where the task waits, if it is armed. trio calls this when a task begins to wait."""
        if not any(seam.kind == "task" for seam in self._armed):
            return
        names = _chain(task)
        # It waits only for its next turn. Where trio shields that, nothing can be raised: a semaphore, for example, has
        # already been acquired.
        at_checkpoint = isinstance(task._next_send, outcome.Value) and names[-2:-1] == ["checkpoint"]
        if not (at_checkpoint or task._abort_func):
            return
        seam = next((seam for seam in self._armed if seam.kind == "task" and _qualified(seam) in names), None)
        if seam is None or _may_end_the_process(names) or self._is_of_honest_users(task):
            return
        error = self._error()

        def raise_error() -> None:
            raise error

        self._fire(seam)
        if at_checkpoint:
            task._next_send = outcome.Error(error)
        else:
            task._attempt_abort(raise_error)

    def _is_of_honest_users(self, task: trio.lowlevel.Task) -> bool:
        owners = [frame.f_locals.get("self") for frame in _frames(task)]
        if any(owner is spared for owner in owners for spared in self._spared_objects):
            return True
        ancestor: trio.lowlevel.Task | None = task
        while ancestor is not None:
            if ancestor in self._spared_tasks:
                return True
            nursery = ancestor.parent_nursery
            ancestor = None if nursery is None else nursery.parent_task
        return False


def _may_end_the_process(names: list[str]) -> bool:
    if MAY_END_THE_PROCESS & set(names):
        return True
    return any(name.startswith("Listener.") for name in names) and CONNECTION not in names


def _qualified(seam: Seam) -> str:
    return f"{seam.owner.__name__}.{seam.name}" if inspect.isclass(seam.owner) else seam.name


def _chain(task: trio.lowlevel.Task) -> list[str]:
    """Return the functions on a task's stack, outermost first."""
    return [frame.f_code.co_qualname for frame in _frames(task)]


def _frames(task: trio.lowlevel.Task) -> Iterator[FrameType]:
    coroutine: Any = task.coro
    while coroutine is not None and hasattr(coroutine, "cr_frame"):
        if coroutine.cr_frame is not None:
            yield coroutine.cr_frame
        coroutine = coroutine.cr_await


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        yield task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
