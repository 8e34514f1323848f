"""A live room of honest members, who send messages and must receive every event during an attack."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial

import trio

from server.broadcast.codec import Encoding
from server.ids import new_uuid
from server.loadtest.rest import RestClient
from server.loadtest.users import LoadUsers
from tests.torture.member import Member, wait_all
from tests.torture.raw import Target
from tests.torture.story import check_stories

FANS = 5
HISTORY_EVENTS = 60  # more than a new member receives as history


@asynccontextmanager
async def honest_room(http_port: int, websocket_port: int, secret: str) -> AsyncIterator[Target]:
    """Yield a room with a creator and fans in alternating subprotocols; at the end, check the events they received."""
    with closing(RestClient(f"http://127.0.0.1:{http_port}")) as rest:
        async with trio.open_nursery() as nursery:
            accounts = LoadUsers(secret, rest)
            users = [new_uuid() for _ in range(1 + FANS)]
            members = [
                Member(nursery, user, accounts.token_of(user), websocket_port, encoding)
                for user, encoding in zip(users, list(Encoding) * len(users), strict=False)
            ]
            creator, *fans = members
            await accounts.make_creator(creator.token, 1)
            for fan in fans:
                await rest.ask("GET", "/me", fan.token)
                await accounts.give_tokens(fan.user_id)
            asked = {"title": "What a day", "type": "public"}
            stream = (await rest.ask("POST", "/streams", creator.token, asked))["stream"]
            await rest.ask("POST", f"/streams/{stream['id']}/start", creator.token)
            async with _send_events(nursery, members, stream["channel"]):
                yield Target(websocket_port, secret, stream["channel"])
            await rest.ask("POST", f"/streams/{stream['id']}/end", creator.token)
            await wait_all(members, lambda member: member.story.is_over)
            nursery.cancel_scope.cancel()
    _check(members)


@asynccontextmanager
async def _send_events(nursery: trio.Nursery, members: list[Member], channel: str) -> AsyncIterator[None]:
    """Run all members but the creator until the context ends."""
    for member in members:
        nursery.start_soon(member.run, channel)
        await wait_all([member], lambda member: member.inside)
    over = trio.Event()
    async with trio.open_nursery() as sending:
        for member in members[1:]:
            sending.start_soon(partial(member.send_events, channel, random.Random(), over))
        await wait_all(members, lambda member: member.story.visits[0].last_seq > HISTORY_EVENTS)
        yield
        over.set()


def _check(members: list[Member]) -> None:
    """Check that no member lost the connection, missed an event, or had to repeat a command."""
    check_stories(member.story for member in members)
    for member in members:
        assert not member.close_codes and len(member.story.visits) == 1
        assert sum(1 for _ in member.story.events_of("tip:new")) == sum(len(each.acknowledged) for each in members)
    print(f"{len(members)} honest members heard {members[0].story.visits[0].last_seq} events")
