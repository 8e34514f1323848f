"""Clients that connect and disconnect, however abruptly, leave no task behind."""

import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator

import trio

from server.context import Context
from tests.support.clients import Phone, go_live
from tests.support.servers import add_creator, add_fan, online, phone_of

VISITS = 20
STILL_SECONDS = 2.0  # longer than any client here takes to close
LOOK_SECONDS = 0.01  # between two looks: the end of a task wakes nobody here
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
HELLO = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n"


def tasks_below(task: trio.lowlevel.Task) -> Iterator[str]:
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield child.name
            yield from tasks_below(child)


def tasks() -> list[str]:
    """Return the names of all tasks of this process."""
    root = trio.lowlevel.current_root_task()
    assert root is not None, "a test runs in a task"
    return sorted(tasks_below(root))


async def test_no_client_leaves_a_task_behind(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo:
        channel = (await trio.to_thread.run_sync(go_live, cleo))["channel"]
        visits: tuple[Callable[[], None], ...] = (
            lambda: open_and_vanish(phone_of(context, fan), channel),
            lambda: knock(context.websocket_port, HELLO, reset=True),
            lambda: knock(context.websocket_port, b"\x00\xff" * 100, reset=False),
        )
        await all_of(visits)  # a first time, in which an idle connection of the creator's gets its timeout
        before = await settled([])
        for _ in range(VISITS):
            await all_of(visits)
        assert Counter(await settled(before)) - Counter(before) == Counter()


async def all_of(visits: tuple[Callable[[], None], ...]) -> None:
    async with trio.open_nursery() as nursery:
        for visit in visits:
            nursery.start_soon(trio.to_thread.run_sync, visit)


async def settled(wanted: list[str]) -> list[str]:
    """Return the tasks that are left: `wanted`, or those that remain once nothing changes any more."""
    left, since = tasks(), trio.current_time()
    while left != wanted and trio.current_time() - since < STILL_SECONDS:
        await trio.sleep(LOOK_SECONDS)
        if (now := tasks()) != left:
            left, since = now, trio.current_time()
    return left


def open_and_vanish(phone: Phone, channel: str) -> None:
    with phone:
        phone.join(channel)
        phone.lose_network()


def knock(port: int, what: bytes, *, reset: bool) -> None:
    """Send something invalid and close."""
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(what)
        if reset:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
