"""The walk through the demo that takes the pictures of the README."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in

PHONE = {"viewport": {"width": 390, "height": 844}}
SETTLE_MS = 400  # for pictures to load and motion to end


def take(page: Page, open_page: Callable[..., Page], url: str, out: str) -> None:
    """Walk through the demo as Finn; the last picture is of the other language and theme."""
    page.close()
    phone = open_page(**PHONE, locale="en", color_scheme="light")
    sign_in(phone, url, "Finn")
    expect(phone.get_by_role("link", name="Call Bruno")).to_be_visible()
    _shoot(phone, f"{out}/home.png")
    phone.get_by_role("link", name="All day with Mara").click()
    phone.get_by_role("button", name="Watch").click()
    phone.get_by_label("Write a message").fill("Hello!")
    phone.keyboard.press("Enter")
    expect(phone.get_by_text("Tell me more.").or_(phone.get_by_text("Good to hear you!")).first).to_be_visible()
    _shoot(phone, f"{out}/stream.png")
    phone.get_by_role("link", name="halfminute").click()
    phone.get_by_role("link", name="Mara's evening show").click()
    phone.get_by_role("button", name="Get a ticket for 150 tokens").click()
    expect(phone.get_by_role("button", name="Buy the ticket for 150 tokens")).to_be_visible()
    _shoot(phone, f"{out}/ticket.png")
    dark = open_page(**PHONE, locale="de", color_scheme="dark")
    dark.goto(url)
    dark.get_by_role("button", name="Faye").click()
    dark.get_by_role("link", name="Guthaben").click()
    expect(dark.locator("hm-ledger table")).to_be_visible()
    _shoot(dark, f"{out}/wallet.png")


def _shoot(page: Page, path: str) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=path)
