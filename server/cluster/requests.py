"""Requests to one other server over the bus, and its answers."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from uuid import UUID

import msgspec
import trio

from server.cluster.bus import Bus
from server.observability.faults import Faults

ASKED_MAX = 1000  # requests that wait for an answer: more than a server serves at once
SERVED_MAX = 100  # requests of other servers at once: as many as they keep the database busy with
QUEUED_MAX = 1000  # requests of other servers that wait; further ones are not answered

Answer = Callable[[bytes], Awaitable[bytes]]


class NoAnswer(Exception):
    """The other server did not answer in time. It may have carried out the request, or may do so still."""


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A request on its way, with the server that asks and its number there."""

    server_id: UUID
    number: int
    content: bytes


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the request of this number."""

    number: int
    content: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_question = msgspec.msgpack.Decoder(Question).decode
_decode_reply = msgspec.msgpack.Decoder(Reply).decode


class Requests:
    """Asks other servers, and answers them. Each server has a subject for requests, and one for replies."""

    def __init__(self, bus: Bus, server_id: UUID, faults: Faults) -> None:
        self._bus = bus
        self._server_id = server_id
        self._faults = faults
        self._numbers = count(1)
        self._asked: dict[int, _Asked] = {}
        self._arriving, self._arrived = trio.open_memory_channel[Question](QUEUED_MAX)
        bus.subscribe(_requests_of(server_id), self._receive)
        bus.subscribe(_replies_to(server_id), self._note_reply)

    async def ask(self, server_id: UUID, content: bytes, seconds: float) -> bytes:
        """Return what the other server answers. Raises NoAnswer, after `seconds` at the latest."""
        number, asked = next(self._numbers), _Asked()
        question = _encode(Question(self._server_id, number, content))
        if len(self._asked) >= ASKED_MAX or not self._bus.publish(_requests_of(server_id), question):
            raise NoAnswer
        self._asked[number] = asked
        try:
            with trio.move_on_after(seconds):
                await asked.answered.wait()
        finally:
            del self._asked[number]
        if asked.content is None:
            raise NoAnswer
        return asked.content

    async def serve(self, answer: Answer) -> None:
        """Answer the requests of other servers by `answer` until cancelled; one that raises is not answered."""
        limit = trio.CapacityLimiter(SERVED_MAX)
        async with trio.open_nursery() as nursery:
            async for question in self._arrived:
                await limit.acquire_on_behalf_of(question)
                nursery.start_soon(self._answer, question, answer, limit)

    async def _answer(self, question: Question, answer: Answer, limit: trio.CapacityLimiter) -> None:
        try:
            with self._faults.contained("bus"):
                reply = Reply(question.number, await answer(question.content))
                self._bus.publish(_replies_to(question.server_id), _encode(reply))
        finally:
            limit.release_on_behalf_of(question)

    def _receive(self, message: bytes) -> None:
        with suppress(trio.WouldBlock):  # the other server has a deadline
            self._arriving.send_nowait(_decode_question(message))

    def _note_reply(self, message: bytes) -> None:
        reply = _decode_reply(message)
        asked = self._asked.get(reply.number)
        if asked is not None:
            asked.content = reply.content
            asked.answered.set()


class _Asked:
    """A request that waits for its answer."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.content: bytes | None = None


def _requests_of(server_id: UUID) -> str:
    return f"servers.{server_id}.requests"


def _replies_to(server_id: UUID) -> str:
    return f"servers.{server_id}.replies"
