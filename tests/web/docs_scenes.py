"""Scenes on /api/docs: its forms send requests and commands."""

import re

from playwright.sync_api import Page, expect


def _choose(page: Page, name: str) -> None:
    page.get_by_label("A user of the demo").select_option(label=name)


def _open(page: Page, anchor: str) -> None:
    page.locator(f"#{anchor} > summary").click()


def send_requests(page: Page, url: str, fan: str, creator_id: str, creator_name: str) -> None:
    page.goto(url)
    _open(page, "getWallet")
    wallet = page.locator("#getWallet")
    wallet.get_by_role("button", name="Send").click()
    expect(wallet.locator("output strong")).to_have_text("401")
    _choose(page, fan)
    wallet.get_by_role("button", name="Send").click()
    expect(wallet.locator("output strong")).to_have_text("200")
    expect(wallet.locator("output pre").last).to_contain_text('"promotional": 10000')

    _open(page, "getCreatorsUserId")
    creator = page.locator("#getCreatorsUserId")
    creator.get_by_label("userId").fill(creator_id)
    creator.get_by_role("button", name="Send").click()
    expect(creator.locator("output pre").last).to_contain_text(f'"displayName": "{creator_name}"')

    _open(page, "putMe")
    me = page.locator("#putMe")
    me.get_by_label("Body").fill('{"displayName": "<img src=x onerror=alert(1)>"}')
    me.get_by_role("button", name="Send").click()
    expect(me.locator("output pre").last).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("output img").count() == 0

    _open(page, "getWalletLedger")
    ledger = page.locator("#getWalletLedger")
    ledger.get_by_label("kind").select_option("credit")
    ledger.get_by_label("limit").fill("1")
    ledger.get_by_role("button", name="Send").click()
    expect(ledger.locator("output pre").last).to_contain_text('"total": 1')


def send_commands(page: Page, url: str, fan: str) -> None:
    page.goto(url)
    frames = page.locator("#websocket + div li")
    _open(page, "command-Ping")
    ping = page.locator("#command-Ping")
    ping.get_by_role("button", name="Send").click()
    expect(frames.last).to_have_text(re.compile("^not sent: "))
    expect(frames.filter(has_text="closed: 4401")).to_have_count(1)
    _choose(page, fan)
    ping.get_by_role("button", name="Send").click()
    expect(frames.filter(has_text='"type":"session:ready"')).to_have_count(1)
    expect(frames.filter(has_text='"type":"pong"')).to_have_count(1)
    ping.get_by_label("Message").fill("{nonsense")
    ping.get_by_role("button", name="Send").click()
    expect(frames.last).to_have_text(re.compile("^not sent: "))
    ping.get_by_label("Message").fill('{"type": "nonsense", "ref": "<b>x</b>"}')
    ping.get_by_role("button", name="Send").click()
    expect(frames.last).to_contain_text("<b>x</b>")
    assert page.locator("#websocket + div b").count() == 0


def fit_a_phone(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for address in (url, f"{url}/quickstart"):
        page.goto(address)
        expect(page.locator("main")).to_be_visible()
        if address == url:
            expect(page.get_by_label("Token of the caller")).to_be_visible()
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, address
