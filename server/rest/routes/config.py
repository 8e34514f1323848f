"""The public settings that clients need before they connect."""

import msgspec

from server.addresses import HOST_AND_PORT
from server.config.timings import Timings, timings_of
from server.rest.request import Request
from server.rest.route import Needs, Routes

OURSELVES = "127.0.0.1"

routes = Routes("/api/config")


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
        websocket_url=websocket_url(request),
        block_seconds=settings.calls.block_seconds,
        block_rounding=settings.calls.block_rounding,
        currency=settings.packs.currency,
        stun_servers=settings.media.stun_servers,
        timings=timings_of(settings),
    )


def websocket_url(request: Request) -> str:
    """Return the address of the websocket for the client of this request."""
    return request.context.settings.websocket.public_url or _own_url(request)


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
