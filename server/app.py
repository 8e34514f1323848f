"""Opens the floors in order, and drains them in reverse."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from server.config.listen_address import parse_address
from server.config.settings import Secrets, Settings
from server.context import House
from server.gateway.connection import serve_connection
from server.gateway.connection_limits import ConnectionLimits
from server.gateway.listener import Listener, ListeningSockets, open_listener
from server.gateway.protocol import DRAINING
from server.maintenance import keep_house
from server.rest.app import serve_http
from server.sessions.heartbeat import keep_pulse
from storage.migrate import migrate
from storage.postgres import Refused, StorageUnavailable, open_postgres

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_house(settings: Settings, secrets: Secrets, dsn: str, *, alone: bool) -> AsyncIterator[House]:
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
            async with trio.open_nursery() as storage_floor, trio.open_nursery() as rooms_floor:
                house = House(settings, secrets, postgres, rooms_floor)
                await house.lease.renew()
                await house.bans.keep_out()
                storage_floor.start_soon(house.actor.run)
                keep_running = house.faults.keep_running
                rooms_floor.start_soon(keep_running, "alarm", house.room_floor.alarm.run)
                rooms_floor.start_soon(keep_running, "stalls", house.stall_recovery.run)
                rooms_floor.start_soon(house.lease.run)
                await house.orphans.adopt(alone=alone)
                rooms_floor.start_soon(keep_running, "maintenance", partial(keep_house, house))
                async with trio.open_nursery() as sockets_floor:
                    await sockets_floor.start(
                        house.faults.keep_started, "keys", house.verifier.run
                    )  # keys first, or early callers are turned away
                    _open_doors(house, sockets_floor, http, websocket)
                    try:
                        yield house
                    finally:
                        await _drain(house)
                        house.http_closing.set()
                        for floor in (sockets_floor, rooms_floor, storage_floor):
                            floor.cancel_scope.cancel()
                        house.actor.abandon()


def _open_doors(house: House, floor: trio.Nursery, http: ListeningSockets, websocket: ListeningSockets) -> None:
    settings = house.settings.websocket
    house.http_port, house.websocket_port = http.port, websocket.port
    limits = ConnectionLimits(settings.connections, *house.settings.counted_by_address)
    listener = Listener(
        websocket,
        partial(serve_connection, house),
        limits,
        settings.send_buffer_bytes,
        house.faults,
        house.memory,
    )
    floor.start_soon(listener.run, floor)
    floor.start_soon(serve_http, house, http)
    pulse = partial(keep_pulse, house.sessions, settings.presence_seconds, house.faults, house.clock.stalls)
    floor.start_soon(house.faults.keep_running, "heartbeat", pulse)


async def _drain(house: House) -> None:
    """Take no more calls, let what is in flight commit, tell the clients, and let go of the rooms."""
    house.draining = True
    log.info("server.draining", rooms=len(house.registry), connections=house.sessions.connected)
    settings = house.settings
    ends_at = trio.current_time() + settings.server.drain_seconds
    goodbye_seconds = min(settings.websocket.close_seconds, settings.server.drain_seconds / 2)
    with trio.CancelScope(shield=True, deadline=ends_at - goodbye_seconds) as booking:
        await house.registry.drain()
        house.actor.close()
        await house.actor.finished.wait()
    if booking.cancelled_caught:
        log.warning("server.drained_in_part", rooms=len(house.registry), postings=house.actor.waiting)
    with trio.CancelScope(shield=True, deadline=ends_at):  # books that do not answer keep no client from its goodbye
        await house.sessions.say_goodbye(DRAINING, "shutting down")
        await _release_lease(house)


async def _release_lease(house: House) -> None:
    try:
        await house.lease.release()
    except (StorageUnavailable, Refused):
        log.warning("lease.not_released")
