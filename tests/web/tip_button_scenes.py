"""Scenes of <hm-tip-button>: a tip is paid once, or not at all, and the page shows which."""

from playwright.sync_api import Locator, Page, Route, expect

from tests.web.money_page import add, dispatched, open_page, picture, wait_events

MESSAGE = "<b>Bravo</b>"


def _open(page: Page, url: str, token: str, creator_id: str, channel: str = "", lang: str = "en") -> Locator:
    open_page(page, url, token, "tipped", lang=lang)
    add(page, "hm-tip-button", to_creator_id=creator_id, **({"channel": channel} if channel else {}))
    button = page.locator("hm-tip-button")
    button.get_by_role("button", name="Tip" if lang == "en" else "Trinkgeld", exact=True).click()
    return button


def double_tap(page: Page, url: str, token: str, creator_id: str, channel: str) -> None:
    """The tip is pending until the server has booked it, and a double tap sends one."""
    held: list[Route] = []
    button = _open(page, url, token, creator_id, channel)
    page.route(f"{url}/api/tips/send", lambda route: held.append(route))
    expect(button.get_by_text("You have 200 tokens; after the tip 190.")).to_be_visible()
    button.get_by_text("50 tokens", exact=True).click()
    button.get_by_label("Message, if you like").fill(MESSAGE)
    picture(page, "tip")
    send = button.get_by_role("button", name="Send 50 tokens")
    send.dblclick()
    send = button.get_by_role("button", name="Sending 50 tokens …")
    expect(send).to_be_visible()
    send.evaluate("button => button.click()")
    expect(button.get_by_text("Not booked yet. Once it is, you have 150 tokens.")).to_be_visible()
    picture(page, "tip-pending")
    assert dispatched(page) == []
    page.unroute(f"{url}/api/tips/send")
    for route in held:
        route.continue_()
    expect(button.get_by_text("Your tip of 50 tokens is booked.")).to_be_visible()
    expect(button.get_by_text("You have 150 tokens left.")).to_be_visible()
    picture(page, "tip-booked")
    (tipped,) = dispatched(page)
    assert (tipped["detail"]["amountTokens"], tipped["detail"]["message"]) == (50, MESSAGE)
    assert tipped["detail"]["balance"] == 150
    button.get_by_role("button", name="Done").click()
    expect(button.get_by_role("button", name="Tip", exact=True)).to_be_focused()


def double_tap_fast(page: Page, url: str, token: str, creator_id: str) -> None:
    """Taps that follow each other within a task, and as fast as a person can."""
    button = _open(page, url, token, creator_id)
    send = button.get_by_role("button", name="Send 10 tokens")
    send.evaluate("button => { button.click(); button.click(); button.form.requestSubmit(); }")
    expect(button.get_by_text("Your tip of 10 tokens is booked.")).to_be_visible()
    button.get_by_role("button", name="Send another tip").click()
    box = button.get_by_role("button", name="Send 10 tokens").bounding_box()
    assert box is not None
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, delay=60)
    expect(button.get_by_role("button", name="Tip", exact=True)).to_be_visible()
    wait_events(page, 2)


def retry_a_tip(page: Page, url: str, token: str, creator_id: str) -> None:
    """The answers are lost, so only the same tip may be sent again; it is booked once."""
    keys: list[str] = []

    def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) <= 4:  # the SDK's own attempts as well
            route.fetch()
            route.abort()
        else:
            route.continue_()

    button = _open(page, url, token, creator_id)
    page.route(f"{url}/api/tips/send", lose)
    button.get_by_role("button", name="Send 10 tokens").click()
    expect(button.get_by_role("alert")).to_contain_text("you pay only once", timeout=20_000)
    expect(button.get_by_label("Own amount")).to_be_disabled()
    picture(page, "tip-unsettled")
    button.get_by_role("button", name="Try the same tip again").click()
    expect(button.get_by_text("Your tip of 10 tokens is booked.")).to_be_visible()
    assert len(keys) == 5
    assert len(set(keys)) == 1
    assert len(dispatched(page)) == 1


def top_up_for_a_tip(page: Page, url: str, token: str, creator_id: str) -> None:
    """Without enough tokens the sheet leads to the packs and back, and keeps amount and message."""
    button = _open(page, url, token, creator_id)
    button.get_by_label("Own amount").fill("120")
    button.get_by_label("Message, if you like").fill("Encore")
    expect(button.get_by_text("You have 30 tokens, and 90 are missing.")).to_be_visible()
    expect(button.get_by_role("button", name="Send 120 tokens")).to_have_count(0)
    picture(page, "tip-short")
    button.get_by_role("button", name="Buy tokens").click()
    expect(button.get_by_text("You have 30 tokens. 90 more are needed.")).to_be_visible()
    picture(page, "tip-shop")
    with page.expect_popup() as opened:
        button.get_by_role("button", name="Pay $6.99").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(button.get_by_text("100 tokens are booked.")).to_be_visible()
    button.get_by_role("button", name="Back to the tip").click()
    expect(button.get_by_label("Message, if you like")).to_have_value("Encore")
    button.get_by_role("button", name="Send 120 tokens").click()
    expect(button.get_by_text("You have 10 tokens left.")).to_be_visible()


def tip_with_an_old_balance(page: Page, url: str, token: str, creator_id: str) -> None:
    """The page does not know that the tokens are spent elsewhere; the server refuses, and the form shows the facts."""
    page.route_web_socket("**/ws", lambda _: None)
    stale = '{"user": {"isCreator": false}, "wallet": {"balance": 500, "promotional": 0, "limits": {}}}'
    page.route(f"{url}/api/me*", lambda route: route.fulfill(status=200, content_type="application/json", body=stale))
    button = _open(page, url, token, creator_id)
    button.get_by_text("50 tokens", exact=True).click()
    page.unroute(f"{url}/api/me*")
    button.get_by_role("button", name="Send 50 tokens").click()
    expect(button.get_by_text("You have 30 tokens, and 20 are missing.")).to_be_visible()
    expect(button.get_by_role("button", name="Buy tokens")).to_be_visible()
    assert dispatched(page) == []


def show_a_refusal(page: Page, url: str, token: str, creator_id: str) -> None:
    """A limit of the person's own is shown with its figures, and the form stays."""
    button = _open(page, url, token, creator_id, lang="de")
    button.get_by_label("Eigener Betrag").fill("0")
    expect(button.get_by_role("button", name="Trinkgeld senden")).to_be_disabled()
    button.get_by_label("Eigener Betrag").fill("40")
    button.get_by_role("button", name="40 Token senden").click()
    expect(button.get_by_role("alert")).to_contain_text("Von Ihrem Tageslimit von 30 Token sind 0 ausgegeben.")
    expect(button.get_by_label("Eigener Betrag")).to_be_enabled()
    picture(page, "tip-refused")
    button.get_by_label("Eigener Betrag").fill("20")
    button.get_by_role("button", name="20 Token senden").click()
    expect(button.get_by_text("Ihr Trinkgeld von 20 Token ist gebucht.")).to_be_visible()
