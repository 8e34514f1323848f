"""The public settings: what a client must know before it can do anything."""

import re

import msgspec

from server.rest.request import Ask
from server.rest.route import Needs, Routes

routes = Routes("/api/config")


class PublicConfig(msgspec.Struct, frozen=True, rename="camel"):
    websocket_url: str
    block_seconds: int
    block_rounding: str
    currency: str  # of token packs
    stun_servers: tuple[str, ...]


@routes.get(needs=Needs.ANYONE)
async def show_config(ask: Ask) -> PublicConfig:
    """Public settings."""
    settings = ask.house.settings
    return PublicConfig(
        websocket_url=settings.websocket.public_url or _own_url(ask),
        block_seconds=settings.calls.block_seconds,
        block_rounding=settings.calls.block_rounding,
        currency=settings.packs.currency,
        stun_servers=settings.media.stun_servers,
    )


def _own_url(ask: Ask) -> str:
    """Without a public address: the host that the client reached us by, and the websocket's port."""
    named = _HOST.match(ask.headers.get("Host", ""))
    return f"ws://{named[0] if named else '127.0.0.1'}:{ask.house.websocket_port}/ws"


_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+")
