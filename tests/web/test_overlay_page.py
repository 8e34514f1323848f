"""`/overlay#token=…` in a browser: the page that streaming software puts over a video."""

from collections.abc import Iterator

import pytest

from tests.web import overlay_page_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("overlay") / "data", "--demo") as server:
        yield server


def test_the_page_shows_the_tips_of_one_stream_after_another(demo: Demo) -> None:
    creator = demo.creator("Ava")
    play(
        overlay_page_scenes.follow_streams,
        url=demo.url,
        secret=demo.send("/overlay-tokens", creator, {"name": "a scene"})["secret"],
        creator=creator.token,
        creator_id=creator.user_id,
        giver=demo.person(100, "Finn").token,
    )


def test_a_revoked_token_and_a_missing_one_are_explained(demo: Demo) -> None:
    creator = demo.creator("Ava")
    made = demo.send("/overlay-tokens", creator, {"name": "a scene"})
    demo.delete(f"/overlay-tokens/{made['overlayTokenId']}", creator)
    play(overlay_page_scenes.refuse_a_token, url=demo.url, secret=made["secret"])
