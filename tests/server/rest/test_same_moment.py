"""The same request twice at the same moment, and two requests of which only one can succeed: over HTTP, repeatedly."""

from typing import Any

import httpx
import trio

from server.context import Context
from storage.ledger.audit import audit
from tests.server.rest.conftest import Caller, Users

ROUNDS = 6
WAITS = """
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
       AND (query LIKE '%FROM fence%' OR query LIKE '%idempotency_keys%')
"""
AT_ONCE = 4


async def test_one_key_sent_several_times_at_once_rings_one_call(users: Users) -> None:
    for _ in range(ROUNDS):
        fan, creator = await users.fan(), await users.online_creator()
        answers = await _ask_at_once([fan] * AT_ONCE, "/calls/init", {"creatorId": str(creator.user_id)}, "tap")
        assert [answer.status_code for answer in answers] == [201] * AT_ONCE, [answer.text for answer in answers]
        assert len({answer.json()["callId"] for answer in answers}) == 1


async def test_a_call_that_waits_for_the_write_lock_locks_neither_party(context: Context, users: Users) -> None:
    """A stream that goes live takes the write lock first, and then locks its creator."""
    fan, creator = await users.fan(), await users.online_creator()
    answers: list[httpx.Response] = []

    async def ring() -> None:
        answers.append(await fan.post("/calls/init", {"creatorId": str(creator.user_id)}, key="tap"))

    holder = await context.postgres.connect()
    for statement in ("BEGIN", "SELECT FROM fence WHERE one FOR NO KEY UPDATE"):
        await holder.fetchrow(statement)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ring)
        with trio.fail_after(10):
            while not await context.postgres.fetch(WAITS):
                await trio.lowlevel.checkpoint()
        for party in (fan, creator):
            await context.postgres.execute(
                "SELECT FROM users WHERE supabase_id = $1 FOR NO KEY UPDATE NOWAIT", party.user_id
            )
        holder.terminate()
    assert [answer.status_code for answer in answers] == [201]


async def test_of_several_fans_who_call_one_creator_at_once_one_gets_a_call_and_the_others_a_refusal(
    users: Users,
) -> None:
    for _ in range(ROUNDS):
        fans, creator = [await users.fan() for _ in range(AT_ONCE)], await users.online_creator()
        answers = await _ask_at_once(fans, "/calls/init", {"creatorId": str(creator.user_id)}, "tap")
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * (AT_ONCE - 1)
        assert {answer.json().get("error") for answer in answers} == {None, "CREATOR_BUSY"}


async def test_one_key_sent_several_times_at_once_gives_one_credit(context: Context, users: Users) -> None:
    operator, fan = await users.operator(), await users.fan(0)
    for round_no in range(ROUNDS):
        body = {"userId": str(fan.user_id), "tokens": 5, "reason": "welcome"}
        answers = await _ask_at_once([operator] * AT_ONCE, "/admin/credits", body, f"credit {round_no}")
        assert [answer.status_code for answer in answers] == [201] * AT_ONCE
        assert len({answer.json()["creditId"] for answer in answers}) == 1
    assert (await fan.get("/wallet")).json()["balance"] == 5 * ROUNDS
    assert [finding.sentence async for finding in audit(context.postgres) if finding.rows] == []


async def _ask_at_once(callers: list[Caller], path: str, body: dict[str, Any], key: str) -> list[httpx.Response]:
    answers: list[httpx.Response] = []

    async def ask(caller: Caller) -> None:
        answers.append(await caller.post(path, body, key=key))

    async with trio.open_nursery() as nursery:
        for caller in callers:
            nursery.start_soon(ask, caller)
    return answers
