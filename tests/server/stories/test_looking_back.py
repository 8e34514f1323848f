"""Past streams are found by their properties, and past tips by giver and room."""

from typing import Any

from tests.support.clients import Phone, go_live, send_tip
from tests.support.live_server import LiveServer


def test_streams_are_found_by_status_type_and_creator_a_page_at_a_time(live_server: LiveServer) -> None:
    cleo, olga = live_server.creator(), live_server.creator()
    ended = go_live(cleo)
    cleo.http.post(f"/streams/{ended['id']}/end")
    live = go_live(cleo, type="private", ticketPriceTokens=5)
    other = go_live(olga)
    hers = str(cleo.user_id)
    for query, wanted in (
        ({}, [other, live, ended]),
        ({"status": "live"}, [other, live]),
        ({"status": "ended"}, [ended]),
        ({"type": "private"}, [live]),
        ({"creatorId": hers}, [live, ended]),
        ({"creatorId": hers, "status": "live", "type": "public"}, []),
        ({"limit": 1, "offset": 1}, [live]),
    ):
        page = _get(live_server.operator, "/streams", query)
        assert [stream["id"] for stream in page["items"]] == [stream["id"] for stream in wanted], query
    assert (page["limit"], page["offset"], page["total"]) == (1, 1, 3)


def test_tips_are_found_by_role_and_stream_and_the_largest_giver_comes_first(live_server: LiveServer) -> None:
    creator, finn, faye = live_server.creator(), live_server.fan(100), live_server.fan(100)
    streams = [go_live(creator)]
    for fan, tokens in ((finn, 5), (faye, 30), (finn, 10)):
        fan.join(streams[0]["channel"])
        send_tip(fan, streams[0]["channel"], tokens)
    creator.http.post(f"/streams/{streams[0]['id']}/end")
    streams.append(go_live(creator))
    finn.join(streams[1]["channel"])
    send_tip(finn, streams[1]["channel"], 40)
    assert _tokens(finn, role="sent") == [40, 10, 5]
    assert _tokens(finn, role="received") == []
    assert _tokens(creator, role="received", streamId=streams[0]["id"]) == [10, 30, 5]
    assert _givers(faye, channel=streams[0]["channel"]) == [(str(faye.user_id), 30), (str(finn.user_id), 15)]
    assert _givers(faye, creatorId=str(creator.user_id)) == [(str(finn.user_id), 55), (str(faye.user_id), 30)]


def _tokens(phone: Phone, **query: Any) -> list[int]:
    return [tip["amountTokens"] for tip in _get(phone, "/tips", query)["items"]]


def _givers(phone: Phone, **query: Any) -> list[tuple[str, int]]:
    return [(giver["userId"], giver["tokens"]) for giver in _get(phone, "/tips/leaderboard", query)["items"]]


def _get(phone: Phone, path: str, query: dict[str, Any]) -> dict[str, Any]:
    answer = phone.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
