"""Idle sessions in a process: real connections, protocol and room task, with rules that admit every session.

`python -m tests.bench.fanout.joined PORT`, until standard input ends.
"""

import sys
from functools import partial
from typing import Any, cast
from uuid import UUID

import trio

from domain.ids import RoomId, UserId
from domain.protocol.events import Person, RoomJoined
from domain.room import effects, inputs
from domain.stream.record import StreamFacts
from server.config.listen_address import Address
from server.config.secrets import Secrets
from server.config.settings import LimitSettings, Settings
from server.context import Context
from server.gateway.connection import serve_connection
from server.gateway.connection_limits import ConnectionLimits
from server.gateway.listener import Listener, open_listener
from server.observability.memory import freeze_objects
from server.rooms.ownership import Ownership
from server.rooms.room import RoomRecovery
from server.sessions.heartbeat import run_heartbeat
from storage.postgres import Postgres
from tests.bench.fanout.ours import CHANNEL
from tests.bench.trusted import Trusted
from tests.support.clients import SECRET


class Lobby:
    """Rules of a room that every session may join."""

    over = settled = False

    def handle(self, given: inputs.Input, at: int) -> list[effects.Effect]:
        if not isinstance(given, inputs.Joined):
            return []
        joined = RoomJoined(
            channel=CHANNEL,
            room={},
            member_id=given.member_id,
            members=[],
            history=[],
            epoch=1,
            seq=0,
            you={},
            ice_servers=[],
        )
        return [effects.Admit(given.member_id, given.reply, joined)]

    def next_deadline(self) -> None:
        return None


async def _save(record: Any) -> bool:
    raise AssertionError("there is nothing to store")


class Known:
    """A database in which every user exists, and nothing else."""

    async def fetchrow(self, query: str, user_id: UserId) -> dict[str, str]:
        return {"display_name": "somebody", "email": ""}


def open_room(context: Context) -> None:
    facts = StreamFacts(RoomId(UUID(int=0)), CHANNEL, Person(UUID(int=1), "nobody"), "lobby", "public", None, None, 0)
    room = context.room_factory.room(facts, cast(RoomRecovery, None))  # this room never crashes
    room.ownership = Ownership(Trusted())
    context.registry.start(room, context.room_factory.task(room, Lobby(), 1, _save))


async def main(port: int) -> None:
    """Serve sessions without a ledger."""
    async with trio.open_nursery() as nursery:
        many_from_here = Settings(limits=LimitSettings(exempt=("127.0.0.1/32",)))
        context = Context(many_from_here, Secrets(jwt_secret=SECRET), cast(Postgres, Known()), nursery)
        settings = context.settings.websocket
        open_room(context)
        listener = open_listener(Address("127.0.0.1", port))
        limits = ConnectionLimits(settings.connections, 100)
        accepting = Listener(
            listener,
            partial(serve_connection, context),
            limits,
            settings.send_buffer_bytes,
            context.faults,
            context.memory,
        )
        nursery.start_soon(accepting.run, nursery)
        nursery.start_soon(context.idle_sockets.run)
        nursery.start_soon(
            run_heartbeat, context.sessions, settings.presence_seconds, context.faults, context.clock.stalls
        )
        freeze_objects()
        print("LISTENING", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
