"""Users' texts stay text: in the database, for the other members of the room, and for later readers."""

from tests.support.clients import go_live, send_tip
from tests.support.live_server import LiveServer

HOSTILE = "'); DELETE FROM halfminute.wallets; -- <script>alert(1)</script> ${7*7} %s"


def test_hostile_text_is_delivered_as_it_was_written_and_does_nothing(live_server: LiveServer) -> None:
    creator, fan = live_server.creator(), live_server.fan(100)
    channel = go_live(creator, title=HOSTILE)["channel"]
    assert (
        creator.http.get("/streams", params={"creatorId": str(creator.user_id)}).json()["items"][0]["title"] == HOSTILE
    )
    for phone in (creator, fan):
        phone.join(channel)
    send_tip(fan, channel, 30, key=HOSTILE, message=HOSTILE)
    assert creator.wait_for("tip:new")["message"] == HOSTILE
    fan.ask_ok({"type": "chat:send", "channel": channel, "text": HOSTILE})
    assert creator.wait_for("chat:new")["text"] == HOSTILE
    assert creator.http.get("/tips", params={"role": "received"}).json()["items"][0]["message"] == HOSTILE
    assert fan.http.get("/wallet/ledger", params={"kind": HOSTILE}).json()["error"] == "VALIDATION_FAILED"
    assert (fan.balance(), creator.balance()) == (70, 30)
    live_server.check_ledger()
