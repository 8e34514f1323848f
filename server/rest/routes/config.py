"""The public settings: what a client must know before it can do anything."""

import msgspec

from server.addresses import HOST_AND_PORT
from server.rest.request import Request
from server.rest.route import Needs, Routes

OURSELVES = "127.0.0.1"

routes = Routes("/api/config")


class PublicConfig(msgspec.Struct, frozen=True, rename="camel"):
    websocket_url: str
    block_seconds: int
    block_rounding: str
    currency: str  # of token packs
    stun_servers: tuple[str, ...]


@routes.get(needs=Needs.ANYONE)
async def show_config(request: Request) -> PublicConfig:
    """Public settings."""
    settings = request.context.settings
    return PublicConfig(
        websocket_url=settings.websocket.public_url or _own_url(request),
        block_seconds=settings.calls.block_seconds,
        block_rounding=settings.calls.block_rounding,
        currency=settings.packs.currency,
        stun_servers=settings.media.stun_servers,
    )


def _own_url(request: Request) -> str:
    """Without a public address: as the client's proxy was reached, or else at our own port of the host in the request.

    A proxy that serves both of our ports under one name serves the websocket at `/ws`.
    """
    given = request.headers.get("Host", "")
    host = HOST_AND_PORT.fullmatch(given)
    origin = request.origin
    if origin != (None, None):
        return f"{'wss' if origin.secure else 'ws'}://{origin.host or (host and given) or OURSELVES}/ws"
    return f"ws://{host[1] if host else OURSELVES}:{request.context.websocket_port}/ws"
