"""Commands in a loop are bounded for all devices of a user together; each limit is seen on a running server."""

import json
from typing import Any
from uuid import UUID

import msgspec
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.clients import PATIENCE_SECONDS, Phone, ring_and_join, token_of
from tests.support.servers import add_creator, add_fan, online, running_server, with_section

in_thread = trio.to_thread.run_sync
QUICK = with_section("websocket", messages_per_second=1000, messages_burst=1000)


def refused(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [answer for answer in answers if answer["type"] == "error"]


async def test_a_loop_of_pauses_is_announced_to_the_other_party_only_so_often(dsn: str) -> None:
    calls = msgspec.structs.replace(QUICK.calls, resumes_per_second=0.1, resumes_burst=5)
    async with running_server(dsn, msgspec.structs.replace(QUICK, calls=calls)) as context:
        fan = await add_fan(context, 100)
        async with (
            online(context, await add_creator(context, 60)) as cleo,
            online(context, fan) as finn,
            online(context, fan) as tablet,
        ):

            def story() -> None:
                call = {"callId": ring_and_join(finn, cleo)["callId"]}
                answers = []
                for _ in range(30):
                    finn.ask_ok({"type": "call:pause", **call})
                    answers.append(tablet.ask({"type": "call:resume", **call}))
                assert finn.http.post(f"/billing/{call['callId']}/resume").status_code == 429
                assert {answer["error"] for answer in refused(answers)} == {"RATE_LIMITED"}
                assert len(refused(answers)) >= 24
                assert 5 < refused(answers)[0]["retryAfterSeconds"] <= 10
                cleo.ask({"type": "ping"})
                assert len(cleo.all_events("call:paused")) <= 7
                assert len(cleo.all_events("call:resumed")) <= 6

            await in_thread(story)


async def test_commands_that_query_the_database_count_as_requests_of_their_user(dsn: str) -> None:
    limits = msgspec.structs.replace(QUICK.limits, user_per_second=0.01, user_burst=10)
    async with running_server(dsn, msgspec.structs.replace(QUICK, limits=limits)) as context:
        fan = await add_fan(context, 0)
        for command in (
            {"type": "call:pause", "callId": str(fan)},
            {"type": "call:end", "callId": str(fan)},
            {"type": "member:mute", "channel": "c" * 21, "userId": str(fan)},
            {"type": "token:refresh", "token": token_of(fan)},
        ):
            user = await add_fan(context, 0)
            async with online(context, user) as finn, online(context, user) as tablet:
                command = {**command, "token": token_of(user)} if "token" in command else command
                answers = await in_thread(from_each, [finn, tablet], command, 10)
                limited = [answer for answer in refused(answers) if answer["error"] == "RATE_LIMITED"]
                assert len(limited) == 10, command
                assert limited[-1]["retryAfterSeconds"] > 0
                assert (await in_thread(finn.http.get, "/me")).status_code == 429


def from_each(phones: list[Phone], command: dict[str, Any], times: int) -> list[dict[str, Any]]:
    return [phone.ask(command) for _ in range(times) for phone in phones]


async def test_a_loop_that_opens_sessions_is_bounded_for_all_devices_of_a_user(dsn: str) -> None:
    limits = msgspec.structs.replace(QUICK.limits, opens_per_second=0.01, opens_burst=5)
    async with running_server(dsn, msgspec.structs.replace(QUICK, limits=limits)) as context:
        fan, other = await add_fan(context, 0), await add_fan(context, 0)

        def opened(user: UUID) -> int | None:
            """Return the close code if the session was refused, and `None` otherwise."""
            headers = {"Authorization": f"Bearer {token_of(user)}"}
            with connect(
                f"ws://127.0.0.1:{context.websocket_port}/ws", additional_headers=headers, proxy=None
            ) as phone:
                try:
                    assert json.loads(phone.recv(PATIENCE_SECONDS))["type"] == "session:ready"
                except ConnectionClosed as closed:
                    return closed.rcvd.code if closed.rcvd else 0
            return None

        codes = [await in_thread(opened, fan) for _ in range(8)]
        assert codes == [None] * 5 + [4429] * 3
        assert await in_thread(opened, other) is None
