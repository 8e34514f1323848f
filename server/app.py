"""Opens the floors in order, and drains them in reverse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from server.close_codes import CloseCode
from server.config.listen_address import parse_address
from server.config.settings import Secrets, Settings
from server.context import Context
from server.gateway.connection import serve_connection
from server.gateway.connection_limits import ConnectionLimits
from server.gateway.listener import Listener, ListeningSockets, open_listener
from server.maintenance import run_maintenance
from server.rest.app import serve_http
from server.sessions.heartbeat import run_heartbeat
from storage.migrate import migrate
from storage.postgres import StatementRefused, StorageUnavailable, open_postgres

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_server(settings: Settings, secrets: Secrets, dsn: str, *, alone: bool) -> AsyncIterator[Context]:
    """A server that takes calls, until the block is left; then it drains, within `drain_seconds`.

    `alone`: no other server can be alive on this database, so what was live is taken up without waiting for leases.
    Raises ListenError, StorageUnavailable, MigrationError.
    """
    with (
        open_listener(parse_address(settings.http.listen)) as http,
        open_listener(parse_address(settings.websocket.listen)) as websocket,
    ):
        async with open_postgres(dsn, pool_size=settings.postgres.pool_size) as postgres:
            await migrate(postgres)
            async with trio.open_nursery() as storage_nursery, trio.open_nursery() as rooms_nursery:
                context = Context(settings, secrets, postgres, rooms_nursery)
                await context.lease.renew()
                await context.bans.apply_changes()
                storage_nursery.start_soon(context.actor.run)
                keep_running = context.faults.keep_running
                rooms_nursery.start_soon(keep_running, "timers", context.room_lifecycle.timers.run)
                rooms_nursery.start_soon(keep_running, "stalls", context.stall_recovery.run)
                rooms_nursery.start_soon(context.lease.run)
                await context.orphans.adopt(alone=alone)
                rooms_nursery.start_soon(keep_running, "maintenance", partial(run_maintenance, context))
                async with trio.open_nursery() as sockets_nursery:
                    await sockets_nursery.start(
                        context.faults.keep_started, "keys", context.verifier.run
                    )  # keys first, or early callers are turned away
                    _open_doors(context, sockets_nursery, http, websocket)
                    try:
                        yield context
                    finally:
                        await _drain(context)
                        context.http_closing.set()
                        for lifecycle in (sockets_nursery, rooms_nursery, storage_nursery):
                            lifecycle.cancel_scope.cancel()
                        context.actor.abandon()


def _open_doors(context: Context, lifecycle: trio.Nursery, http: ListeningSockets, websocket: ListeningSockets) -> None:
    settings = context.settings.websocket
    context.http_port, context.websocket_port = http.port, websocket.port
    limits = ConnectionLimits(settings.connections, *context.settings.counted_by_address)
    listener = Listener(
        websocket,
        partial(serve_connection, context),
        limits,
        settings.send_buffer_bytes,
        context.faults,
        context.memory,
    )
    lifecycle.start_soon(listener.run, lifecycle)
    lifecycle.start_soon(serve_http, context, http)
    pulse = partial(run_heartbeat, context.sessions, settings.presence_seconds, context.faults, context.clock.stalls)
    lifecycle.start_soon(context.faults.keep_running, "heartbeat", pulse)


async def _drain(context: Context) -> None:
    """Take no more calls, let what is in flight commit, tell the clients, and let go of the rooms."""
    context.draining = True
    log.info("server.draining", rooms=len(context.registry), connections=context.sessions.connected)
    settings = context.settings
    ends_at = trio.current_time() + settings.server.drain_seconds
    goodbye_seconds = min(settings.websocket.close_seconds, settings.server.drain_seconds / 2)
    with trio.CancelScope(shield=True, deadline=ends_at - goodbye_seconds) as booking:
        await context.registry.drain()
        context.actor.close()
        await context.actor.finished.wait()
    if booking.cancelled_caught:
        log.warning("server.drained_in_part", rooms=len(context.registry), postings=context.actor.waiting)
    with trio.CancelScope(shield=True, deadline=ends_at):  # books that do not answer keep no client from its goodbye
        await context.sessions.close_all(CloseCode.DRAINING, "shutting down")
        await _release_lease(context)
        await context.payments.aclose()


async def _release_lease(context: Context) -> None:
    try:
        await context.lease.release()
    except (StorageUnavailable, StatementRefused):
        log.warning("lease.not_released")
