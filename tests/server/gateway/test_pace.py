"""A client that sends too fast is refused, and closed if it does not stop; no other client notices."""

import contextlib

import pytest
import trio
from websockets.exceptions import ConnectionClosed

from domain.throttle import Throttle
from tests.support.clients import Phone
from tests.support.servers import add_fan, online, running_server, with_section

BURST = 10


def test_a_burst_is_admitted_at_once_and_then_one_in_so_long() -> None:
    pace = Throttle(2.0, 3)
    assert [pace.take(100.0) for _ in range(3)] == [0, 0, 0]
    assert pace.take(100.0) == pytest.approx(0.5)
    assert pace.take(101.0) == 0


def test_a_sender_that_goes_on_though_refused_runs_into_debt_and_one_that_waits_recovers() -> None:
    pace = Throttle(1.0, 1)
    assert [pace.take(0.0) for _ in range(4)] == [0, 1, 2, 3]
    assert pace.take(4.0) == 0


def test_waiting_saves_up_no_more_than_a_burst() -> None:
    pace = Throttle(1.0, 2)
    assert [pace.take(1_000_000.0) for _ in range(3)] == [0, 0, 1]


async def test_too_many_messages_are_refused_and_then_end_the_connection(dsn: str) -> None:
    in_thread = trio.to_thread.run_sync
    async with running_server(dsn, with_section("websocket", messages_per_second=1, messages_burst=BURST)) as context:
        async with (
            online(context, await add_fan(context, 0)) as hasty,
            online(context, await add_fan(context, 0)) as calm,
        ):

            def answers(phone: Phone, pings: int) -> list[str]:
                for _ in range(pings):
                    phone.send({"type": "ping", "ref": "x"})
                return [phone.wait_until(lambda event: event.get("ref") == "x")["type"] for _ in range(pings)]

            assert await in_thread(answers, hasty, BURST + 2) == ["pong"] * BURST + ["error"] * 2
            refused = hasty.all_events("error")[0]
            assert refused["error"] == "RATE_LIMITED" and refused["retryAfterSeconds"] > 0

            def go_on() -> None:
                with contextlib.suppress(ConnectionClosed):
                    for _ in range(BURST):
                        hasty.send({"type": "ping"})
                hasty.wait_closed()

            await in_thread(go_on)
            assert hasty.close_code == 4429
            assert await in_thread(answers, calm, 3) == ["pong"] * 3
            await in_thread(lambda: hasty.open(resume=True))
            assert not hasty.ready["resumed"]
