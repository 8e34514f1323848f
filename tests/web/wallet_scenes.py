"""Scenes of <hm-wallet>, <hm-ledger> and what the wallet holds."""

from playwright.sync_api import Page, expect

from tests.web.money_page import add, dispatched, open_page, picture


def show_wallet(page: Page, url: str, token: str) -> None:
    open_page(page, url, token)
    add(page, "hm-wallet")
    wallet = page.locator("hm-wallet")
    expect(wallet.get_by_role("status")).to_contain_text("1,500 tokens")
    expect(wallet.get_by_text("Promotional, only for spending")).to_be_visible()
    expect(wallet.get_by_text("Can be cashed out now")).to_have_count(0)
    expect(wallet.get_by_text("Cash out", exact=True)).to_have_count(0)
    wallet.get_by_text("Purchases").click()
    expect(wallet.get_by_text("You have bought no tokens yet.")).to_be_visible()
    picture(page, "wallet")


def list_purchases(page: Page, url: str, token: str) -> None:
    """An open purchase leads to its checkout; once it is paid there, the list shows it by itself."""
    open_page(page, url, token)
    add(page, "hm-wallet")
    wallet = page.locator("hm-wallet")
    wallet.get_by_text("Purchases").click()
    rows = wallet.locator("hm-purchases li")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("500 tokens")
    expect(rows.first).to_contain_text("Not paid yet")
    expect(rows.last).to_contain_text("Paid")
    expect(wallet.get_by_text("Bought", exact=True)).to_be_visible()
    picture(page, "purchases")
    link = rows.first.get_by_role("link", name="Continue to pay")
    box = link.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    with page.expect_popup() as opened:
        link.click()
    opened.value.get_by_role("button", name="Pay").click()
    expect(rows.first).to_contain_text("Paid")
    expect(wallet.get_by_role("status").first).to_contain_text("600 tokens")


def follow_balance(page: Page, url: str, token: str, amount: int, creator_id: str) -> None:
    """A payment elsewhere, by the API, changes the balance and the statement that are shown."""
    open_page(page, url, token)
    add(page, "hm-wallet")
    add(page, "hm-ledger")
    expect(page.locator("hm-ledger tbody tr")).to_have_count(1)
    page.evaluate("hm.connect()")
    rows = page.locator("hm-ledger tbody tr")
    for count, balance in ((2, "1,430"), (3, "1,360")):  # the first may be read after the session has opened
        page.evaluate("(wanted) => hm.rest.postTipsSend(wanted)", {"toCreatorId": creator_id, "amountTokens": amount})
        expect(page.locator("hm-wallet").get_by_role("status")).to_contain_text(f"{balance} tokens")
        expect(rows).to_have_count(count)
        expect(rows.first).to_contain_text("-70")
        expect(rows.first).to_contain_text(balance)


def limit_spending(page: Page, url: str, token: str) -> None:
    page.route_web_socket("**/ws", lambda _: None)  # no event updates what was read before
    open_page(page, url, token, "limited")
    add(page, "hm-wallet")
    wallet = page.locator("hm-wallet")
    wallet.get_by_text("Daily limit: none").click()
    wallet.get_by_label("Tokens a day").fill("300")
    wallet.get_by_role("button", name="Save the limit").click()
    expect(wallet.get_by_text("Saved.")).to_be_visible()
    expect(wallet.get_by_text("Daily limit: 0 of 300 tokens spent")).to_be_visible()
    wallet.get_by_label("Tokens a day").fill("900")
    wallet.get_by_role("button", name="Save the limit").click()
    expect(wallet.get_by_text("the limit is 900 tokens")).to_be_visible()
    expect(wallet.get_by_text("Daily limit: 0 of 300 tokens spent")).to_be_visible()
    picture(page, "limit")
    assert [each["detail"] for each in dispatched(page)] == [{"dailySpendLimit": 300}, {"dailySpendLimit": 900}]


def cash_out(page: Page, url: str, token: str) -> None:
    """A double click requests one payout."""
    open_page(page, url, token, "payout")
    add(page, "hm-wallet")
    wallet = page.locator("hm-wallet")
    expect(wallet.get_by_text("Can be cashed out now")).to_be_visible()
    wallet.get_by_text("Cash out", exact=True).click()
    expect(wallet.get_by_text("You can cash out 2,000 tokens: $100.00.")).to_be_visible()
    expect(wallet.get_by_text("There are no payouts yet.")).to_be_visible()
    wallet.get_by_label("Tokens to cash out").fill("1000")
    send = wallet.get_by_role("button", name="Cash out $50.00")
    send.evaluate("button => { button.click(); button.click(); }")
    expect(wallet.get_by_text("The payout of $50.00 is requested.")).to_be_visible()
    expect(wallet.locator("hm-payouts li")).to_have_count(1)
    expect(wallet.locator("hm-payouts li")).to_contain_text("Requested")
    expect(wallet.get_by_role("status").first).to_contain_text("1,000 tokens")
    picture(page, "payouts")
    assert [each["detail"]["tokens"] for each in dispatched(page)] == [1000]


def read_statement(page: Page, url: str, token: str) -> None:
    """The statement grows page by page, and is filtered by kind and period."""
    open_page(page, url, token, lang="de")
    add(page, "hm-ledger")
    ledger = page.locator("hm-ledger")
    rows = ledger.locator("tbody tr")
    expect(rows).to_have_count(20)
    expect(rows.first).to_contain_text("Ava")
    expect(ledger.get_by_text("20 von 31")).to_be_visible()
    picture(page, "ledger")
    ledger.get_by_role("button", name="Mehr anzeigen").click()
    expect(rows).to_have_count(31)
    expect(ledger.get_by_role("button", name="Mehr anzeigen")).to_have_count(0)
    ledger.get_by_label("Art").select_option("credit")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("Gutschrift")
    ledger.get_by_label("Bis").fill("2020-01-01")
    expect(ledger.get_by_text("Kein Eintrag passt zu diesem Filter.")).to_be_visible()


def fit_a_small_phone(page: Page, url: str, token: str) -> None:
    """The longest texts, in the narrowest window that the guidelines name, from either side."""
    open_page(page, url, token, lang="de", size=(320, 640))
    for tag in ("hm-wallet", "hm-ledger", "hm-spend-limit", "hm-payouts", "hm-buy-tokens"):
        add(page, tag)
    expect(page.locator("hm-ledger tbody tr")).to_have_count(2)
    expect(page.locator("hm-buy-tokens").get_by_role("radio")).to_have_count(4)
    expect(page.locator("hm-payouts").get_by_text("Auszuzahlende Token")).to_be_visible()
    for direction in ("ltr", "rtl"):
        page.evaluate("(direction) => { document.documentElement.dir = direction; }", direction)
        assert page.evaluate("document.documentElement.scrollWidth") == 320
    picture(page, "narrow")


def recover_from_a_failure(page: Page, url: str, token: str) -> None:
    open_page(page, url, token)
    page.route(f"{url}/api/wallet/ledger*", lambda route: route.fulfill(status=418, body=""))
    add(page, "hm-ledger")
    ledger = page.locator("hm-ledger")
    expect(ledger.get_by_role("alert")).to_be_visible()
    page.unroute(f"{url}/api/wallet/ledger*")
    ledger.get_by_role("button", name="Try again").click()
    expect(ledger.locator("tbody tr")).to_have_count(1)
