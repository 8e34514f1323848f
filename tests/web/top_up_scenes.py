"""A fan whose tokens run out in a call buys some at the checkout of the demo, and goes on."""

from collections.abc import Callable

from playwright.sync_api import Page, expect


def top_up_in_a_call(
    page: Page, open_page: Callable[..., Page], url: str, fan: str, creator: str, creator_id: str
) -> None:
    creator_page = open_page()
    open_as(creator_page, url, creator, "")
    open_as(page, url, fan, f"call/{creator_id}")
    page.get_by_role("button", name="Call Lea").click()
    creator_page.get_by_role("button", name="Accept").click()
    low = page.locator("hm-call [part=low]")
    expect(low).to_contain_text("Without 2 more the call ends.")
    low.get_by_role("button", name="Buy tokens").click()
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Pay $").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(page.get_by_text("100 tokens are booked.")).to_be_visible()
    opened.value.close()
    page.keyboard.press("Escape")
    expect(low).to_have_count(0)
    expect(page.get_by_text("Block 4: 4 tokens")).to_be_attached()
    page.get_by_role("button", name="Hang up").click()
    expect(page.get_by_text("You ended the call")).to_be_visible()
    paid = page.locator("hm-call [part=ended]").get_by_text("You paid").inner_text()
    expect(creator_page.get_by_text(paid.replace("You paid", "You earned"))).to_be_visible()


def open_as(page: Page, url: str, token: str, place: str) -> None:
    """Open a place of the client as the user of a token."""
    page.goto(url)
    page.evaluate("(token) => sessionStorage.setItem('halfminute.token', token)", token)
    page.goto(f"{url}#/{place}")
    page.reload()
