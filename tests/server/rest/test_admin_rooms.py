"""Operators see any call and any stream, with its timeline and its blocks."""

from typing import Any

import trio

from domain.ids import RoomId
from server.context import Context
from server.ids import new_channel, new_uuid
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import SOMEBODY, check
from tests.storage.ledger_pair import block, make_stream
from tests.support.clients import PATIENCE_SECONDS


async def steps(operator: Caller, path: str) -> list[tuple[str, str | None]]:
    """Return the names and reasons of a timeline, after a check of its order."""
    timeline = (await operator.get(path)).json()["timeline"]
    assert [step["at"] for step in timeline] == sorted(step["at"] for step in timeline)
    return [(step["step"], step["reason"]) for step in timeline]


async def steps_with(operator: Caller, path: str, last: str) -> list[tuple[str, str | None]]:
    """Return the steps once `last` is stored: neither an event nor an answer waits for that."""
    with trio.fail_after(PATIENCE_SECONDS):
        while (found := await steps(operator, path))[-1][0] != last:  # noqa: ASYNC110  # reason: no event tells
            await trio.sleep(0.01)
    return found


async def test_a_call_has_its_timeline_and_its_blocks(users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(1000), await users.creator()
    call_id, _, _ = await users.start_call(fan, creator)
    path, begun = f"/admin/calls/{call_id}", [("ringing", None), ("accepted", None), ("started", None)]
    assert await steps_with(operator, path, "started") == begun
    assert (await creator.post(f"/billing/{call_id}/pause")).status_code == 200
    live = (await operator.get(path)).json()
    assert (live["call"]["status"], live["call"]["holds"]) == ("paused", ["creator"])
    assert (await fan.post(f"/billing/{call_id}/stop")).status_code == 200
    assert (await steps_with(operator, path, "ended"))[-1] == ("ended", "hangup")
    billing = (await fan.get(f"/billing/{call_id}")).json()
    details = (await operator.get(path)).json()
    assert {name: details[name] for name in ("call", "blocks", "totals")} == {
        name: billing[name] for name in ("call", "blocks", "totals")
    }
    assert len(details["blocks"]) >= 1 and details["epoch"] == 1
    times = {step["step"]: step["at"] for step in details["timeline"]}
    assert {name: details["call"][name] for name in ("createdAt", "acceptedAt", "startedAt", "endedAt")} == {
        "createdAt": times["ringing"],
        "acceptedAt": times["accepted"],
        "startedAt": times["started"],
        "endedAt": times["ended"],
    }


async def test_a_call_that_nobody_accepted_says_why(users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(100), await users.online_creator()
    call_id = (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json()["callId"]
    path = f"/admin/calls/{call_id}"
    assert await steps(operator, path) == [("ringing", None)]
    assert (await creator.post(f"/calls/{call_id}/decline")).status_code == 200
    assert await steps_with(operator, path, "ended") == [("ringing", None), ("ended", "declined")]
    assert (await operator.get(path)).json()["blocks"] == []


async def test_a_stream_has_its_timeline(users: Users) -> None:
    operator, creator = await users.operator(), await users.creator()
    stream = (await creator.post("/streams", {"title": "Live", "type": "public"})).json()["stream"]
    path = f"/admin/streams/{stream['id']}"
    assert await steps(operator, path) == [("scheduled", None)]
    await users.phone(creator)
    assert (await creator.post(f"/streams/{stream['id']}/start")).status_code == 200
    assert await steps_with(operator, path, "live") == [("scheduled", None), ("live", None)]
    assert (await creator.post(f"/streams/{stream['id']}/end")).status_code == 200
    ended = [("scheduled", None), ("live", None), ("ended", "ended")]
    assert await steps_with(operator, path, "ended") == ended
    details = (await operator.get(path)).json()
    assert details["stream"] == (await creator.get(f"/streams/{stream['id']}")).json()["stream"]
    assert (details["muted"], details["removed"], details["ticketsReleased"]) == ([], [], False)


async def test_the_blocks_of_a_stream_are_those_of_all_viewers_or_of_one(context: Context, users: Users) -> None:
    operator, creator = await users.operator(), await users.creator()
    viewers, stream = [await users.fan(100) for _ in range(2)], RoomId(new_uuid())
    await context.postgres.execute(
        "INSERT INTO rooms (id, kind, channel, opened) VALUES ($1, 'stream', $2, false)", stream, new_channel()
    )
    await make_stream(context.postgres, stream, creator.user_id)
    for n, viewer in enumerate(viewers, 1):
        insert = "INSERT INTO meters (room_id, payer_id) VALUES ($1, $2)"
        await context.postgres.execute(insert, stream, viewer.user_id)
        for block_no in range(1, n + 2):
            paid = block(stream, viewer.user_id, creator.user_id, block_no)
            assert (await context.actor.post([paid]))[0].paid
    path = f"/admin/streams/{stream}/blocks"

    async def shown(**query: Any) -> list[tuple[str, int]]:
        page = (await operator.get(path, **query)).json()
        assert page["total"] == len(page["items"]) or "limit" in query
        return [(item["counterparty"], item["blockNo"]) for item in page["items"]]

    one, two = (str(viewer.user_id) for viewer in viewers)
    assert await shown() == [(two, 3), (two, 2), (two, 1), (one, 2), (one, 1)]
    assert await shown(userId=one) == [(str(creator.user_id), 2), (str(creator.user_id), 1)]
    assert await shown(userId=str(operator.user_id)) == []
    first = await operator.get(path, limit=3)
    rest = await operator.follow(first.links["next"]["url"])
    assert [item["blockNo"] for item in first.json()["items"] + rest.json()["items"]] == [3, 2, 1, 2, 1]
    middle = (await operator.get(path)).json()["items"][2]["chargedAt"]
    assert len(await shown(**{"from": middle})) + len(await shown(to=middle)) == 5


async def test_an_unknown_room_is_not_found(users: Users) -> None:
    operator, fan, creator = await users.operator(), await users.fan(), await users.online_creator()
    call_id = (await fan.post("/calls/init", {"creatorId": str(creator.user_id)})).json()["callId"]
    stream = (await creator.post("/streams", {"title": "Soon", "type": "public"})).json()["stream"]["id"]
    for path in (f"calls/{SOMEBODY}", f"calls/{stream}", *(f"streams/{room}" for room in (SOMEBODY, call_id))):
        check(await operator.get(f"/admin/{path}"), 404, "NOT_FOUND")
    check(await operator.get(f"/admin/streams/{call_id}/blocks"), 404, "NOT_FOUND")
