"""A tip shows up in the creator's overlay, which connects with a token of its own."""

from tests.support.clients import go_live, send_tip
from tests.support.live_server import LiveServer


def test_a_tip_reaches_the_overlay_whichever_way_it_is_sent(live_server: LiveServer) -> None:
    creator, fan = live_server.creator(), live_server.fan(100)
    stream = go_live(creator)
    channel = stream["channel"]
    secret = creator.http.post("/overlay-tokens", json={"name": "Scene 1"}).json()["secret"]
    scene = live_server.phone(creator.user_id, secret)
    assert scene.ask({"type": "room:join", "channel": channel, "as": "overlay"})["you"] == {"role": "overlay"}
    fan.join(channel)
    over_rest = {
        "toCreatorId": str(creator.user_id),
        "amountTokens": 30,
        "message": "encore",
        "context": {"streamId": stream["id"], "channel": channel},
    }
    sent = fan.http.post("/tips/send", json=over_rest)
    assert sent.status_code == 200, sent.text
    assert (sent.json()["newBalance"], sent.json()["wallet"]["balance"]) == (70, 70)
    shown = scene.wait_for("tip:new")
    assert (shown["tipId"], shown["amountTokens"], shown["message"]) == (sent.json()["tipId"], 30, "encore")
    assert send_tip(fan, channel, 5)["wallet"] == {"balance": 65}
    assert scene.wait_for("tip:new")["amountTokens"] == 5
    assert scene.all_events("wallet:changed") == [], "what is the creator's own is not for a picture"
    assert (fan.balance(), creator.balance()) == (65, 35)
    live_server.check_ledger()
