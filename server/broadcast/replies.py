"""Where the answer to a command goes: back over the websocket with its `ref`, or to a waiting HTTP request."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import trio

from domain.protocol.events import RoomJoined
from domain.refusals import Code, Refusal
from domain.room.inputs import Reply
from server.broadcast.fanout import Outlet, Spawn
from server.problems import problem
from storage.postgres import StorageUnavailable

Result = dict[str, Any] | Refusal | msgspec.Struct

AWAY = Refusal(Code.STORAGE_UNAVAILABLE, "The database is out of reach; the same key finds out")
NOT_RECALLED = Refusal(Code.INTERNAL, "Something went wrong on our side; the same key finds out what became of it")


class SocketReply:
    """Answers one command of one connection."""

    __slots__ = ("_outlet", "_ref")

    def __init__(self, outlet: Outlet, ref: str | None) -> None:
        self._outlet = outlet
        self._ref = ref

    def deliver(self, result: Result) -> None:
        self._outlet.send_queue.push(self._outlet.encoding.frame(self._message(result)))

    def _message(self, result: Result) -> Any:
        match result:
            case Refusal():
                return {"type": "error", **self._echo(), **problem(result)}
            case RoomJoined():
                return result if self._ref is None else msgspec.structs.replace(result, ref=self._ref)
            case dict():
                return {"type": "ok", **self._echo(), **result}
        return result

    def _echo(self) -> dict[str, str]:
        return {} if self._ref is None else {"ref": self._ref}


class JoinReply(SocketReply):
    """Answers a join: what a member needs to reach the others is theirs alone, and so no matter of the room's."""

    __slots__ = ("_ice_servers",)

    def __init__(self, outlet: Outlet, ref: str | None, ice_servers: list[dict[str, Any]]) -> None:
        super().__init__(outlet, ref)
        self._ice_servers = ice_servers

    def deliver(self, result: Result) -> None:
        if isinstance(result, RoomJoined):
            result = msgspec.structs.replace(result, ice_servers=self._ice_servers)
        super().deliver(result)


class AdmissionReply:
    """Answers a join: an admitted session takes its seat, a refused one gives it up."""

    def __init__(self, reply: Reply, take: Callable[[], None], abandon: Callable[[], None]) -> None:
        self._reply = reply
        self._take = take
        self._abandon = abandon

    def deliver(self, result: Result) -> None:
        if isinstance(result, Refusal):
            self._abandon()
        else:
            self._take()
        self._reply.deliver(result)


class KeyedReply:
    """Answers a command that moves tokens under a key: before it is refused, the key is asked what it did before."""

    def __init__(self, reply: Reply, recall: Callable[[Refusal], Awaitable[Result]], spawn: Spawn) -> None:
        """`recall` may raise; the command is then answered INTERNAL, or STORAGE_UNAVAILABLE with the database away."""
        self._reply = reply
        self._recall = recall
        self._spawn = spawn

    def deliver(self, result: Result) -> None:
        if isinstance(result, Refusal):
            self._spawn(partial(self._ask_key, result), partial(self._reply.deliver, NOT_RECALLED))
        else:
            self._reply.deliver(result)

    async def _ask_key(self, refusal: Refusal) -> None:
        try:
            result = await self._recall(refusal)
        except StorageUnavailable:
            result = AWAY
        self._reply.deliver(result)


class WaitingReply:
    """Answers a task that waits for it."""

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._result: Result = Refusal(Code.STORAGE_UNAVAILABLE, "The answer did not come in time")

    def deliver(self, result: Result) -> None:
        self._result = result
        self._answered.set()

    async def wait(self, seconds: float) -> Result:
        """The answer, or STORAGE_UNAVAILABLE if none comes in time; what was asked may happen all the same."""
        with trio.move_on_after(seconds):
            await self._answered.wait()
        return self._result
