"""<hm-stream> in a browser, for its owner and its viewers: video, chat, tips, tickets, the meter, and moderation."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web import stream_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long

SETTINGS = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "4"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("stream") / "data", "--demo", settings=SETTINGS) as server:
        yield server


def given(demo: Demo, tokens: int, **stream: Any) -> dict[str, Any]:
    """A fan with these tokens, a creator, and a stream that the creator has announced."""
    fan, owner = demo.person(tokens, name="Fay"), demo.creator("Mia", 60)
    announced = demo.stream(owner, title="An evening", **stream)
    return {"url": demo.url, "fan": fan._asdict(), "owner": owner._asdict(), "stream": announced["id"]}


def test_a_viewer_sees_the_owner_and_both_see_chat_and_tips(demo: Demo) -> None:
    play(stream_scenes.watch_for_free, **given(demo, 100, type="public"))


def test_a_metered_viewer_pays_only_while_both_are_there(demo: Demo) -> None:
    stream = given(demo, 14, type="private", rateTokensPerMin=60)
    play(stream_scenes.pay_by_the_block, **stream, operator=demo.person(role="operator")._asdict())


def test_the_owner_mutes_and_removes_a_viewer(demo: Demo) -> None:
    play(stream_scenes.moderate, **given(demo, 0, type="public"))


def test_a_ticket_gives_access_and_a_player_of_the_page_replaces_the_video(demo: Demo) -> None:
    play(stream_scenes.need_a_ticket, **given(demo, 200, type="private", ticketPriceTokens=150))
