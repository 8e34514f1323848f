"""Destinations of the answer to a command: a websocket, with the command's `ref`, or a waiting HTTP request.

A command is passed to its room together with such a reply, and the room's task delivers the result. The rules know only
`deliver`, so the same command can come from either transport. `deliver` never waits.
"""

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
from storage.database_errors import StorageUnavailable

Result = dict[str, Any] | Refusal | msgspec.Struct

AWAY = Refusal(Code.STORAGE_UNAVAILABLE, "The database is out of reach; the same key finds out")
NOT_RECALLED = Refusal(Code.INTERNAL, "Something went wrong on our side; the same key finds out what became of it")


class SocketReply:
    """Sends the answer to one command over the connection that the command came from."""

    __slots__ = ("_outlet", "_ref")

    def __init__(self, outlet: Outlet, ref: str | None) -> None:
        self._outlet = outlet
        self._ref = ref

    def deliver(self, result: Result) -> None:
        """Send the result as `ok`, `error` or an event of its own, with the command's `ref`.

        A dict becomes `ok`, a Refusal becomes `error` with the fields of a problem document, and a struct is sent as
        it is. If the connection is closed, the answer is lost; the client resumes and sends the command again.
        """
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
        """The field `ref`, if the command had one."""
        return {} if self._ref is None else {"ref": self._ref}


class JoinReply(SocketReply):
    """Sends the answer to a join, with the ICE servers of the joining user.

    The room does not know them: they contain a TURN password of this user.
    """

    __slots__ = ("_ice_servers",)

    def __init__(self, outlet: Outlet, ref: str | None, ice_servers: list[dict[str, Any]]) -> None:
        super().__init__(outlet, ref)
        self._ice_servers = ice_servers

    def deliver(self, result: Result) -> None:
        """Send the result; a `room:joined` gets the ICE servers."""
        if isinstance(result, RoomJoined):
            result = msgspec.structs.replace(result, ice_servers=self._ice_servers)
        super().deliver(result)


class RejoinReply(JoinReply):
    """Sends the answer to a rejoin, for which no command asked: an error names the channel instead of a `ref`."""

    __slots__ = ("_channel",)

    def __init__(self, outlet: Outlet, channel: str, ice_servers: list[dict[str, Any]]) -> None:
        super().__init__(outlet, None, ice_servers)
        self._channel = channel

    def _echo(self) -> dict[str, str]:
        return {"channel": self._channel}


class AdmissionReply:
    """Passes on the answer to a join, and updates the session's membership first.

    `on_admission` is called if the room admitted the session, `on_refusal` if it refused it. The order matters: when
    the client reads the answer, its next command must find the membership as the answer says.
    """

    def __init__(self, reply: Reply, on_admission: Callable[[], None], on_refusal: Callable[[], None]) -> None:
        self._reply = reply
        self._on_admission = on_admission
        self._on_refusal = on_refusal

    def deliver(self, result: Result) -> None:
        """Update the membership, and pass the result on."""
        if isinstance(result, Refusal):
            self._on_refusal()
        else:
            self._on_admission()
        self._reply.deliver(result)


class KeyedReply:
    """Passes on the answer to a command with an idempotency key.

    Before a refusal is sent, the key is looked up: an earlier command with this key may have succeeded, and is then
    answered with its outcome.
    """

    def __init__(self, reply: Reply, recall: Callable[[Refusal], Awaitable[Result]], spawn: Spawn) -> None:
        """`recall` looks the key up, and returns the earlier outcome or the refusal that it was given.

        If it raises StorageUnavailable, the answer is STORAGE_UNAVAILABLE; after any other exception it is INTERNAL.
        `spawn` starts a task for the look-up, so that the room does not wait for the database.
        """
        self._reply = reply
        self._recall = recall
        self._spawn = spawn

    def deliver(self, result: Result) -> None:
        """Pass a success on; look the key up before a refusal is passed on."""
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
    """Hands the answer to a task that waits for it, such as that of a REST request."""

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._result: Result = Refusal(Code.STORAGE_UNAVAILABLE, "The answer did not come in time")

    def deliver(self, result: Result) -> None:
        """Keep the result, and wake the task in `wait`."""
        self._result = result
        self._answered.set()

    async def wait(self, seconds: float) -> Result:
        """Wait for the answer; STORAGE_UNAVAILABLE after `seconds`. The command may still be carried out.

        The same holds after cancellation. The client finds the outcome by sending the request again under its key.
        """
        with trio.move_on_after(seconds):
            await self._answered.wait()
        return self._result
