"""A story on two servers: a creator's live stream on the first one, and devices on the second."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from server.context import Context
from server.ids import new_uuid
from tests.server.cluster.conftest import Pair
from tests.support.clients import Phone, go_live
from tests.support.servers import add_creator, add_fan, online, phone_of

in_thread = trio.to_thread.run_sync


def done(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


class Story:
    """A creator with a live stream on the first server, and a viewer in it; both have a device on the second one."""

    def __init__(self, cleo: Phone, finn: Phone, stream: dict[str, Any], second: Context) -> None:
        self.cleo, self.finn, self.stream = cleo, finn, stream
        self.cleo_elsewhere, self.finn_elsewhere = (device(second, phone) for phone in (cleo, finn))
        self.operator_elsewhere = phone_of(second, new_uuid(), role="operator").http

    def close(self) -> None:
        for client in (self.cleo_elsewhere, self.finn_elsewhere, self.operator_elsewhere):
            client.close()

    def join(self) -> str:
        """Return the type of the answer."""
        return str(self.finn.join(self.stream["channel"])["type"])


def device(context: Context, phone: Phone) -> httpx.Client:
    assert phone.user_id is not None
    return phone_of(context, phone.user_id).http


@asynccontextmanager
async def a_story(pair: Pair, **terms: Any) -> AsyncIterator[Story]:
    creator, fan = await add_creator(pair.first, 60), await add_fan(pair.first, 100)
    async with online(pair.first, creator) as cleo, online(pair.first, fan) as finn:
        stream = await in_thread(lambda: go_live(cleo, **terms))
        story = Story(cleo, finn, stream, pair.second)
        try:
            yield story
        finally:
            story.close()
