"""The quick start: its program runs as it stands, and its page has the states and times of this server."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from domain.call.parties import Hold
from server.close_codes import CloseCode
from server.config.settings import Settings
from server.documents.enumerations import ENUMERATIONS
from server.rest.openapi.quickstart import quickstart_page, snippets
from tests.server.rest.test_docs_page import Reader
from tests.support.live_server import LiveServer, live_server_on
from tests.support.servers import settings

CREDIT = 200


def run_program(server: LiveServer) -> dict[str, Any]:
    """Run the snippets in their order, with the address of this server and tokens of two users; return all names."""
    fan, creator = server.fan(CREDIT), server.creator()
    program = "\n".join(snippets())
    for placeholder, value in (
        ("https://live.example.org/api", f"http://127.0.0.1:{server.server.http_port}/api"),
        ("the fan's token", fan.token),
        ("the creator's token", creator.token),
    ):
        assert program.count(placeholder) == 1
        program = program.replace(placeholder, value)
    names: dict[str, Any] = {}
    exec(compile(program, "quickstart.md", "exec"), names)  # reason: it is our own page
    return names


def test_its_program_calls_tips_watches_and_reconnects(dsn: str, tmp_path: Path) -> None:
    with live_server_on(dsn, tmp_path, HALFMINUTE_CALLS_BLOCK_SECONDS="2") as server:
        found = run_program(server)
        server.check_ledger()
    assert (found["first"]["blockNo"], found["first"]["tokens"], found["second"]["blockNo"]) == (1, 2, 2)
    assert found["tip"]["tip"]["amountTokens"] == found["seen"]["amountTokens"] == 5
    assert (found["lasting"].ready["resumed"], found["missed"]["text"]) == (True, "Are you there?")
    assert (found["ended"]["reason"], found["over"]["reason"]) == ("hangup", "ended")
    assert found["joined"]["you"]["role"] == "viewer"
    assert found["bought"]["wallet"]["balance"] == CREDIT - found["ended"]["tokens"] - 5 - 20


def test_its_countdown_stops_with_the_clock_and_knows_the_servers_time() -> None:
    names: dict[str, Any] = {}
    source = next(snippet for snippet in snippets() if "class Countdown" in snippet).partition("\n\ncountdown =")[0]
    exec(f"import time\nfrom datetime import datetime\n{source}", names)
    clock = names["time"] = Clock()
    countdown = names["Countdown"]()
    countdown.take({"type": "call:started", "at": "1970-01-01T00:01:40.000Z"})
    countdown.take({"type": "wallet:changed", "secondsLeft": 90.0})
    clock.now += 10
    assert countdown.seconds_left() == 80.0
    countdown.take({"type": "call:paused", "at": "1970-01-01T00:01:50.000Z"})
    clock.now += 5
    assert countdown.seconds_left() == 80.0
    countdown.take({"type": "call:resumed", "at": "1970-01-01T00:01:54.000Z"})  # one second late
    clock.now += 1
    assert countdown.seconds_left() == 79.0
    assert countdown.seconds_until("1970-01-01T00:02:00.000Z") == 4.0


class Clock:
    """Stands for the module `time`: an hour ahead of the server, whose events above begin at second 100."""

    now = 3700.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def page() -> Reader:
    return Reader(quickstart_page(Settings()).decode())


def test_the_page_has_every_state_reason_and_hold(page: Reader) -> None:
    shown = ("CallStatus", "CallEndReason", "StreamStatus", "StreamEndReason", "RevocationReason", "WalletCause")
    values = {value for name in shown for value in ENUMERATIONS[name].values}
    assert values | {hold.value for hold in Hold} <= set(page.texts)
    assert {str(int(code)) for code in CloseCode} <= set(page.texts)
    assert page.open == [] and page.loads == []
    assert page.links == ["/api/docs"]


def test_the_page_has_the_times_of_this_server() -> None:
    shown = Reader(quickstart_page(settings(ring_seconds=17, join_seconds=13)).decode())
    assert "17 s" in shown.texts and "13 s" in shown.texts
    assert any("within 13 seconds ends the call" in text for text in shown.texts)
    assert not [text for text in shown.texts if re.search(r"{\w+}}|{{", text) and "import" not in text]


async def test_it_is_served_and_linked(web: httpx.AsyncClient) -> None:
    assert 'href="/api/docs/quickstart"' in (await web.get("/api/docs")).text
    answer = await web.get("/api/docs/quickstart")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "style-src 'sha256-" in answer.headers["Content-Security-Policy"]
