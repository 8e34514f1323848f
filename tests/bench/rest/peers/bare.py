"""The two layers below halfminute's REST surface, without it: `python bare.py hypercorn|quart PORT`.

Both answer each request with one small JSON document, over hypercorn's own server under trio.
"""

import sys
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

BODY = b'{"status":"ok"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer as an ASGI app without a framework."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY, "more_body": False})


def make_quart() -> QuartTrio:
    """Return a Quart app with one route."""
    app = QuartTrio(__name__)

    @app.get("/")
    async def show() -> tuple[bytes, int, dict[str, str]]:
        return BODY, 200, {"Content-Type": "application/json"}

    return app


async def main(framework: str, port: str) -> None:
    """Serve until the process is killed."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = None
    app: Any = answer if framework == "hypercorn" else make_quart()
    await serve(app, config)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
