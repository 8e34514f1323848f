"""Scenes of <hm-stream>: its owner and its viewers, each with a page of their own."""

import re
from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.web.call_scenes import FRAMES
from tests.web.element_page import dispatched, show_element

OpenPage = Callable[..., Page]
Person = dict[str, str]

DISPATCH_ACCESS = """() => {
  const dialog = Object.assign(document.createElement("p"), { slot: "ticket" });
  document.querySelector("hm-stream").append(dialog);
  dialog.dispatchEvent(new CustomEvent("access", { bubbles: true, composed: true }));
}"""


def _show(page: Page, url: str, person: Person, stream: str, slotted: dict[str, str] | None = None) -> None:
    show_element(page, url, person["token"], "hm-stream", {"stream": stream}, slotted)


def _go_live(open_page: OpenPage, url: str, owner: Person, stream: str) -> Page:
    page = open_page()
    _show(page, url, owner, stream)
    _button(page, "Go live").click()
    expect(page.locator("[part=earned]")).to_be_visible()
    return page


def _button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def _ask(method: str, url: str, actor: Person, path: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {actor['token']}"}
    answer = httpx.request(method, f"{url}/api{path}", headers=headers, json=body or None)
    return answer.raise_for_status().json()


def _write(page: Page, text: str) -> None:
    page.get_by_label("Write a message").fill(text)
    page.keyboard.press("Enter")


def watch_for_free(page: Page, open_page: OpenPage, url: str, fan: Person, owner: Person, stream: str) -> None:
    _show(page, url, fan, stream)
    expect(page.locator("[part=card]")).to_contain_text("The stream has not begun")
    owner_page = _go_live(open_page, url, owner, stream)
    _button(page, "Watch").evaluate("(button) => { button.click(); button.click(); }")
    page.locator("video[part=video]").evaluate(FRAMES)
    assert len(dispatched(page, "joined")) == 1, "a double tap joins once"
    assert page.locator("[part=meter]").count() == 0, "nothing is charged"
    for each in (page, owner_page):
        expect(each.locator("[part=viewers]")).to_have_text("1 watching")
    expect(owner_page.locator("[part=limit]")).to_contain_text("at most 32 viewers")

    _write(page, "<b>Hello</b>")
    expect(page.get_by_label("Write a message")).to_have_value("")
    _write(owner_page, "Welcome!")
    context = {"streamId": stream}
    tip = {"toCreatorId": owner["user_id"], "amountTokens": 25, "message": "Bravo", "context": context}
    _ask("POST", url, fan, "/tips/send", **tip)
    for each in (page, owner_page):
        expect(each.locator("[part=message]").first).to_contain_text("<b>Hello</b>")
        expect(each.locator("[part=tip]")).to_contain_text("25 tokens Bravo")
        assert each.locator("[part=message]").count() == 2
    expect(owner_page.locator("[part=earned]")).to_contain_text("25 tokens")

    _button(page, "Leave").click()
    expect(page.locator("[part=outcome]")).to_have_text("You left the stream.")
    expect(page.locator("h2")).to_be_focused()
    expect(owner_page.locator("[part=viewers]")).to_have_text("0 watching")
    _button(page, "Watch").click()
    expect(page.locator("[part=tip]")).to_contain_text("25 tokens Bravo")  # from the history
    _button(owner_page, "End the stream").click()
    owner_page.get_by_role("dialog").get_by_role("button", name="End the stream").click()
    for each in (page, owner_page):
        expect(each.locator("[part=outcome]")).to_have_text("The stream is over.")
    assert dispatched(page, "stream-ended") == [{"streamId": stream}]
    assert _ask("GET", url, fan, f"/streams/{stream}")["stream"]["status"] == "ended"


def pay_by_the_block(
    page: Page, open_page: OpenPage, url: str, fan: Person, owner: Person, operator: Person, stream: str
) -> None:
    def billing() -> Any:
        return _ask("GET", url, fan, f"/billing/streams/{stream}")

    owner_page = _go_live(open_page, url, owner, stream)
    _show(page, url, fan, stream)
    expect(page.locator("[part=price]")).to_contain_text("60 tokens a minute")
    expect(page.locator("[part=price]")).to_contain_text("blocks of 4 seconds, 4 tokens each")
    assert _ask("GET", url, fan, "/wallet")["balance"] == 14, "nothing is charged before the fan chooses to watch"
    _button(page, "Watch").click()
    expect(page.locator(".tokens")).to_have_text("8 tokens")
    expect(page.locator(".left")).to_have_text(re.compile("^0:0[3-9]$"))
    _button(page, "Leave").click()
    expect(page.locator("[part=outcome]")).to_contain_text("Nothing more is charged")
    spent = billing()["totals"]["tokens"]
    page.wait_for_timeout(4500)  # longer than a block
    assert billing()["totals"]["tokens"] == spent == 8

    _button(page, "Watch").click()
    expect(page.locator(".tokens")).to_have_text("8 tokens")  # numbers and the rest of the block go on
    owner_page.close()
    expect(page.locator("[part=cover]")).to_contain_text("is away for the moment. Nothing is charged meanwhile.")
    owner_page = open_page()
    _show(owner_page, url, owner, stream)
    _button(owner_page, "Return to the stream").click()

    low = page.locator("[part=low]")
    expect(low).to_contain_text("costs 4 tokens, you have 2")
    low.get_by_role("button", name="Buy tokens").click()
    assert dispatched(page, "top-up") == [{"required": 4, "balance": 2, "shortfall": 2}]
    expect(page.locator("[part=outcome]")).to_have_text("You had not enough tokens for the next block.")
    expect(page.locator("[part=shortfall]")).to_contain_text("costs 4 tokens, you have 2: 2 more are needed")
    assert [block["blockNo"] for block in billing()["blocks"]] == [1, 2, 3]
    assert dispatched(page, "left")[-1]["reason"] == "insufficient_funds"
    _ask("POST", url, operator, "/admin/credits", userId=fan["user_id"], tokens=4, reason="a test")
    expect(page.locator("[part=shortfall]")).to_have_count(0)


def moderate(page: Page, open_page: OpenPage, url: str, fan: Person, owner: Person, stream: str) -> None:
    owner_page = _go_live(open_page, url, owner, stream)
    _show(page, url, fan, stream)
    _button(page, "Watch").click()
    _write(page, "first")
    owner_page.get_by_role("log").get_by_role("button", name="Moderate Fay").click()
    owner_page.get_by_role("dialog").get_by_role("button", name="Mute").click()
    expect(owner_page.get_by_role("dialog")).to_have_count(0)
    _write(page, "second")
    expect(page.locator("[part=error]")).to_be_visible()
    expect(page.get_by_label("Write a message")).to_have_value("second")  # kept for another attempt
    owner_page.get_by_text("Viewers (1)").click()
    owner_page.locator("[part=viewer-list]").get_by_role("button", name="Moderate Fay").click()
    owner_page.keyboard.press("Escape")
    expect(owner_page.get_by_role("dialog")).to_have_count(0)
    owner_page.locator("[part=viewer-list]").get_by_role("button", name="Moderate Fay").click()
    owner_page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator("[part=outcome]")).to_have_text("The creator removed you from the stream.")
    expect(page.locator("[part=join]")).to_have_count(0)
    expect(owner_page.locator("[part=viewers]")).to_have_text("0 watching")


def need_a_ticket(page: Page, open_page: OpenPage, url: str, fan: Person, owner: Person, stream: str) -> None:
    owner_page = open_page()
    _show(owner_page, url, owner, stream, {"player": "a player of the page"})
    _button(owner_page, "Go live").click()
    expect(owner_page.get_by_text("a player of the page")).to_be_visible()
    assert owner_page.locator("[part=screen]").is_hidden(), "the player replaces the direct video"
    assert owner_page.evaluate("document.querySelector('hm-stream').session.local.stream") is None

    _show(page, url, fan, stream)
    _button(page, "Get a ticket for 150 tokens").click()
    assert dispatched(page, "ticket") == [{"streamId": stream, "ticketPriceTokens": 150}]
    _ask("POST", url, fan, f"/streams/{stream}/tickets")
    page.evaluate(DISPATCH_ACCESS)
    _button(page, "Watch").click()
    expect(page.locator("[part=viewers]")).to_have_text("1 watching")
    page.evaluate("document.querySelector('hm-stream').remove()")
    expect(owner_page.locator("[part=viewers]")).to_have_text("0 watching")
