"""The announcements of a screen reader on a page, as `pages/announcements.js` collects them."""

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as PageTimeoutError

from tests.web.element_page import PAGES

ANNOUNCED = "(text) => announced.some((each) => each.includes(text))"
DROP_FOCUS = """() => {
  let focused = document.activeElement;
  while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
  focused.blur();
}"""


def listen(page: Page) -> Page:
    """Collect from the next navigation on."""
    page.add_init_script(path=PAGES / "announcements.js")
    return page


def wait_announced(page: Page, *texts: str) -> None:
    """Wait until each text has been part of an announcement. Raises AssertionError with all announcements."""
    for text in texts:
        try:
            page.wait_for_function(ANNOUNCED, arg=text)
        except PageTimeoutError:
            raise AssertionError(f"{text!r} is not announced, but {page.evaluate('announced')}") from None


def drop_focus(page: Page) -> None:
    """Take the focus from everything, so that only live regions announce."""
    page.evaluate(DROP_FOCUS)


def announced(page: Page, text: str) -> list[str]:
    """Return the announcements with this text so far."""
    found: list[str] = page.evaluate("(text) => announced.filter((each) => each.includes(text))", text)
    return found
