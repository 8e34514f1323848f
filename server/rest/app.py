"""The HTTP side of the house."""

import socket
from typing import TYPE_CHECKING

from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

if TYPE_CHECKING:
    from server.app import House


def make_app(house: "House") -> QuartTrio:
    app = QuartTrio("halfminute")

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def serve_http(house: "House", sock: socket.socket) -> None:
    """Until cancelled."""
    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.accesslog = config.errorlog = None
    await serve(make_app(house), config)  # type: ignore[arg-type]
