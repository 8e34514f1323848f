"""A session is in so many rooms at once, and no more."""

import trio

from server.context import House
from tests.support.servers import add_creator, add_fan, online, phone_of, running_house, with_section


async def test_one_room_more_than_is_allowed_is_refused_until_another_is_left(dsn: str) -> None:
    async with running_house(dsn, with_section("websocket", rooms_per_session=2)) as house:
        first, second, third = [await _live_channel(house) for _ in range(3)]
        async with online(house, await add_fan(house, 0)) as fan:

            def story() -> None:
                assert fan.join(first)["type"] == fan.join(second)["type"] == "room:joined"
                assert fan.join(third)["error"] == "OVERLOADED"
                fan.ask_ok({"type": "room:leave", "channel": first})
                assert fan.join(third)["type"] == "room:joined"

            await trio.to_thread.run_sync(story)


async def _live_channel(house: House) -> str:
    with phone_of(house, await add_creator(house, 60)).http as web:
        announced = await trio.to_thread.run_sync(
            lambda: web.post("/streams", json={"title": "Live", "type": "public"})
        )
        stream = announced.json()["stream"]
        await trio.to_thread.run_sync(web.post, f"/streams/{stream['id']}/start")
        return str(stream["channel"])
