"""The public settings that clients need before they connect."""

import msgspec

from server.addresses import HOST_AND_PORT
from server.config.settings import Settings
from server.rest.request import Request
from server.rest.route import Needs, Routes

OURSELVES = "127.0.0.1"

routes = Routes("/api/config")


class Timings(msgspec.Struct, frozen=True, rename="camel"):
    """The times of this server that a client shows or waits for, in seconds."""

    ring_seconds: float
    join_seconds: float
    drop_grace_seconds: float
    drop_limit_seconds: float
    pause_limit_seconds: float
    presence_seconds: float
    ping_timeout_seconds: float
    session_seconds: float
    stream_drop_limit_seconds: float
    ticket_release_seconds: float


class PublicConfig(msgspec.Struct, frozen=True, rename="camel"):
    """The address of the websocket, the rules of blocks, the currency of token packs, STUN servers, and timings."""

    websocket_url: str
    block_seconds: int
    block_rounding: str
    currency: str  # of token packs
    stun_servers: tuple[str, ...]
    timings: Timings


@routes.get(needs=Needs.ANYONE)
async def show_config(request: Request) -> PublicConfig:
    """The public settings, which clients read before they connect."""
    settings = request.context.settings
    return PublicConfig(
        websocket_url=settings.websocket.public_url or _own_url(request),
        block_seconds=settings.calls.block_seconds,
        block_rounding=settings.calls.block_rounding,
        currency=settings.packs.currency,
        stun_servers=settings.media.stun_servers,
        timings=_timings(settings),
    )


def _timings(settings: Settings) -> Timings:
    calls, websocket, streams = settings.calls, settings.websocket, settings.streams
    return Timings(
        ring_seconds=calls.ring_seconds,
        join_seconds=calls.join_seconds,
        drop_grace_seconds=calls.drop_grace_seconds,
        drop_limit_seconds=calls.drop_limit_seconds,
        pause_limit_seconds=calls.pause_limit_seconds,
        presence_seconds=websocket.presence_seconds,
        ping_timeout_seconds=websocket.ping_timeout_seconds,
        session_seconds=websocket.session_seconds,
        stream_drop_limit_seconds=streams.stream_drop_limit_seconds,
        ticket_release_seconds=streams.ticket_release_seconds,
    )


def _own_url(request: Request) -> str:
    """Build the websocket address when `websocket.public_url` is not set.

    Behind a trusted proxy it is `/ws` at the host that the client used: the proxy serves both ports under one name.
    Else it is the websocket port at the host of the request.
    """
    given = request.headers.get("Host", "")
    host = HOST_AND_PORT.fullmatch(given)
    origin = request.origin
    if origin != (None, None):
        return f"{'wss' if origin.secure else 'ws'}://{origin.host or (host and given) or OURSELVES}/ws"
    return f"ws://{host[1] if host else OURSELVES}:{request.context.websocket_port}/ws"
