"""The operator's page in a browser, on a server with the demo's users; effects are read through the API."""

from collections.abc import Iterator

import pytest

from tests.web import operator_scenes
from tests.web.browser import play
from tests.web.demo import Demo

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("operator") / "data", "--demo") as server:
        yield server


def test_the_load_is_shown_as_it_changes_and_over_a_time_without_answers(demo: Demo) -> None:
    play(operator_scenes.watch_the_load, url=f"{demo.url}/")


def test_a_user_is_banned_and_the_ban_is_lifted(demo: Demo) -> None:
    fan = demo.person(name="Rude Ruben")
    play(operator_scenes.ban_and_lift, url=f"{demo.url}/", name="Rude Ruben")
    operator = demo.person(role="operator")
    latest, first = demo.read(f"/admin/users/{fan.user_id}/bans", operator)["items"]
    assert (first["reason"], first["until"]) == ("threats in chat", None)
    assert (latest["reason"], latest["until"][:4]) == ("and once more", "2035")
    assert latest["liftedAt"] is not None


def test_tokens_are_credited_once(demo: Demo) -> None:
    fan = demo.person(100, name="Cora Credit")
    play(operator_scenes.credit_once, url=f"{demo.url}/", name="Cora Credit")
    assert demo.read("/wallet", fan)["balance"] == 150


def test_a_tip_is_refunded(demo: Demo) -> None:
    fan, creator = demo.person(100, name="Tim Tipper"), demo.creator("Sia")
    demo.tip(fan, creator, 40, "for the song")
    play(operator_scenes.refund_a_tip, url=f"{demo.url}/", name="Tim Tipper")
    assert (demo.read("/wallet", fan)["balance"], demo.read("/wallet", creator)["balance"]) == (100, 0)


def test_a_payout_is_marked_as_paid(demo: Demo) -> None:
    fan, creator = demo.person(), demo.creator("Pia")
    pack = demo.read("/tokens/packs", fan)["items"][-1]
    demo.buy(fan, pack["packId"])
    demo.tip(fan, creator, pack["tokens"])
    tokens = demo.read("/payouts/terms", creator)["cashableTokens"]
    assert tokens >= demo.read("/payouts/terms", creator)["minTokens"]
    demo.send("/payouts", creator, {"tokens": tokens})
    play(operator_scenes.pay_a_payout, url=f"{demo.url}/")
    (payout,) = demo.read("/payouts", creator)["items"]
    assert (payout["status"], payout["note"]) == ("paid", "sent on Monday")


def test_reports_are_text_and_the_ledger_is_proved(demo: Demo) -> None:
    reason = "<img src=x onerror=alert(1)> and \u202eright to left"
    demo.send("/reports", demo.person(), {"userId": demo.creator("Ria").user_id, "reason": reason})
    operator, credited = demo.person(role="operator"), demo.person()
    demo.send("/admin/credits", operator, {"userId": credited.user_id, "tokens": 5, "reason": "a start"})
    play(operator_scenes.read_reports_and_prove, url=f"{demo.url}/", reason="onerror=alert(1)")


def test_charts_and_balances_are_those_of_the_api(demo: Demo) -> None:
    demo.tip(demo.person(100), demo.creator("Sue"), 40)
    play(operator_scenes.compare_charts, url=f"{demo.url}/")


def test_others_are_turned_away(demo: Demo) -> None:
    play(operator_scenes.be_turned_away, url=f"{demo.url}/")
