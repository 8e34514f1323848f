"""The studio of a creator, in a browser, on a server with the demo's users; effects are read through the API."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web import studio_earnings_scenes, studio_overlay_scenes, studio_scenes, studio_stream_scenes
from tests.web.browser import play
from tests.web.demo import Demo, Person

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    settings = {
        "HALFMINUTE_STREAMS_TICKET_RELEASE_SECONDS": "1",
        "HALFMINUTE_STREAMS_PAYEE_END_SECONDS": "29",  # so that the end refunds the first block
    }
    with Demo(tmp_path_factory.mktemp("studio") / "data", "--demo", settings=settings) as server:
        yield server


def test_a_creator_changes_the_terms_and_sees_what_a_block_costs(demo: Demo) -> None:
    play(studio_scenes.change_the_terms, url=f"{demo.url}/")
    viewer = demo.person()
    cards = demo.read("/creators?name=Cleo", viewer)["items"]
    assert [(card["displayName"], card["rateTokensPerMin"]) for card in cards] == [("Cleo of the night", 75)]
    assert cards[0]["about"] == "Stars, and what is between them."
    assert cards[0]["pictureUrl"], "a field that was not changed stays"


def test_a_refused_field_is_named_and_the_others_are_saved_later(demo: Demo) -> None:
    creator = demo.creator("Ava")
    play(studio_scenes.be_refused_a_picture, url=f"{demo.url}/", token=creator.token)
    card = demo.read(f"/creators/{creator.user_id}", creator)
    assert (card["rateTokensPerMin"], card["pictureUrl"]) == (90, "")


def test_a_creator_stops_accepting_calls_at_once(demo: Demo) -> None:
    creator = demo.creator("Ava")
    play(studio_scenes.switch_calls_off, url=f"{demo.url}/", token=creator.token)
    assert demo.read(f"/creators/{creator.user_id}", creator)["acceptsCalls"] is False


def test_a_fan_becomes_a_creator(demo: Demo) -> None:
    fan = demo.person(name="Nora")
    play(studio_scenes.become_a_creator, url=f"{demo.url}/", token=fan.token)
    card = demo.read(f"/creators/{fan.user_id}", fan)
    assert (card["displayName"], card["rateTokensPerMin"], card["acceptsCalls"]) == ("Nora", 20, True)


def test_a_stream_is_announced_started_and_ended_and_its_earnings_are_net(demo: Demo) -> None:
    creator, fan = demo.creator("Ava"), demo.person(1000)
    play(studio_stream_scenes.run_a_show, url=f"{demo.url}/", token=creator.token, fan=fan.token)
    (stream,) = demo.read(f"/streams?creatorId={creator.user_id}", creator)["items"]
    assert (stream["status"], stream["type"]) == ("ended", "private")
    assert (stream["ticketPriceTokens"], stream["rateTokensPerMin"]) == (50, 20)
    assert demo.read("/wallet", creator)["balance"] == 57


def test_a_double_click_announces_one_stream_which_is_called_off(demo: Demo) -> None:
    creator = demo.creator("Ava")
    play(studio_stream_scenes.announce_twice, url=f"{demo.url}/", token=creator.token)
    streams = demo.read(f"/streams?creatorId={creator.user_id}", creator)["items"]
    assert [(each["type"], each["endReason"]) for each in streams] == [("public", "cancelled")]


def test_a_second_live_stream_is_refused(demo: Demo) -> None:
    creator = demo.creator("Ava")
    demo.live_stream(creator)
    demo.stream(creator, title="The second")
    play(studio_stream_scenes.go_live_twice, url=f"{demo.url}/", token=creator.token)
    live = demo.read(f"/streams?creatorId={creator.user_id}&status=live", creator)["items"]
    assert [each["title"] for each in live] == ["The evening show"]


def test_earnings_by_day_are_net_of_refunds(demo: Demo) -> None:
    users = {each["displayName"]: Person(each["userId"], each["token"]) for each in demo_users(demo)}
    fan, bruno = demo.person(1000), users["Bruno"]
    demo.tip(fan, bruno, 35)  # and one of 40 from before the demo
    play(
        studio_earnings_scenes.earn_and_give_back,
        url=f"{demo.url}/",
        token=bruno.token,
        fan=fan.token,
        operator=users["Otto"].token,
        creator_id=bruno.user_id,
    )


def demo_users(demo: Demo) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = demo.get("/api/demo/users").json()["items"]
    return items


def test_an_overlay_link_is_made_once_shown_once_and_revoked(demo: Demo) -> None:
    creator = demo.creator("Ava")
    play(studio_overlay_scenes.make_and_revoke_a_link, url=f"{demo.url}/", token=creator.token)
    (card,) = demo.read("/overlay-tokens", creator)["items"]
    assert card["name"] == "Studio machine"
    assert card["revokedAt"] is not None


def test_top_givers_are_ordered_by_tokens(demo: Demo) -> None:
    creator, nora, olga = demo.creator("Ava"), demo.person(200, "Nora"), demo.person(200, "Olga")
    others = [(demo.person(10), 5) for _ in range(9)]
    for giver, tokens in ((olga, 60), (nora, 45), (nora, 45), *others):
        demo.tip(giver, creator, tokens)
    play(studio_overlay_scenes.see_the_givers, url=f"{demo.url}/", token=creator.token)


def test_a_creator_cashes_out_in_the_studio(demo: Demo) -> None:
    fan, creator = demo.person(), demo.creator("Ava")
    demo.buy(fan, "large", times=2)
    demo.tip(fan, creator, 2000)
    play(studio_overlay_scenes.cash_out, url=f"{demo.url}/", token=creator.token)
    assert [each["tokens"] for each in demo.read("/payouts", creator)["items"]] == [1000]


def test_a_failed_read_is_shown_and_tried_again(demo: Demo) -> None:
    play(studio_scenes.recover_from_a_failure, url=f"{demo.url}/", token=demo.creator("Ava").token)


def test_the_studio_fits_a_phone(demo: Demo) -> None:
    play(studio_scenes.fit_a_phone, url=f"{demo.url}/", token=demo.creator("Ava").token)
