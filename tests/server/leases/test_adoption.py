"""Live rows from which no room can be built are ended, and harm neither the server nor the other rooms."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
import trio

from domain.ids import UserId
from domain.stream.stream import Stream
from server.context import Context
from server.rooms.leases import adoption
from server.rooms.lifecycle import RoomLifecycle
from storage.postgres import open_postgres
from tests.support.clients import go_live, ring_and_join
from tests.support.faults import PlantedFault, errors_logged, faults_at
from tests.support.servers import add_creator, add_fan, online, running_server

in_thread = trio.to_thread.run_sync


class Couple:
    """A fan and a creator who were in a call as their server stopped."""

    def __init__(self, fan: UserId, creator: UserId, ring: dict[str, Any]) -> None:
        self.fan = fan
        self.creator = creator
        self.call_id: str = ring["callId"]
        self.channel: str = ring["channel"]


async def add_couple(context: Context) -> Couple:
    fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
    async with online(context, fan) as fans, online(context, creator) as creators:
        ring = await in_thread(partial(ring_and_join, fans, creators))
        await in_thread(partial(fans.wait_for, "block:charged", blockNo=1))
    return Couple(fan, creator, ring)


async def spoil(dsn: str, couple: Couple) -> None:
    """Change the row, while no server runs, to a value that the rules cannot read."""
    async with open_postgres(dsn, pool_size=1) as postgres:
        await postgres.execute("UPDATE calls SET accepted_at = 'infinity' WHERE id = $1", UUID(couple.call_id))


async def end_reason(context: Context, table: str, room_id: str) -> str:
    """Return why it ended, once it has."""
    with trio.fail_after(20):
        while True:
            rows = await context.postgres.fetch(f"SELECT end_reason FROM {table} WHERE id = $1", UUID(room_id))
            if rows[0][0] is not None:
                return str(rows[0][0])
            await trio.sleep(0.05)


async def test_a_call_whose_row_the_rules_refuse_is_ended_and_the_others_are_adopted(dsn: str) -> None:
    async with running_server(dsn) as context:
        broken, sound = await add_couple(context), await add_couple(context)
    await spoil(dsn, broken)
    with errors_logged() as errors:
        async with running_server(dsn) as context:
            assert await end_reason(context, "calls", broken.call_id) == "server_fault"
            assert errors.events == ["adoption.fault"] * 4, "as often as a room may crash, and once more"
            assert {line["room"] for line in errors} == {broken.call_id}
            assert faults_at(context, "adoption") == 4
            async with online(context, sound.fan) as fans, online(context, sound.creator) as creators:
                for phone in (fans, creators):
                    assert (await in_thread(partial(phone.join, sound.channel)))["type"] == "room:joined"
                await in_thread(partial(fans.wait_for, "call:resumed"))
            async with online(context, broken.fan) as fans, online(context, broken.creator) as creators:
                again = await in_thread(partial(ring_and_join, fans, creators))
                assert again["callId"] != broken.call_id, "its parties are free for another call"


async def test_a_stream_whose_rules_raise_is_ended_by_the_periodic_adoption(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Stream.__init__

    def faulty(self: Stream, facts: Any, *others: Any) -> None:
        if facts.title == "broken":
            raise PlantedFault
        begin(self, facts, *others)

    async with running_server(dsn) as context:
        async with running_server(dsn) as other:
            creator, second = await add_creator(other, 60), await add_creator(other, 60)
            async with online(other, creator) as cleo, online(other, second) as carla:
                broken = await in_thread(partial(go_live, cleo, title="broken"))
                sound = await in_thread(partial(go_live, carla, title="sound"))
        monkeypatch.setattr(Stream, "__init__", faulty)
        with errors_logged() as errors:
            assert await end_reason(context, "streams", broken["id"]) == "server_fault"
        assert errors.events == ["adoption.fault"] * 4
        assert context.registry.find_channel(sound["channel"]) is not None
        assert context.registry.find_channel(broken["channel"]) is None
        assert context.adoption.known() == context.registry.ids(), "nothing is being tried any more"


async def test_a_row_that_cannot_be_ended_is_left_alone_until_the_next_start(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the log would fill with the same line every few seconds."""
    tried = trio.Event()

    async def broken(self: RoomLifecycle[Any, Any], room_id: Any) -> None:
        tried.set()
        raise PlantedFault

    async with running_server(dsn) as context:
        couple = await add_couple(context)
    await spoil(dsn, couple)
    monkeypatch.setattr(adoption, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(RoomLifecycle, "end_unread", broken)
    with errors_logged() as errors:
        async with running_server(dsn) as context:
            with trio.fail_after(20):
                await tried.wait()
            await errors.wait(5)
            await context.postgres.execute("UPDATE rooms SET created_at = created_at - interval '1 hour'")
            assert await context.orphans.adopt() == 0
    assert errors.events == ["adoption.fault"] * 4 + ["room_end.fault"]
