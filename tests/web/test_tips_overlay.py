"""<hm-tips-overlay> in a browser, with the token of an overlay, against a real server."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.web import tips_overlay_scenes
from tests.web.browser import play
from tests.web.demo import Demo, Person

pytestmark = pytest.mark.long

CRUSH = 14  # givers at once


class Show(NamedTuple):
    """A live stream of a creator, with the secret of an overlay."""

    creator: Person
    channel: str
    secret: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("overlay") / "data", "--demo") as server:
        yield server


def begin_show(demo: Demo) -> Show:
    creator = demo.creator("Ava")
    secret = demo.send("/overlay-tokens", creator, {"name": "a scene"})["secret"]
    return Show(creator, demo.live_stream(creator)["channel"], secret)


def test_tips_are_shown_one_after_another_and_those_of_one_giver_are_summed(demo: Demo) -> None:
    show, givers = begin_show(demo), [demo.person(100, name).token for name in ("Finn", "Faye")]
    play(
        tips_overlay_scenes.show_tips,
        url=demo.url,
        secret=show.secret,
        givers=givers,
        creator_id=show.creator.user_id,
        channel=show.channel,
    )


def test_a_crush_is_summed_without_losing_a_token_and_without_motion(demo: Demo) -> None:
    show, givers = begin_show(demo), [demo.person(100, f"Fan {number}").token for number in range(CRUSH)]
    play(
        tips_overlay_scenes.sum_a_crush,
        url=demo.url,
        secret=show.secret,
        givers=givers,
        creator_id=show.creator.user_id,
        channel=show.channel,
    )


def test_missed_tips_are_replayed_and_none_is_shown_twice(demo: Demo) -> None:
    show, givers = begin_show(demo), [demo.person(100, name).token for name in ("Finn", "Faye")]
    play(
        tips_overlay_scenes.replay_missed_tips,
        url=demo.url,
        secret=show.secret,
        givers=givers,
        creator_id=show.creator.user_id,
        channel=show.channel,
    )


def test_a_member_sees_tips_in_the_room_that_the_page_has_joined(demo: Demo) -> None:
    show = begin_show(demo)
    play(
        tips_overlay_scenes.follow_a_members_room,
        url=demo.url,
        token=demo.person().token,
        giver=demo.person(100, "Finn").token,
        creator_id=show.creator.user_id,
        channel=show.channel,
    )


def test_the_room_of_another_creator_is_refused(demo: Demo) -> None:
    show, other = begin_show(demo), begin_show(demo)
    play(tips_overlay_scenes.refuse_a_foreign_room, url=demo.url, secret=other.secret, channel=show.channel)
