"""The studio of a creator, in a browser, on a server with the demo's users; effects are read through the API."""

from collections.abc import Iterator

import pytest

from tests.web import studio_scenes, studio_stream_scenes
from tests.web.browser import play
from tests.web.demo import Demo


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
