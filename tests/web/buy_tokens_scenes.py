"""Scenes of <hm-buy-tokens>: packs, the checkout in its own window, and the return."""

from playwright.sync_api import Page, Route, expect

from tests.web.money_page import add, dispatched, open_page, picture


def buy_a_pack(page: Page, url: str, token: str) -> None:
    """The tokens that are paid in the other window appear here by themselves; a double click buys one pack."""
    open_page(page, url, token, "bought")
    add(page, "hm-buy-tokens", needed="300")
    shop = page.locator("hm-buy-tokens")
    expect(shop.get_by_text("You have 200 tokens. 300 more are needed.")).to_be_visible()
    expect(shop.get_by_role("radio", name="500 tokens")).to_be_checked()
    expect(shop.get_by_role("radio", name="100 tokens")).to_have_accessible_name("100 tokens $0.0699 per token $6.99")
    picture(page, "packs")
    shop.get_by_role("radio", name="1,000 tokens").check()
    with page.expect_popup() as opened:
        shop.get_by_role("button", name="Pay $62.99").evaluate("button => { button.click(); button.click(); }")
    checkout = opened.value
    expect(shop.get_by_text("1,000 tokens for $62.99: waiting for your payment")).to_be_visible()
    picture(page, "checkout")
    expect(shop.get_by_role("heading")).to_be_focused()
    checkout.get_by_role("button", name="Pay").wait_for()
    assert checkout.evaluate("window.opener") is None
    assert dispatched(page) == []
    checkout.get_by_role("button", name="Pay").click()
    expect(checkout.get_by_text("paid")).to_be_visible()
    expect(shop.get_by_text("1,000 tokens are booked.")).to_be_visible()
    expect(shop.get_by_text("You have 1,200 tokens.")).to_be_visible()
    picture(page, "bought")
    (bought,) = dispatched(page)
    assert (bought["detail"]["tokens"], bought["detail"]["balance"]) == (1000, 1200)
    assert len(page.context.pages) == 2


def return_from_a_checkout(page: Page, url: str, token: str) -> None:
    """A page that was loaded anew leads back to the checkout, and waits for its end."""
    open_page(page, url, token, "bought")
    add(page, "hm-buy-tokens")
    shop = page.locator("hm-buy-tokens")
    expect(shop.get_by_text("100 tokens for $6.99: waiting for your payment")).to_be_visible()
    with page.expect_popup() as opened:
        shop.get_by_role("link", name="Open the checkout").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(shop.get_by_text("100 tokens are booked.")).to_be_visible()
    shop.get_by_role("button", name="Buy more").click()
    expect(shop.get_by_role("radio")).to_have_count(4)
    assert len(dispatched(page)) == 1


def buy_without_a_window(page: Page, url: str, token: str) -> None:
    """A browser that opens no window leaves a link to the checkout."""
    open_page(page, url, token, "bought")
    page.evaluate("() => { globalThis.open = () => null; }")
    add(page, "hm-buy-tokens")
    shop = page.locator("hm-buy-tokens")
    shop.get_by_role("button", name="Pay $6.99").click()
    with page.expect_popup() as opened:
        shop.get_by_role("link", name="Open the checkout").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(shop.get_by_text("100 tokens are booked.")).to_be_visible()


def choose_another_pack(page: Page, url: str, token: str) -> None:
    open_page(page, url, token, "bought")
    add(page, "hm-buy-tokens")
    shop = page.locator("hm-buy-tokens")
    shop.get_by_role("button", name="Choose another pack").click()
    expect(shop.get_by_role("radio")).to_have_count(4)


def retry_a_purchase(page: Page, url: str, token: str) -> None:
    """The answer to the first request is lost: the next click gets the same purchase."""
    path = f"{url}/api/tokens/purchases"
    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST" and len(lost) < 4:  # the SDK's own attempts as well
            lost.append(route.fetch().json()["purchaseId"])
            route.abort()
        else:
            route.continue_()

    open_page(page, url, token)
    page.route(path, lose)
    add(page, "hm-buy-tokens")
    shop = page.locator("hm-buy-tokens")
    shop.get_by_role("button", name="Pay $6.99").click()
    expect(shop.get_by_role("alert")).to_contain_text("cannot be reached", timeout=20_000)
    picture(page, "purchase-failed")
    with page.expect_popup():
        shop.get_by_role("button", name="Pay $6.99").click()
    expect(shop.get_by_text("waiting for your payment")).to_be_visible()
    assert len(set(lost)) == 1, lost


def buy_in_the_wallet(page: Page, url: str, token: str) -> None:
    open_page(page, url, token, "bought")
    add(page, "hm-wallet")
    wallet = page.locator("hm-wallet")
    wallet.get_by_role("button", name="Buy tokens").click()
    sheet = wallet.get_by_role("dialog", name="Buy tokens")
    expect(sheet).to_be_visible()
    picture(page, "sheet")
    with page.expect_popup() as opened:
        wallet.get_by_role("button", name="Pay").click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(wallet.get_by_text("100 tokens are booked.")).to_be_visible()
    sheet.get_by_role("button", name="Close").click()
    expect(sheet).to_be_hidden()
    expect(wallet.get_by_role("status").first).to_contain_text("100 tokens")
    expect(wallet.get_by_role("button", name="Buy tokens")).to_be_focused()
