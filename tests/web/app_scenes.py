"""Scenes of the web client at `/`."""

from playwright.sync_api import Page, expect


def sign_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("heading", name="Talk to somebody")).to_be_visible()


def look_around(page: Page, url: str) -> None:
    sign_in(page, url, "Finn")
    expect(page.get_by_role("link", name="Call Bruno")).to_be_visible()
    expect(page.locator("hm-creator-card", has_text="Cleo")).to_contain_text("away")
    expect(page.get_by_role("link", name="All day with Mara")).to_be_visible()
    page.get_by_label("Find a creator by name").fill("bru")
    expect(page.locator("hm-creator-card")).to_have_count(1)
    page.get_by_label("Find a creator by name").fill("nobody")
    expect(page.get_by_text("Nobody of this name.")).to_be_visible()
    page.get_by_role("link", name="Wallet").click()
    expect(page.locator("hm-wallet")).to_contain_text("10,000")
    page.reload()
    expect(page.locator("hm-wallet")).to_contain_text("10,000")
    assert "eyJ" not in page.url, "no token is in the address"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Faye")).to_be_visible()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def load_home(page: Page, url: str) -> None:
    """The first view, from an empty cache: what it transfers, how long it takes, and whether it shifts."""
    transferred: list[int] = []
    page.context.new_cdp_session(page)
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.on("Network.loadingFinished", lambda event: transferred.append(event["encodedDataLength"]))
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => { for (const each of list.getEntries())"
        " if (!each.hadRecentInput) window.shift += each.value; }).observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(url)
    page.get_by_role("button", name="Finn").wait_for()
    first_paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.wait_for_load_state("networkidle")
    print(f"{sum(transferred)} bytes in {len(transferred)} answers, first paint after {first_paint:.0f} ms")
    assert sum(transferred) < 150_000
    assert page.evaluate("window.shift") < 0.02
