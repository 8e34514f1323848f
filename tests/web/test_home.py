"""The home of a platform with many creators, in a browser."""

from pathlib import Path

import pytest

from tests.web import home_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long

STEP = 24  # creators on the first page
NEWCOMERS = 30


def test_creators_who_are_online_come_first_and_all_can_be_seen(tmp_path: Path) -> None:
    with Demo(tmp_path / "data", "--demo") as demo:
        fan = demo.person()
        total = demo.read("/creators", fan)["total"] + NEWCOMERS
        for number in range(NEWCOMERS):
            demo.creator(f"Newcomer {number}")
        play(home_scenes.find_those_who_are_online, url=f"{demo.url}/", token=fan.token, step=STEP, total=total)
