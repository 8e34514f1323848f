"""Nothing moves on a screen of a user whose system asks for reduced motion."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web import motion_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long

SETTINGS = {"HALFMINUTE_CALLS_BLOCK_SECONDS": "4"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("motion") / "data", "--demo", settings=SETTINGS) as server:
        yield server


@pytest.fixture
def given(demo: Demo) -> dict[str, Any]:
    """A live stream, its creator, and the secret of an overlay."""
    creator = demo.creator("Una")
    stream = demo.live_stream(creator)
    secret = demo.send("/overlay-tokens", creator, {"name": "OBS"})["secret"]
    return {"url": f"{demo.url}/", "creator": creator.user_id, "secret": secret, "stream": stream}


def test_no_screen_moves_for_users_who_want_reduced_motion(given: dict[str, Any]) -> None:
    play(motion_scenes.keep_still, **given)


def test_a_tip_that_arrives_moves_for_all_others(given: dict[str, Any]) -> None:
    play(motion_scenes.move, **given)
