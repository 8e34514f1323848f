"""<hm-ticket-dialog> in a browser, against a real server."""

from collections.abc import Iterator

import pytest

from server.demo.users import STREAMING
from tests.support.processes import eventually
from tests.web import ticket_dialog_scenes
from tests.web.browser import play
from tests.web.demo import Demo, Person

pytestmark = pytest.mark.long

TICKET = {"type": "private", "ticketPriceTokens": 150}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("ticket") / "data", "--demo") as server:
        yield server


def spent(demo: Demo, fan: Person) -> list[int]:
    """The tickets that the fan has paid."""
    return [each["tokens"] for each in demo.read("/wallet/ledger?kind=ticket", fan)["items"]]


def show(demo: Demo, person: Person, stream_id: str, *texts: str, events: tuple[str, ...] = ()) -> None:
    play(
        ticket_dialog_scenes.show_state,
        url=demo.url,
        token=person.token,
        stream_id=stream_id,
        texts=list(texts),
        events=list(events),
    )


def test_a_double_click_buys_one_ticket_and_the_buyer_joins(demo: Demo) -> None:
    fan, stream = demo.person(500), demo.live_stream(demo.creator("Ava"), **TICKET)
    play(
        ticket_dialog_scenes.buy_a_ticket,
        url=demo.url,
        token=fan.token,
        stream_id=stream["id"],
        channel=stream["channel"],
    )
    assert spent(demo, fan) == [-150]


def test_a_holder_of_a_ticket_has_access_and_is_offered_none(demo: Demo) -> None:
    fan, stream = demo.person(500), demo.live_stream(demo.creator("Ava"), **TICKET)
    demo.send(f"/streams/{stream['id']}/tickets", fan)
    show(demo, fan, stream["id"], "You already have access. You can join now!", "Join now", events=("access",))


def test_a_holder_of_a_ticket_waits_for_a_stream_that_has_not_begun(demo: Demo) -> None:
    fan, stream = demo.person(500), demo.stream(demo.creator("Ava"), **TICKET)
    demo.send(f"/streams/{stream['id']}/tickets", fan)
    show(demo, fan, stream["id"], "You have access. The stream has not begun yet.", events=("access",))


def test_a_metered_stream_shows_its_rate_and_how_long_the_balance_lasts(demo: Demo) -> None:
    stream = demo.live_stream(demo.creator("Ava"), type="private", rateTokensPerMin=40)
    texts = "This stream needs no ticket.", "40 tokens", "Enough for about 12 minutes", "Join now"
    show(demo, demo.person(500), stream["id"], *texts, events=("access",))


def test_a_public_stream_is_free(demo: Demo) -> None:
    stream = demo.live_stream(demo.creator("Ava"))
    show(demo, demo.person(), stream["id"], "This stream is free for everybody.", "Join now", events=("access",))


def test_a_stream_is_the_owners_own(demo: Demo) -> None:
    creator = demo.creator("Ava")
    stream = demo.live_stream(creator, **TICKET)
    show(demo, creator, stream["id"], "This is your own stream.", "Join now", events=("access",))


def test_an_ended_stream_sells_nothing(demo: Demo) -> None:
    creator = demo.creator("Ava")
    stream = demo.live_stream(creator, **TICKET)
    demo.send(f"/streams/{stream['id']}/end", creator)
    show(demo, demo.person(500), stream["id"], "This stream has ended.")


def test_a_blocked_user_cannot_buy(demo: Demo) -> None:
    fan, creator = demo.person(500), demo.creator("Ava")
    stream = demo.live_stream(creator, **TICKET)
    demo.change(f"/creators/me/blocks/{fan.user_id}", creator, {})
    show(demo, fan, stream["id"], "You cannot join this stream.")


def test_an_unknown_stream_is_said_to_be_unknown(demo: Demo) -> None:
    show(demo, demo.person(), "0190a000-0000-7000-8000-000000000001", "This does not exist", "Try again")


def test_too_few_tokens_show_the_shortfall_and_lead_to_the_packs(demo: Demo) -> None:
    fan, stream = demo.person(60), demo.live_stream(demo.creator("Ava"), **TICKET)
    play(ticket_dialog_scenes.top_up_for_a_ticket, url=demo.url, token=fan.token, stream_id=stream["id"])
    assert spent(demo, fan) == [-150]


def test_a_failure_can_be_tried_again(demo: Demo) -> None:
    fan = demo.person(500)
    announced = f"/streams?status=scheduled&creatorId={STREAMING.user_id}"
    eventually(lambda: demo.read(announced, fan)["items"], "the show of the demo")
    (announced_show,) = demo.read(announced, fan)["items"]
    play(ticket_dialog_scenes.recover_from_a_failure, url=demo.url, token=fan.token, stream_id=announced_show["id"])


def test_a_purchase_whose_answer_was_lost_is_tried_again_under_its_key(demo: Demo) -> None:
    fan, stream = demo.person(500), demo.live_stream(demo.creator("Ava"), **TICKET)
    play(ticket_dialog_scenes.retry_a_purchase, url=demo.url, token=fan.token, stream_id=stream["id"])
    assert spent(demo, fan) == [-150]


def test_a_ticket_that_is_bought_elsewhere_gives_access_here(demo: Demo) -> None:
    fan, stream = demo.person(500), demo.live_stream(demo.creator("Ava"), **TICKET)
    play(ticket_dialog_scenes.buy_on_another_device, url=demo.url, token=fan.token, stream_id=stream["id"])
