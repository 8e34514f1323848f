"""Scenes of <hm-ticket-dialog>: each state of a stream and its viewer's access, and the purchase."""

from playwright.sync_api import Locator, Page, Route, expect

from tests.web.money_page import add, dispatched, open_page, picture, wait_events


def _open(page: Page, url: str, token: str, stream_id: str, lang: str = "en") -> Locator:
    open_page(page, url, token, "access", "join", lang=lang)
    add(page, "hm-ticket-dialog", stream=stream_id, open="")
    return page.locator("hm-ticket-dialog")


def buy_a_ticket(page: Page, url: str, token: str, stream_id: str, channel: str) -> None:
    """A double click buys one ticket; the purchase gives access, and then the user joins."""
    dialog = _open(page, url, token, stream_id)
    expect(dialog.get_by_role("term")).to_have_text(["Ticket", "Your balance", "Left after the purchase"])
    expect(dialog.get_by_role("definition")).to_have_text(["150 tokens", "500 tokens", "350 tokens"])
    picture(page, "ticket-offer")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method) if request.url.endswith("/tickets") else None)
    buy = dialog.get_by_role("button", name="Buy the ticket for 150 tokens")
    buy.evaluate("button => { button.click(); button.click(); }")
    expect(dialog.get_by_text("The ticket is yours. You can join now!")).to_be_visible()
    assert requests == ["POST"]
    picture(page, "ticket-bought")
    wait_events(page, 1)
    dialog.get_by_role("button", name="Join now").click()
    expect(dialog.get_by_role("button", name="Join now")).to_have_count(0)
    expect(dialog).not_to_have_attribute("open", "")
    detail = {"streamId": stream_id, "channel": channel, "reason": "ticket"}
    assert dispatched(page) == [{"type": "access", "detail": detail}, {"type": "join", "detail": detail}]


def show_state(page: Page, url: str, token: str, stream_id: str, texts: list[str], events: list[str]) -> None:
    """A state without a purchase: its texts, and the events that come by themselves."""
    dialog = _open(page, url, token, stream_id)
    for text in texts:
        expect(dialog.get_by_text(text).first).to_be_visible()
    expect(dialog.get_by_role("button", name="Buy the ticket")).to_have_count(0)
    picture(page, f"ticket-{texts[0].split(' ')[-1].strip('.!')}")
    assert [each["type"] for each in dispatched(page)] == events


def top_up_for_a_ticket(page: Page, url: str, token: str, stream_id: str) -> None:
    dialog = _open(page, url, token, stream_id)
    expect(dialog.get_by_text("You need 150 tokens and have 60, so 90 are missing.")).to_be_visible()
    expect(dialog.get_by_role("button", name="Buy the ticket")).to_have_count(0)
    picture(page, "ticket-short")
    dialog.get_by_role("button", name="Buy tokens").click()
    expect(dialog.get_by_text("You have 60 tokens. 90 more are needed.")).to_be_visible()
    with page.expect_popup() as opened:
        dialog.get_by_role("button", name="Pay $6.99").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(dialog.get_by_text("100 tokens are booked.")).to_be_visible()
    dialog.get_by_role("button", name="Back to the ticket").click()
    dialog.get_by_role("button", name="Buy the ticket for 150 tokens").click()
    expect(dialog.get_by_text("The ticket is yours.")).to_be_visible()


def recover_from_a_failure(page: Page, url: str, token: str, stream_id: str) -> None:
    """A wait shows a skeleton, a failure a way on."""
    held: list[Route] = []
    pattern = f"{url}/api/streams/*/access*"
    page.route(pattern, lambda route: held.append(route))
    dialog = _open(page, url, token, stream_id, lang="de")
    expect(dialog.get_by_role("status")).to_contain_text("Wird geladen")
    picture(page, "ticket-loading")
    page.unroute(pattern)
    held[0].fulfill(status=418, body="")
    expect(dialog.get_by_role("alert")).to_be_visible()
    picture(page, "ticket-failed")
    dialog.get_by_role("button", name="Noch einmal versuchen").click()
    expect(dialog.get_by_role("button", name="Ticket für 150 Token kaufen")).to_be_visible()
    expect(dialog.get_by_text("von Mara")).to_be_visible()
    portrait = dialog.locator("img")
    expect(portrait).to_be_visible()
    assert portrait.evaluate("async (image) => (await image.decode(), image.naturalWidth)") > 0
    picture(page, "ticket-portrait")


def retry_a_purchase(page: Page, url: str, token: str, stream_id: str) -> None:
    """The answers are lost; a retry under the same key finds the first purchase."""
    keys: list[str] = []

    def lose(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) <= 4:  # the SDK's own attempts as well
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route_web_socket("**/ws", lambda _: None)  # else an event would tell of the purchase
    page.route(f"{url}/api/streams/*/tickets", lose)
    dialog = _open(page, url, token, stream_id)
    dialog.get_by_role("button", name="Buy the ticket for 150 tokens").click()
    expect(dialog.get_by_role("alert")).to_contain_text("you pay only once", timeout=20_000)
    picture(page, "ticket-unsettled")
    dialog.get_by_role("button", name="Try again").click()
    expect(dialog.get_by_text("The ticket is yours. You can join now!")).to_be_visible()
    assert len(keys) == 5
    assert len(set(keys)) == 1


def buy_on_another_device(page: Page, url: str, token: str, stream_id: str) -> None:
    """A ticket that is bought elsewhere gives access here as well."""
    dialog = _open(page, url, token, stream_id)
    expect(dialog.get_by_role("button", name="Buy the ticket for 150 tokens")).to_be_visible()
    page.evaluate("hm.connect()")
    page.evaluate("(streamId) => hm.rest.postStreamsStreamIdTickets({ streamId })", stream_id)
    expect(dialog.get_by_text("You already have access. You can join now!")).to_be_visible()
    wait_events(page, 1)
