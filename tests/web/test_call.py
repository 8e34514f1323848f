"""<hm-call> in a browser, for both parties: ringing, media, the meter, warnings, and the receipt."""

from collections.abc import Iterator

import pytest

from tests.web import call_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long

SETTINGS = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "4", "HALFMINUTE_CALLS_RING_SECONDS": "12"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("call") / "data", "--demo", settings=SETTINGS) as server:
        yield server


def test_both_see_each_other_and_the_receipt_has_each_block(demo: Demo) -> None:
    fan, creator = demo.person(1000, name="Fay"), demo.creator("Ada", 60)
    play(call_scenes.hold_call, url=demo.url, fan=fan._asdict(), creator=creator._asdict(), name="Ada")


def test_a_double_tap_and_its_retries_ring_once(demo: Demo) -> None:
    fan, creator = demo.person(1000, name="Fay"), demo.creator("Bea", 60)
    play(call_scenes.tap_twice, url=demo.url, fan=fan._asdict(), creator=creator._asdict(), name="Bea")
    assert demo.read("/wallet", fan)["balance"] == 1000


def test_too_few_tokens_are_shown_with_the_shortfall_until_a_top_up(demo: Demo) -> None:
    fan, creator = demo.person(12, name="Fay"), demo.creator("Cara", 600)
    given = {"fan": fan._asdict(), "creator": creator._asdict(), "operator": demo.person(role="operator")._asdict()}
    play(call_scenes.lack_tokens, url=demo.url, **given)


def test_a_fan_who_runs_low_is_warned_and_may_top_up(demo: Demo) -> None:
    fan, creator = demo.person(10, name="Fay"), demo.creator("Low", 60)
    given = {"fan": fan._asdict(), "creator": creator._asdict(), "operator": demo.person(role="operator")._asdict()}
    play(call_scenes.run_low, url=demo.url, **given)


def test_a_block_that_is_given_back_is_on_the_receipt(demo: Demo) -> None:
    fan, creator = demo.person(1000, name="Fay"), demo.creator("Eve", 60)
    play(call_scenes.end_early, url=demo.url, fan=fan._asdict(), creator=creator._asdict(), name="Eve")


def test_a_declined_and_a_missed_call_say_so_on_both_sides(demo: Demo) -> None:
    given = {
        "fan": demo.person(1000, name="Fay"),
        "other_fan": demo.person(1000, name="Fay"),
        "creator": demo.creator("Dee", 60),
    }
    actors = {name: actor._asdict() for name, actor in given.items()}
    play(call_scenes.decline_and_miss, url=demo.url, **actors)


def test_a_lost_connection_is_shown_and_the_call_goes_on_until_its_element_is_removed(demo: Demo) -> None:
    fan, creator = demo.person(1000, name="Fay"), demo.creator("Gil", 60)
    play(call_scenes.lose_connection, url=demo.url, fan=fan._asdict(), creator=creator._asdict(), name="Gil")


def test_a_call_moves_between_devices_until_its_limit_of_tokens(demo: Demo) -> None:
    fan, creator = demo.person(1000, name="Fay"), demo.creator("Ida", 60)
    play(call_scenes.change_devices, url=demo.url, fan=fan._asdict(), creator=creator._asdict(), name="Ida")


def test_a_call_goes_on_without_a_camera_and_says_so(demo: Demo) -> None:
    fan, creator = demo.person(1000, name="Fay"), demo.creator("Hal", 60)
    play(call_scenes.refuse_camera, url=demo.url, fan=fan._asdict(), creator=creator._asdict(), name="Hal")
