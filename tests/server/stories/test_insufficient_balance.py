"""A user with too few tokens gets the same three figures everywhere, and nothing moves."""

from typing import Any

from tests.support.clients import Phone, go_live, ring_and_join, send_tip
from tests.support.live_server import LiveServer

PRICE, PURSE = 10, 3
TENS_A_BLOCK = 600  # tokens a minute, where a block is a second


def call(fan: Phone, creator: Phone) -> dict[str, Any]:
    return _refused(fan, "/calls/init", {"creatorId": str(creator.user_id)})


def tip_over_http(fan: Phone, creator: Phone) -> dict[str, Any]:
    context = {"streamId": go_live(creator)["id"]}
    return _refused(fan, "/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": PRICE, "context": context})


def tip_outside_of_any_room(fan: Phone, creator: Phone) -> dict[str, Any]:
    return _refused(fan, "/tips/send", {"toCreatorId": str(creator.user_id), "amountTokens": PRICE})


def tip_over_the_websocket(fan: Phone, creator: Phone) -> dict[str, Any]:
    channel = go_live(creator)["channel"]
    fan.join(channel)
    return send_tip(fan, channel, PRICE)


def buy_a_ticket(fan: Phone, creator: Phone) -> dict[str, Any]:
    stream = go_live(creator, type="private", ticketPriceTokens=PRICE)
    return _refused(fan, f"/streams/{stream['id']}/tickets", None)


def join_a_metered_stream(fan: Phone, creator: Phone) -> dict[str, Any]:
    stream = go_live(creator, type="private", rateTokensPerMin=TENS_A_BLOCK)
    return fan.join(stream["channel"])


def _refused(fan: Phone, path: str, body: Any) -> dict[str, Any]:
    answer = fan.http.post(path, json=body)
    assert answer.status_code == 400, answer.text
    fields: dict[str, Any] = answer.json()
    return fields


def _figures(refused: dict[str, Any]) -> tuple[int, int, int]:
    assert refused["error"] == "INSUFFICIENT_TOKENS", refused
    return refused["required"], refused["current"], refused["shortfall"]


WAYS = (
    call,
    tip_over_http,
    tip_outside_of_any_room,
    tip_over_the_websocket,
    buy_a_ticket,
    join_a_metered_stream,
)


def test_every_way_to_spend_says_what_is_needed_what_is_there_and_what_is_missing(live_server: LiveServer) -> None:
    for way in WAYS:
        fan, creator = live_server.fan(PURSE), live_server.creator(TENS_A_BLOCK)
        assert _figures(way(fan, creator)) == (PRICE, PURSE, PRICE - PURSE), way.__name__
        assert (fan.balance(), creator.balance()) == (PURSE, 0)
    live_server.check_ledger()


def test_a_call_that_runs_out_warns_its_fan_and_ends_for_both(live_server: LiveServer) -> None:
    fan, creator = live_server.fan(2 * PRICE + PURSE), live_server.creator(TENS_A_BLOCK)
    ring_and_join(fan, creator)
    low = fan.wait_for("balance:low")
    assert (low["required"], low["balance"]) == (PRICE, PURSE)
    for phone in (fan, creator):
        ended = phone.wait_for("call:ended")
        assert (ended["reason"], ended["blocks"], ended["tokens"]) == ("insufficient_funds", 2, 2 * PRICE)
    assert creator.all_events("balance:low") == [], "what a fan has left is theirs to know"
    assert (fan.balance(), creator.balance()) == (PURSE, 2 * PRICE)
    assert _figures(call(fan, creator)) == (PRICE, PURSE, PRICE - PURSE)
    live_server.check_ledger()
