"""<hm-tip-button> in a browser, against a real server."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web import tip_button_scenes
from tests.web.browser import play
from tests.web.demo import Demo, Person

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("tip") / "data", "--demo") as server:
        yield server


@pytest.fixture(scope="module")
def creator(demo: Demo) -> Person:
    return demo.creator("Ava")


def tips_of(demo: Demo, fan: Person) -> list[tuple[int, str | None]]:
    """The tips that were booked, the newest first."""
    items: list[dict[str, Any]] = demo.read("/tips?role=sent", fan)["items"]
    return [(each["amountTokens"], each["message"]) for each in items]


def test_a_double_tap_pays_once_and_the_tip_is_pending_until_it_is_booked(demo: Demo, creator: Person) -> None:
    fan, stream = demo.person(200), demo.live_stream(creator)
    play(
        tip_button_scenes.double_tap,
        url=demo.url,
        token=fan.token,
        creator_id=creator.user_id,
        channel=stream["channel"],
    )
    assert tips_of(demo, fan) == [(50, tip_button_scenes.MESSAGE)]


def test_a_double_tap_pays_once_however_fast_the_server_answers(demo: Demo, creator: Person) -> None:
    fan = demo.person(200)
    play(tip_button_scenes.double_tap_fast, url=demo.url, token=fan.token, creator_id=creator.user_id)
    assert tips_of(demo, fan) == [(10, None), (10, None)]


def test_a_tip_whose_answer_was_lost_is_tried_again_under_its_key(demo: Demo, creator: Person) -> None:
    fan = demo.person(200)
    play(tip_button_scenes.retry_a_tip, url=demo.url, token=fan.token, creator_id=creator.user_id)
    assert tips_of(demo, fan) == [(10, None)]


def test_too_few_tokens_lead_to_the_packs_and_back(demo: Demo, creator: Person) -> None:
    fan = demo.person(30)
    play(tip_button_scenes.top_up_for_a_tip, url=demo.url, token=fan.token, creator_id=creator.user_id)
    assert tips_of(demo, fan) == [(120, "Encore")]


def test_a_refusal_for_want_of_tokens_shows_the_present_balance(demo: Demo, creator: Person) -> None:
    fan = demo.person(30)
    play(tip_button_scenes.tip_with_an_old_balance, url=demo.url, token=fan.token, creator_id=creator.user_id)
    assert tips_of(demo, fan) == []


def test_a_refusal_is_shown_with_its_figures(demo: Demo, creator: Person) -> None:
    fan = demo.person(200)
    demo.change("/wallet/limits", fan, {"dailySpendLimit": 30})
    play(tip_button_scenes.show_a_refusal, url=demo.url, token=fan.token, creator_id=creator.user_id)
    assert tips_of(demo, fan) == [(20, None)]
