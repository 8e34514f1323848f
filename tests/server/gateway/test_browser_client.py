"""Chromium's own WebSocket as a client: a session, a call, a resume and the close codes, as a page sees them."""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import trio

from server.context import Context
from tests.server.peers.absent import leave_out
from tests.server.peers.chromium import CHROMIUM, Browser, TabSocket
from tests.server.peers.phone import FIRST_BYTES_MAX, PeerPhone, close_code_after
from tests.support.clients import ring_and_join, token_of
from tests.support.servers import add_creator, add_fan, online, running_server, settings, with_section

in_thread = trio.to_thread.run_sync


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists() or find_spec("playwright") is None:
        leave_out(f"there is no {CHROMIUM} with playwright on this machine")
    with Browser() as running:
        yield running


def phone_of(browser: Browser, context: Context, user_id: UUID) -> PeerPhone:
    return PeerPhone(context, user_id, partial(TabSocket, browser, context.websocket_port))


async def test_a_page_opens_a_session_and_its_offer_to_compress_is_declined(context: Context, browser: Browser) -> None:
    def story() -> None:
        with TabSocket(browser, context.websocket_port) as tab:
            opened = tab.events.wait_for("open")
            assert (opened["protocol"], opened["extensions"]) == ("halfminute.v1.json", "")
            tab.order("send", {"type": "session:open", "token": token_of(uuid4())})
            assert tab.events.wait_for("message")["message"]["type"] == "session:ready"
            tab.order("close", 1000)
            closed = tab.events.wait_for("close")
            assert (closed["code"], closed["wasClean"]) == (1000, True)

    await in_thread(story)


async def test_a_page_is_present_in_a_call_through_its_pongs_alone(dsn: str, browser: Browser) -> None:
    pulse = with_section("websocket", presence_seconds=2, party_heartbeat_seconds=0.2).websocket
    async with running_server(dsn, msgspec.structs.replace(settings(), websocket=pulse)) as context:
        fan, creator = await add_fan(context, 100), await add_creator(context, 60)
        async with online(context, creator) as creators:

            def story() -> None:
                with phone_of(browser, context, fan) as fans:
                    ring = ring_and_join(fans, creators)
                    for block_no in range(1, 5):  # together longer than a silent session is taken for present
                        assert fans.wait_for("block:charged", blockNo=block_no)["tokens"] == 1
                    assert fans.all_events("call:paused") == []
                    fans.ask_ok({"type": "call:end", "callId": ring["callId"]})
                    assert fans.wait_for("call:ended") == creators.wait_for("call:ended")

            await in_thread(story)


async def test_a_tab_that_is_closed_in_a_call_is_absent_and_another_goes_on(dsn: str, browser: Browser) -> None:
    async with running_server(dsn, settings(block_seconds=30)) as context:
        fan, creator = await add_fan(context, 100), await add_creator(context, 60)
        async with online(context, creator) as creators:

            def story() -> None:
                with phone_of(browser, context, fan) as fans:
                    ring = ring_and_join(fans, creators)
                    fans.wait_for("block:charged", blockNo=1)
                    fans.lose_network()
                    for command in ("call:pause", "call:resume"):
                        creators.ask_ok({"type": command, "callId": ring["callId"]})
                    creators.wait_for("call:resumed")
                    fans.open(resume=True)
                    assert (fans.ready["resumed"], fans.ready["lost"]) == (True, [])
                    assert fans.ready["missed"][0]["count"] >= 2
                    fans.wait_for("call:resumed")
                    assert fans.positions == creators.positions

            await in_thread(story)


@pytest.mark.parametrize(
    ("order", "argument", "code"),
    [
        ("close", 1000, 1000),
        ("text", "no json", 4400),
        ("send", {"type": "session:open", "token": "x.y.z"}, 4401),
        ("text", "x" * FIRST_BYTES_MAX, 4400),
        ("text", "x" * (FIRST_BYTES_MAX + 1), 1009),
    ],
)
async def test_a_page_sees_the_close_code_of_each_end(
    context: Context, browser: Browser, order: str, argument: Any, code: int
) -> None:
    def story() -> int:
        return close_code_after(TabSocket(browser, context.websocket_port), order, argument)

    assert await in_thread(story) == code
