"""Starts storage, rooms and sockets in this order, and drains them in reverse order.

Three nested nurseries give each layer a lifetime that ends after that of the layers above it:

    storage_nursery    storage actor
      rooms_nursery    lease, bus, timers, stall recovery, maintenance, one supervised task for each room
        sockets_nursery    signing keys, both listeners, one task for each connection, idle sockets, heartbeat
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import NamedTuple

import structlog
import trio

from server.close_codes import CloseCode
from server.config.listen_address import parse_address
from server.config.secrets import Secrets
from server.config.settings import Settings
from server.context import Context
from server.gateway.connection import serve_connection
from server.gateway.connection_limits import ConnectionLimits
from server.gateway.listener import Listener, ListeningSockets, open_listener
from server.maintenance import run_maintenance
from server.rest.app import serve_http
from server.sessions.heartbeat import run_heartbeat
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.migrate import migrate
from storage.postgres import open_postgres

log = structlog.get_logger(__name__)


class Listeners(NamedTuple):
    """The listening sockets of the REST server and of the websocket."""

    http: ListeningSockets
    websocket: ListeningSockets


@contextmanager
def open_listeners(settings: Settings) -> Iterator[Listeners]:
    """Listen on both addresses inside the block; clients that connect wait until `open_server` accepts them.

    Call it before the database is opened, so that a second server on the same port fails without having created,
    migrated or touched one. Raises ListenError.
    """
    with (
        open_listener(parse_address(settings.http.listen)) as http,
        open_listener(parse_address(settings.websocket.listen)) as websocket,
    ):
        yield Listeners(http, websocket)


@asynccontextmanager
async def open_server(
    settings: Settings, secrets: Secrets, dsn: str, listeners: Listeners, *, alone: bool
) -> AsyncIterator[Context]:
    """Run a server inside the `async with` block. On exit the server drains, within `drain_seconds`.

    The yielded context is ready: the database is migrated, the rooms of dead servers are adopted and both ports accept.
    Clients are served only after the rooms have been adopted.
    `alone` states that no other server uses this database, so that rooms are adopted without waiting for leases to end.
    Drains on cancellation as well; the drain itself is shielded, with a deadline.
    Raises StorageUnavailable, MigrationError. An exception of the storage actor, the lease or a listener cancels the
    block and is raised from here in an exception group: the process cannot serve without them.
    """
    async with open_postgres(dsn, pool_size=settings.postgres.pool_size) as postgres:
        await migrate(postgres)
        async with trio.open_nursery() as storage_nursery, trio.open_nursery() as rooms_nursery:
            context = Context(settings, secrets, postgres, rooms_nursery)
            await context.lease.renew()
            await context.bans.apply_changes()
            storage_nursery.start_soon(context.actor.run)
            keep_running = context.faults.keep_running
            rooms_nursery.start_soon(keep_running, "timers", context.room_factory.timers.run)
            rooms_nursery.start_soon(keep_running, "stalls", context.stall_recovery.run)
            rooms_nursery.start_soon(context.lease.run)
            rooms_nursery.start_soon(keep_running, "bus", context.bus.run)
            await context.orphans.adopt(alone=alone)
            rooms_nursery.start_soon(keep_running, "maintenance", partial(run_maintenance, context))
            async with trio.open_nursery() as sockets_nursery:
                await sockets_nursery.start(
                    context.faults.keep_started, "keys", context.verifier.run
                )  # the signing keys come first: without them every early token would be refused
                _start_listeners(context, sockets_nursery, listeners)
                try:
                    yield context
                finally:
                    await _drain(context)
                    context.http_closing.set()
                    for nursery in (sockets_nursery, rooms_nursery, storage_nursery):
                        nursery.cancel_scope.cancel()
                    context.actor.abandon()


def _start_listeners(context: Context, nursery: trio.Nursery, listeners: Listeners) -> None:
    """Start both listeners, the heartbeat and the reader of idle sockets in this nursery; publish both port numbers.

    A port of the settings may be 0; the context then holds the number that the system chose.
    """
    settings = context.settings.websocket
    context.http_port, context.websocket_port = listeners.http.port, listeners.websocket.port
    limits = ConnectionLimits(settings.connections, *context.settings.counted_by_address)
    listener = Listener(
        listeners.websocket,
        partial(serve_connection, context),
        limits,
        settings.send_buffer_bytes,
        context.faults,
        context.memory,
    )
    nursery.start_soon(listener.run, nursery)
    nursery.start_soon(serve_http, context, listeners.http)
    heartbeat = partial(
        run_heartbeat, context.sessions, settings.presence_seconds, context.faults, context.clock.stalls
    )
    nursery.start_soon(context.faults.keep_running, "heartbeat", heartbeat)
    nursery.start_soon(context.faults.keep_running, "idle_sockets", context.idle_sockets.run)


async def _drain(context: Context) -> None:
    """Refuse new calls, stop the rooms, commit the postings in flight, close the connections, release the lease.

    The commits may take `drain_seconds` without the time that is reserved for the Close frames.
    Calls and streams do not end: their rows stay live, and the next server that starts adopts them. Postings that do
    not commit in time are abandoned. Their idempotency keys allow the adopting server to post the same blocks again.
    """
    context.draining = True
    log.info("server.draining", rooms=len(context.registry), connections=context.sessions.connected)
    settings = context.settings
    ends_at = trio.current_time() + settings.server.drain_seconds
    close_seconds = min(settings.websocket.close_seconds, settings.server.drain_seconds / 2)
    with trio.CancelScope(shield=True, deadline=ends_at - close_seconds) as committing:
        await context.registry.drain()
        context.actor.close()
        await context.actor.finished.wait()
    if committing.cancelled_caught:
        log.warning("server.drained_in_part", rooms=len(context.registry), postings=context.actor.waiting)
    with trio.CancelScope(shield=True, deadline=ends_at):  # close the clients even if the database is away
        await context.sessions.close_all(CloseCode.DRAINING, "shutting down")
        await _release_lease(context)
        await context.payments.aclose()


async def _release_lease(context: Context) -> None:
    """Give the lease back, so that other servers need not wait for its end; a failure is logged and costs only time."""
    try:
        await context.lease.release()
    except (StorageUnavailable, StatementRefused):
        log.warning("lease.not_released")
