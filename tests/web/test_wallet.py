"""<hm-wallet> and <hm-ledger> in a browser, against a real server."""

from collections.abc import Iterator

import pytest

from tests.web import wallet_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("wallet") / "data", "--demo") as server:
        yield server


def test_a_wallet_shows_the_balance_and_its_parts(demo: Demo) -> None:
    play(wallet_scenes.show_wallet, url=demo.url, token=demo.person(1500).token)


def test_an_open_purchase_leads_to_its_checkout(demo: Demo) -> None:
    fan = demo.person()
    demo.buy(fan, "small")
    demo.send("/tokens/purchases", fan, {"packId": "medium"})
    play(wallet_scenes.list_purchases, url=demo.url, token=fan.token)


def test_a_payment_changes_the_balance_and_the_statement_by_itself(demo: Demo) -> None:
    fan, creator = demo.person(1500), demo.creator("Ava")
    play(wallet_scenes.follow_balance, url=demo.url, token=fan.token, amount=70, creator_id=creator.user_id)


def test_a_lower_spend_limit_counts_at_once_and_a_higher_one_later(demo: Demo) -> None:
    fan = demo.person(1500)
    play(wallet_scenes.limit_spending, url=demo.url, token=fan.token)
    limits = demo.read("/wallet", fan)["limits"]
    assert limits["dailySpendLimit"] == 300
    assert limits["next"]["dailySpendLimit"] == 900


def test_a_double_click_requests_one_payout(demo: Demo) -> None:
    fan, creator = demo.person(), demo.creator("Ava")
    demo.buy(fan, "large", times=2)
    demo.tip(fan, creator, 2000)
    play(wallet_scenes.cash_out, url=demo.url, token=creator.token)
    assert [each["tokens"] for each in demo.read("/payouts", creator)["items"]] == [1000]


def test_a_statement_has_pages_and_filters(demo: Demo) -> None:
    fan, creator = demo.person(1500), demo.creator("Ava")
    for _ in range(30):
        demo.tip(fan, creator, 5)
    play(wallet_scenes.read_statement, url=demo.url, token=fan.token)


def test_every_part_fits_a_small_phone(demo: Demo) -> None:
    fan, creator = demo.person(), demo.creator("Ava")
    demo.buy(fan, "large", times=2)
    demo.tip(fan, creator, 1500)
    demo.tip(fan, creator, 500)
    play(wallet_scenes.fit_a_small_phone, url=demo.url, token=creator.token)


def test_a_failed_read_is_shown_and_tried_again(demo: Demo) -> None:
    play(wallet_scenes.recover_from_a_failure, url=demo.url, token=demo.person(10).token)
