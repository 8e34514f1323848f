"""The web client at `/`, in a browser, on a server with the demo's users."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.processes import ServerProcess
from tests.web import app_scenes
from tests.web.browser import play

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("app") / "data", "--demo") as server:
        yield f"http://127.0.0.1:{server.http_port}/"


def test_a_guest_of_the_demo_looks_around_and_leaves_nothing(url: str) -> None:
    play(app_scenes.look_around, url=url)


def test_a_fan_calls_tips_and_hangs_up(url: str) -> None:
    play(app_scenes.call_the_one_who_answers, url=url)


def test_a_viewer_chats_tips_leaves_and_buys_a_ticket(url: str) -> None:
    play(app_scenes.watch_chat_and_buy_a_ticket, url=url)


def test_two_people_see_each_other_and_the_creator_ends(url: str) -> None:
    play(app_scenes.two_people_call, url=url)


@pytest.mark.parametrize("is_signed_in", [False, True])
def test_the_first_view_is_small_and_does_not_shift(url: str, is_signed_in: bool) -> None:
    tokens = {each["displayName"]: each["token"] for each in httpx.get(f"{url}api/demo/users").json()["items"]}
    play(app_scenes.load_home, url=url, token=tokens["Finn"] if is_signed_in else None)


def test_a_part_of_the_client_that_cannot_be_loaded_is_loaded_later(url: str) -> None:
    play(app_scenes.miss_a_module, url=url)


def test_the_page_may_load_files_of_its_server_alone(url: str) -> None:
    answer = httpx.get(url)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert policy["trusted-types"] == "lit-html"
    assert policy["connect-src"].startswith("'self' ws://127.0.0.1:")
    assert "camera=(self)" in answer.headers["Permissions-Policy"]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers
