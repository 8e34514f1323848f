"""<hm-buy-tokens> in a browser, with the checkout of the demo, which charges nobody."""

from collections.abc import Iterator

import pytest

from tests.web import buy_tokens_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("buy") / "data", "--demo") as server:
        yield server


def test_a_pack_is_bought_once_and_the_balance_follows_by_itself(demo: Demo) -> None:
    fan = demo.person(200)
    play(buy_tokens_scenes.buy_a_pack, url=demo.url, token=fan.token)
    assert [each["status"] for each in demo.read("/tokens/purchases", fan)["items"]] == ["paid"]
    assert demo.read("/wallet", fan)["balance"] == 1200


def test_a_page_that_was_loaded_anew_returns_to_its_checkout(demo: Demo) -> None:
    fan = demo.person()
    demo.send("/tokens/purchases", fan, {"packId": "small"})
    play(buy_tokens_scenes.return_from_a_checkout, url=demo.url, token=fan.token)
    assert demo.read("/wallet", fan)["balance"] == 100


def test_a_browser_that_opens_no_window_shows_a_link(demo: Demo) -> None:
    fan = demo.person()
    play(buy_tokens_scenes.buy_without_a_window, url=demo.url, token=fan.token)
    assert demo.read("/wallet", fan)["balance"] == 100


def test_a_person_may_leave_a_checkout_and_choose_another_pack(demo: Demo) -> None:
    fan = demo.person()
    demo.send("/tokens/purchases", fan, {"packId": "small"})
    play(buy_tokens_scenes.choose_another_pack, url=demo.url, token=fan.token)


def test_a_retry_after_a_lost_answer_makes_no_second_purchase(demo: Demo) -> None:
    fan = demo.person()
    play(buy_tokens_scenes.retry_a_purchase, url=demo.url, token=fan.token)
    assert len(demo.read("/tokens/purchases", fan)["items"]) == 1


def test_tokens_are_bought_in_a_sheet_of_the_wallet(demo: Demo) -> None:
    fan = demo.person()
    play(buy_tokens_scenes.buy_in_the_wallet, url=demo.url, token=fan.token)
    assert demo.read("/wallet", fan)["balance"] == 100
