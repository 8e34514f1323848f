"""The web client by keyboard alone, with hostile texts, under a storm of tips, and through a purchase in a call."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web import (
    embedding_scenes,
    gift_scenes,
    hostile_scenes,
    keyboard_scenes,
    report_scenes,
    tip_storm_scenes,
    top_up_scenes,
)
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long

FRAMES_MIN = 50  # a second
PACE_SECONDS_MAX = 12.0  # in which the 500 tips of ten seconds are booked


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    settings = {
        "HALFMINUTE_CALLS_BLOCK_SECONDS": "4",
        "HALFMINUTE_HTTP_ALLOWED_ORIGINS": json.dumps([embedding_scenes.ELSEWHERE]),
    }
    with Demo(tmp_path_factory.mktemp("ways") / "data", "--demo", settings=settings) as server:
        yield server


def test_tokens_are_bought_and_a_call_is_held_by_keyboard_alone(demo: Demo) -> None:
    play(keyboard_scenes.buy_and_call, url=f"{demo.url}/")


def test_hostile_texts_are_shown_as_text(demo: Demo) -> None:
    creator, about = demo.person(), f"{hostile_scenes.MARKUP} about"
    terms = {"displayName": hostile_scenes.REORDERED, "about": about, "rateTokensPerMin": 60}
    demo.change("/creators/me", creator, terms)
    stream = demo.live_stream(creator, title=f"{hostile_scenes.MARKUP} {hostile_scenes.REORDERED}")
    fan = demo.person(10, name=f"{hostile_scenes.HIDDEN} {hostile_scenes.MARKUP}")
    play(hostile_scenes.show_as_text, url=f"{demo.url}/", fan=fan._asdict(), stream=stream["id"], about=about)
    logged = demo.errors.all()
    assert logged
    assert not [line for line in logged if "eyJ" in line], "no token is in the log"


def test_another_website_embeds_elements(demo: Demo) -> None:
    given = {"token": demo.person(70).token, "creator": demo.creator("Vera").user_id}
    play(embedding_scenes.use_elements_elsewhere, url=demo.url, **given)


def test_a_tip_is_seen_by_another_viewer_and_on_the_overlay(demo: Demo) -> None:
    creator = demo.creator("Una")
    stream = demo.live_stream(creator)
    secret = demo.send("/overlay-tokens", creator, {"name": "OBS"})["secret"]
    play(gift_scenes.give_before_others, url=f"{demo.url}/", stream=stream["id"], secret=secret)


def test_users_report_each_other_and_a_creator_blocks(demo: Demo) -> None:
    fan, creator, operator = demo.person(100, name="Rolf"), demo.creator("Nia"), demo.person(role="operator")
    mara = next(
        each for each in demo.read("/streams?status=live", fan)["items"] if each["creator"]["displayName"] == "Mara"
    )
    given = {"fan": fan.token, "creator": creator.token, "creator_id": creator.user_id, "stream": mara["id"]}
    play(report_scenes.report_each_other, url=f"{demo.url}/", **given)
    (about_fan,) = demo.read(f"/admin/reports?userId={fan.user_id}", operator)["items"]
    assert (about_fan["reporterId"], about_fan["reason"]) == (creator.user_id, "threats")
    assert about_fan["roomId"] is not None
    (by_fan,) = demo.read(f"/admin/reports?reporterId={fan.user_id}", operator)["items"]
    assert (by_fan["userId"], by_fan["roomId"]) == (mara["creator"]["userId"], mara["id"])
    refused = demo.post("/api/calls/init", fan.token, {"creatorId": creator.user_id})
    assert refused.json()["error"] == "CREATOR_UNAVAILABLE", "a blocked fan is not told"
    (blocked,) = demo.read("/creators/me/blocks", creator)["items"]
    assert (blocked["userId"], blocked["displayName"]) == (fan.user_id, "Rolf")
    play(report_scenes.unblock, url=f"{demo.url}/", creator=creator.token)
    assert demo.read("/creators/me/blocks", creator)["items"] == []


def test_five_hundred_tips_in_ten_seconds_keep_the_page_at_its_pace(demo: Demo, tmp_path: Path) -> None:
    creator = demo.creator("Tia")
    stream = demo.live_stream(creator)
    fans = [demo.person(100).token for _ in range(10)]
    out = tmp_path / "frames"
    given = {"fans": fans, "creator": creator.user_id, "stream": stream["id"], "out": str(out)}
    play(tip_storm_scenes.keep_the_pace, url=f"{demo.url}/", **given)
    frames, seconds = map(float, out.read_text().split())
    print(f"{frames:.1f} frames a second, 500 tips in {seconds:.1f} s")
    assert seconds < PACE_SECONDS_MAX
    assert frames >= FRAMES_MIN


def test_a_fan_who_runs_low_buys_tokens_without_leaving_the_call(demo: Demo) -> None:
    fan, creator = demo.person(10, name="Lou"), demo.creator("Lea")
    demo.change("/creators/me", creator, {"displayName": "Lea", "rateTokensPerMin": 60})
    play(
        top_up_scenes.top_up_in_a_call,
        url=f"{demo.url}/",
        fan=fan.token,
        creator=creator.token,
        creator_id=creator.user_id,
    )
    (call,) = demo.read("/calls/history", fan)["items"]
    balance = demo.read("/wallet", fan)["balance"]
    assert call["endReason"] == "hangup"
    assert balance == 10 + 100 - call["tokens"]
    assert demo.read("/wallet", creator)["balance"] == call["tokens"]
