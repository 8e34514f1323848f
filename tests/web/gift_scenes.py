"""A tip in the client, as the giver, another viewer and the overlay of the streaming software see it."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in


def give_before_others(page: Page, open_page: Callable[..., Page], url: str, stream: str, secret: str) -> None:
    viewer, overlay = open_page(), open_page()
    overlay.goto(f"{url}overlay#token={secret}")
    for each, name in ((viewer, "Faye"), (page, "Finn")):
        sign_in(each, url, name)
        each.goto(f"{url}#/stream/{stream}")
        each.get_by_role("button", name="Watch").click()
        each.get_by_label("Write a message").wait_for()
    expect(overlay.locator("hm-tips-overlay")).to_be_attached()
    page.get_by_role("button", name="Tip", exact=True).click()
    page.get_by_label("Message, if you like").fill("what a <i>song</i>")
    page.get_by_role("button", name="Send 10 tokens").dblclick()
    expect(page.get_by_text("Your tip of 10 tokens is booked.")).to_be_visible()
    for each in (page, viewer):
        line = each.get_by_role("log").locator(".tip")
        expect(line).to_have_count(1)
        expect(line).to_contain_text("Finn 10 tokens what a <i>song</i>")
    shown = overlay.locator("hm-tips-overlay .tip")
    expect(shown).to_contain_text("10 tokens")
    expect(shown).to_contain_text("what a <i>song</i>")
    for part in ("html", "body"):
        expect(overlay.locator(part)).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Leave").click()
    expect(viewer.get_by_text("1 watching")).to_be_visible()
