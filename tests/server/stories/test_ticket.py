"""A ticket is bought, admits its holder, and its money is the creator's once they have given a show."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import go_live
from tests.support.live_server import LiveServer, live_server_on


@pytest.fixture
def live_server(dsn: str, tmp_path: Path) -> Iterator[LiveServer]:
    with live_server_on(dsn, tmp_path, HALFMINUTE_STREAMS_TICKET_RELEASE_SECONDS="2") as running:
        yield running


def test_a_fan_buys_a_ticket_and_joins_the_stream(live_server: LiveServer) -> None:
    creator, fan, other = live_server.creator(), live_server.fan(100), live_server.fan(100)
    stream = go_live(creator, type="private", ticketPriceTokens=40)
    channel, path = stream["channel"], f"/streams/{stream['id']}"
    assert creator.join(channel)["you"] == {"role": "owner"}
    assert fan.http.get(f"{path}/access").json() == {"hasAccess": False, "reason": "ticket_required"}
    assert fan.join(channel)["error"] == "FORBIDDEN"
    bought = fan.http.post(f"{path}/tickets")
    assert (bought.status_code, bought.json()["wallet"]) == (201, {"balance": 60})
    assert creator.balance() == 0, "it is in escrow"
    assert fan.http.get(f"{path}/access").json() == {"hasAccess": True, "reason": "ticket"}
    assert fan.join(channel)["you"]["role"] == "viewer"
    assert creator.wait_for("member:joined")["userId"] == str(fan.user_id)
    assert fan.http.post(f"{path}/tickets").json()["error"] == "ALREADY_PURCHASED"
    assert other.join(channel)["error"] == "FORBIDDEN"
    assert creator.wait_for("wallet:changed", cause="release")["balance"] == 40, "all of it"
    assert (fan.balance(), creator.balance(), other.balance()) == (60, 40, 100)
    live_server.check_ledger()
