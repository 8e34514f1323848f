"""Walks through the screens of the web client and takes a picture of each, whatever its language is."""

from collections.abc import Callable

from playwright.sync_api import Page

SECTION_MS = 3000  # in which a section is read, and its charts have two readings
LOOK_MS = 400  # for pictures to load and motion to end
CALL = "hm-call >> button"


def take_pictures(
    page: Page, open_page: Callable[..., Page], url: str, out: str, sizes: list[list[int]], schemes: list[list[str]]
) -> None:
    """Take the pictures in each size, color scheme and language; `schemes` are pairs of the latter two."""
    for width, height in sizes:
        for scheme, language in schemes:
            options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "locale": language}
            shown = open_page(**options)
            _walk(shown, url, f"{out}/{language}-{scheme}-{width}")
            shown.context.close()
    page.close()


def _walk(page: Page, url: str, prefix: str) -> None:
    def take(name: str) -> None:
        page.wait_for_timeout(LOOK_MS)
        page.screenshot(path=f"{prefix}-{name}.png")

    page.goto(url)
    page.locator("hm-sign-in button", has_text="Finn").wait_for()
    take("sign-in")
    page.locator("hm-sign-in button", has_text="Finn").click()
    page.locator("hm-creator-card a").first.wait_for()
    take("home")
    _money(page, take)
    _stream(page, take)
    _call(page, take)
    _sections(page, url, "Cleo", "studio", take)
    _sections(page, url, "Otto", "operator", take)


def _sections(page: Page, url: str, name: str, view: str, take: Callable[[str], None]) -> None:
    """Each section of the studio or of the operator's page."""
    page.evaluate("sessionStorage.clear()")
    page.goto(url)
    page.reload()
    page.locator("hm-sign-in button", has_text=name).click()
    page.locator(f'hm-app nav a[href="#/{view}"]').click()
    links = page.locator("hm-page-entry nav a")
    links.first.wait_for()
    for i in range(links.count()):
        links.nth(i).click()
        page.wait_for_timeout(SECTION_MS)
        take(f"{view}-{links.nth(i).get_attribute('href').rsplit('/', 1)[1]}")  # type: ignore[union-attr]


def _money(page: Page, take: Callable[[str], None]) -> None:
    page.locator('nav a[href="#/wallet"]').click()
    page.locator("hm-ledger [part=entry]").or_(page.locator("hm-ledger tbody tr")).first.wait_for()
    take("wallet")
    page.locator("hm-wallet [part=card] button").click()
    page.locator("hm-buy-tokens button").first.wait_for()
    take("buy-tokens")
    page.keyboard.press("Escape")


def _stream(page: Page, take: Callable[[str], None]) -> None:
    page.locator("nav a.brand").click()
    page.locator("hm-home a", has_text="evening show").click()
    page.locator("hm-stream button").first.wait_for()
    take("stream-ticket")
    page.locator("hm-stream button").first.click()
    page.locator("hm-ticket-dialog button").nth(1).wait_for()
    take("ticket")
    page.keyboard.press("Escape")
    page.locator("nav a.brand").click()
    page.locator("hm-home a", has_text="All day").click()
    page.locator("hm-stream button").first.click()
    page.locator("hm-stream input").wait_for()
    page.locator("hm-stream input").fill("Hello!")
    page.keyboard.press("Enter")
    page.locator("hm-stream [part=message]").nth(1).wait_for()
    take("stream")
    page.locator("hm-tip-button [part=button]").click()
    take("tip")
    page.keyboard.press("Escape")


def _call(page: Page, take: Callable[[str], None]) -> None:
    page.locator("nav a.brand").click()
    page.locator("hm-creator-card a").first.click()
    page.locator(CALL).first.wait_for()
    take("call-before")
    page.locator(CALL).first.click()
    page.wait_for_timeout(LOOK_MS)
    take("call-rings")
    page.locator("hm-call hm-tip-button").wait_for()
    take("call")
    page.locator("hm-call [part=end]").click()
    page.locator("hm-call [part=ended]").wait_for()
    take("call-ended")
