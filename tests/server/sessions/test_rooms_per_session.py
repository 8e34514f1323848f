"""A session may be in a bounded number of rooms at once."""

import trio

from server.context import Context
from tests.support.servers import add_creator, add_fan, online, phone_of, running_server, with_section


async def test_one_room_more_than_is_allowed_is_refused_until_another_is_left(dsn: str) -> None:
    async with running_server(dsn, with_section("websocket", rooms_per_session=2)) as context:
        first, second, third = [await _live_channel(context) for _ in range(3)]
        async with online(context, await add_fan(context, 0)) as fan:

            def story() -> None:
                assert fan.join(first)["type"] == fan.join(second)["type"] == "room:joined"
                assert fan.join(third)["error"] == "OVERLOADED"
                fan.ask_ok({"type": "room:leave", "channel": first})
                assert fan.join(third)["type"] == "room:joined"

            await trio.to_thread.run_sync(story)


async def _live_channel(context: Context) -> str:
    with phone_of(context, await add_creator(context, 60)).http as web:
        announced = await trio.to_thread.run_sync(
            lambda: web.post("/streams", json={"title": "Live", "type": "public"})
        )
        stream = announced.json()["stream"]
        await trio.to_thread.run_sync(web.post, f"/streams/{stream['id']}/start")
        return str(stream["channel"])
