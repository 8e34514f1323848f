"""Other servers on one database: this one reports what it cannot do for their rooms, and follows what they decide."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
import trio

from domain.ids import RoomId, UserId
from server.context import Context
from server.ids import new_uuid
from storage.rooms.leases import Leases
from tests.support.clients import Phone, go_live, ring_and_join
from tests.support.servers import add_creator, add_fan, online, running_server, with_section

in_thread = trio.to_thread.run_sync
NOTICED_SECONDS_MAX = 1.0 + 0.5  # contract.md, Access to rooms: one second; half of one for a busy machine
NOBODY = None


@pytest.fixture
async def context(dsn: str) -> AsyncIterator[Context]:
    """A server that stores nothing of its own accord, so that no checkpoint reveals a change by chance."""
    async with running_server(dsn, with_section("server", checkpoint_seconds=600, lease_seconds=600)) as running:
        yield running


async def another_server(context: Context) -> UUID:
    """Register a second server that lives."""
    leases = Leases(context.postgres, new_uuid(), 600)
    await leases.renew()
    return leases.server_id


async def move_rooms(context: Context, owner: UUID | None, *room_ids: str) -> None:
    """Move rooms as if another server had claimed them, or ours had lost them; they close here."""
    ids = [UUID(room_id) for room_id in room_ids]
    await context.postgres.execute(
        "UPDATE rooms SET server_id = $1, epoch = epoch + 1 WHERE id = ANY($2::uuid[])", owner, ids
    )
    await context.lease.fence_lost()
    for room_id in ids:
        room = context.registry.find(RoomId(room_id))
        if room is not None:
            await room.settled.wait()


def answer_of(response: httpx.Response) -> tuple[int, str, bool]:
    """Return status and error, and whether both header and body say when to retry."""
    fields = response.json()
    retry_named = "Retry-After" in response.headers and fields.get("retryAfterSeconds", 0) > 0
    return response.status_code, fields.get("error", ""), retry_named


async def test_a_ban_is_noticed_within_a_second_whatever_the_checkpoint_interval(context: Context) -> None:
    fan, operator = await add_fan(context, 10), await add_fan(context, 0)
    async with online(context, fan) as phone:
        await context.postgres.execute(
            "INSERT INTO bans (id, user_id, reason, banned_by) VALUES ($1, $2, 'rude', $3)", new_uuid(), fan, operator
        )
        banned_at = trio.current_time()
        await in_thread(phone.wait_closed)
        assert phone.close_code == 4403
        assert trio.current_time() - banned_at < NOTICED_SECONDS_MAX


async def test_a_stream_on_another_server_is_neither_ended_nor_started_by_this_one(context: Context) -> None:
    creator, fan = await add_creator(context, 60), await add_fan(context, 10)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        stream = await in_thread(go_live, cleo)
        await move_rooms(context, await another_server(context), stream["id"])
        for action in ("end", "start"):
            answer = await in_thread(cleo.http.post, f"/streams/{stream['id']}/{action}")
            assert answer_of(answer) == (503, "OVERLOADED", True), action
        refused = await in_thread(cleo.join, stream["channel"])
        assert (refused["error"], refused["retryAfterSeconds"] > 0) == ("OVERLOADED", True)
        tip = {"toCreatorId": str(creator), "amountTokens": 1, "context": {"streamId": stream["id"]}}
        answer = await in_thread(partial(finn.http.post, "/tips/send", json=tip))
        assert answer_of(answer) == (503, "OVERLOADED", True)
        await context.postgres.execute("UPDATE rooms SET ended_at = now()")
        await context.postgres.execute("UPDATE streams SET status = 'ended', ended_at = now(), end_reason = 'ended'")
        again = await in_thread(cleo.http.post, f"/streams/{stream['id']}/end")
        assert (again.status_code, again.json()["stream"]["status"]) == (200, "ended")


async def test_a_room_that_waits_to_be_adopted_is_starting(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context.orphans, "adopt", _adopt_nothing)
    fan, creator, star = await add_fan(context, 100), await add_creator(context, 60), await add_creator(context, 60)
    async with online(context, star) as cleo, online(context, fan) as fans, online(context, creator) as creators:
        stream = await in_thread(go_live, cleo)
        call = await in_thread(partial(ring_and_join, fans, creators))
        await move_rooms(context, NOBODY, stream["id"], call["callId"])
        for action in ("end", "start"):
            answer = await in_thread(cleo.http.post, f"/streams/{stream['id']}/{action}")
            assert answer_of(answer) == (503, "ROOM_STARTING", True), action
        for action in ("pause", "resume", "stop"):
            answer = await in_thread(fans.http.post, f"/billing/{call['callId']}/{action}")
            assert answer_of(answer) == (503, "ROOM_STARTING", True), action
        answer = await in_thread(creators.http.post, f"/calls/{call['callId']}/accept")
        assert answer_of(answer) == (503, "ROOM_STARTING", True)
        for phone, channel in ((cleo, stream["channel"]), (fans, call["channel"])):
            refused = await in_thread(phone.join, channel)
            assert (refused["error"], refused["retryAfterSeconds"]) == ("ROOM_STARTING", 1)


async def _adopt_nothing() -> int:
    return 0


async def test_a_stream_that_goes_live_as_it_is_cancelled_ends_as_a_live_one_and_gives_its_tickets_back(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`end` read the stream as scheduled; by the time it acts, the stream is live."""
    creator, fan = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        wanted = {"title": "Talk", "type": "private", "ticketPriceTokens": 40}
        stream = (await in_thread(partial(cleo.http.post, "/streams", json=wanted))).json()["stream"]
        assert (await in_thread(finn.http.post, f"/streams/{stream['id']}/tickets")).status_code == 201
        monkeypatch.setattr(
            "server.rest.routes.streams.end_scheduled_stream", partial(_start_first, cleo, stream["id"])
        )
        ended = await in_thread(cleo.http.post, f"/streams/{stream['id']}/end")
        assert (ended.json()["stream"]["status"], ended.json()["stream"]["endReason"]) == ("ended", "ended")
        assert (await in_thread(finn.http.get, "/wallet")).json()["balance"] == 100, "it was no show"


