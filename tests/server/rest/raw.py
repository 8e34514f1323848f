"""HTTP as bytes, for requests that no regular client sends."""

import trio

from server.context import Context
from tests.support.clients import PATIENCE_SECONDS


async def exchange(context: Context, request: bytes) -> bytes:
    """Return all that comes back until the server closes; what is not read before that may be lost."""
    stream = await trio.open_tcp_stream("127.0.0.1", context.http_port)
    async with stream:
        answer = bytearray()
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                await stream.send_all(request)
                async for chunk in stream:
                    answer += chunk
            except trio.BrokenResourceError:
                pass
        return bytes(answer)
