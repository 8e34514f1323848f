"""A screen reader announces blocks that run low, tips and endings, and what else changes by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web import announcement_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long

SETTINGS = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "4"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("announced") / "data", "--demo", settings=SETTINGS) as server:
        yield server


def given_call(demo: Demo, tokens: int) -> dict[str, Any]:
    """A fan with these tokens, and a creator whose block costs 4."""
    fan, creator = demo.person(tokens, name="Fay"), demo.creator("Ada", 60)
    return {"url": demo.url, "fan": fan._asdict(), "creator": creator._asdict()}


def given_stream(demo: Demo, tokens: int, **stream: Any) -> dict[str, Any]:
    """A fan with these tokens, and a stream that its owner has announced."""
    fan, owner = demo.person(tokens, name="Fay"), demo.creator("Mia", 60)
    announced = demo.stream(owner, title="An evening", **stream)
    return {"url": demo.url, "fan": fan._asdict(), "owner": owner._asdict(), "stream": announced["id"]}


def test_blocks_a_pause_a_tip_a_lost_connection_and_the_end_of_a_call_are_announced(demo: Demo) -> None:
    play(announcement_scenes.hear_a_call, **given_call(demo, 1000))


def test_a_low_balance_and_the_end_for_lack_of_tokens_are_announced_to_both(demo: Demo) -> None:
    play(announcement_scenes.hear_that_tokens_run_out, **given_call(demo, 10))


def test_a_call_is_announced_while_another_page_is_looked_at(demo: Demo) -> None:
    play(announcement_scenes.hear_of_a_call_elsewhere, **given_call(demo, 10))


def test_the_end_of_a_call_is_announced_beside_the_packs(demo: Demo) -> None:
    play(announcement_scenes.hear_that_a_call_ended_beside_the_packs, **given_call(demo, 6))


def test_tips_a_removal_and_the_end_of_a_stream_are_announced(demo: Demo) -> None:
    other = demo.person(name="Finn")
    play(announcement_scenes.hear_a_stream, **given_stream(demo, 100, type="public"), other=other._asdict())


def test_blocks_and_a_low_balance_in_a_metered_stream_are_announced(demo: Demo) -> None:
    stream = given_stream(demo, 10, type="private", rateTokensPerMin=60)
    play(announcement_scenes.hear_a_metered_stream, **stream)


def test_a_booked_tip_bought_tokens_and_a_ticket_are_announced(demo: Demo) -> None:
    creator = demo.creator("Una")
    given = {
        "fan": demo.person(100, name="Fay")._asdict(),
        "stream": demo.live_stream(creator)["id"],
        "show": demo.live_stream(demo.creator("Mia"), type="private", ticketPriceTokens=150)["id"],
    }
    play(announcement_scenes.hear_what_was_paid, url=f"{demo.url}/", **given)


def test_a_lost_network_is_announced_on_any_page(demo: Demo) -> None:
    play(announcement_scenes.hear_that_the_network_is_lost, url=f"{demo.url}/", fan=demo.person()._asdict())