async def _start_first(owner: Phone, stream_id: str, *_: Any) -> bool:
    assert (await in_thread(owner.http.post, f"/streams/{stream_id}/start")).status_code == 200
    return False


async def test_a_live_creator_is_in_no_call_and_a_party_of_a_call_does_not_go_live(context: Context) -> None:
    fan, creator, star = await add_fan(context, 100), await add_creator(context, 60), await add_creator(context, 60)
    async with online(context, creator) as cleo, online(context, star), online(context, fan) as finn:
        stream = await in_thread(go_live, cleo)
        assert _refused(await _init(finn, creator)) == (409, "CREATOR_BUSY")
        assert _refused(await _init(cleo, star)) == (409, "ALREADY_LIVE")
        await in_thread(cleo.http.post, f"/streams/{stream['id']}/end")
        ringing = await _init(finn, creator)
        assert ringing.status_code == 201
        await in_thread(cleo.ask_ok, {"type": "call:accept", "callId": ringing.json()["callId"]})
        assert _refused(await _start_another(cleo)) == (409, "ALREADY_IN_CALL")


async def test_a_creator_whose_call_starts_on_another_server_does_not_go_live_here(context: Context) -> None:
    fan, creator = await add_fan(context, 100), await add_creator(context, 60)
    async with online(context, creator) as cleo, online(context, fan) as finn:
        call = (await _init(finn, creator)).json()
        await move_rooms(context, await another_server(context), call["callId"])
        assert context.registry.call_of(creator) is None
        assert _refused(await _start_another(cleo)) == (409, "ALREADY_IN_CALL")


@pytest.mark.parametrize("who", ["fan", "creator"])
async def test_a_call_that_rings_as_a_stream_starts_is_refused_by_the_database(
    context: Context, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """The first check of `init` finds no reason to refuse; the row is refused."""
    monkeypatch.setattr("storage.rooms.call_creation._why_not", lambda *_: None)
    creator, other = await add_creator(context, 60), await add_creator(context, 60)
    fan = creator if who == "fan" else await add_fan(context, 100)
    async with online(context, creator) as cleo, online(context, other), online(context, fan) as caller:
        await in_thread(go_live, cleo)
        refused = await _init(caller, other if who == "fan" else creator)
    assert _refused(refused) == (409, "ALREADY_LIVE" if who == "fan" else "CREATOR_BUSY")


async def _init(caller: Phone, creator: UserId) -> httpx.Response:
    return await in_thread(partial(caller.http.post, "/calls/init", json={"creatorId": str(creator)}))


async def _start_another(owner: Phone) -> httpx.Response:
    announced = await in_thread(partial(owner.http.post, "/streams", json={"title": "x", "type": "public"}))
    return await in_thread(owner.http.post, f"/streams/{announced.json()['stream']['id']}/start")


def _refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


async def test_a_server_that_drains_adopts_nothing(context: Context) -> None:
    await _add_orphans(context, 1)
    context.draining = True
    assert await context.orphans.adopt() == 0
    rows = await context.postgres.fetch("SELECT epoch, server_id FROM rooms")
    assert [tuple(row) for row in rows] == [(1, None)]


async def test_each_orphan_is_claimed_once_by_however_many_claimants(context: Context) -> None:
    await _add_orphans(context, 12)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(context.orphans.adopt)
    rows = await context.postgres.fetch("SELECT epoch, server_id, count(*) FROM rooms GROUP BY 1, 2")
    assert [tuple(row) for row in rows] == [(2, context.leases.server_id, 12)]
    assert len(context.registry) == 12


async def _add_orphans(context: Context, count: int) -> None:
    """Insert live streams that no server holds, old enough to look lost to a server that owns them."""
    await context.postgres.execute(
        "WITH s AS (SELECT gen_random_uuid() AS id, u FROM unnest($1::uuid[]) u),"
        " r AS (INSERT INTO rooms (id, kind, channel, created_at) SELECT id, 'stream', replace(id::text, '-', ''),"
        "       now() - interval '1 hour' FROM s)"
        " INSERT INTO streams (id, creator_id, title, type, status, started_at, block_seconds, block_rounding,"
        "                      created_at) SELECT id, u, 'Talk', 'public', 'live', now(), 30, 'up', now() FROM s",
        [await add_creator(context, 60) for _ in range(count)],
    )
