"""Scenes that look at each screen of the web client with axe-core, in the light and the dark theme, and for motion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in
from tests.web.motion import animated

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# The sections, and a part of each that shows what was read.
STUDIO = {
    "Profile and rate": "hm-studio-profile form",
    "Streams": "hm-studio-streams form",
    "Earnings": "hm-studio-month table",
    "Payouts": "hm-payouts [part=terms]",
    "Overlays": "hm-studio-overlays form",
    "Blocked": "hm-studio-blocked [part=empty]",
}
OPERATION = {
    "Load": "hm-live-chart canvas",
    "To decide": "hm-decision-list [part=empty]",
    "Users": "hm-operator-users li",
    "Reports": "hm-operator-reports [part=empty]",
    "Accounts": "hm-day-chart canvas",
    "Actions": "hm-operator-actions li",
}
# For each violation its rule and the elements, through all shadow roots.
RUN = """async (rules) => {
  const { violations } = await axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
  return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ target, failureSummary }) =>
    `${target.flat().join(" ")}: ${failureSummary}`) }));
}"""


class Inspector:
    """Runs axe-core on the page as it is, and collects what violates a rule, or would move against the user's wish."""

    def __init__(self, page: Page, axe: str) -> None:
        self._page = page
        self._axe = Path(axe).read_text()
        self.violations: list[Any] = []

    def look(self, screen: str) -> None:
        self._page.evaluate(self._axe)
        found = [*self._page.evaluate(RUN, RULES), *({"moves": each} for each in animated(self._page))]
        self.violations += [{"screen": screen, **each} for each in found]


def look_at_every_screen(page: Page, open_page: Callable[..., Page], url: str, axe: str, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    found = Inspector(page, axe)
    page.goto(url)
    page.get_by_role("button", name="Finn").wait_for()
    found.look("sign-in")
    sign_in(page, url, "Finn")
    page.get_by_role("link", name="Call Bruno").wait_for()
    found.look("home")
    page.get_by_role("link", name="Wallet").click()
    page.locator("hm-ledger tbody").get_by_text("Promotional credit").wait_for()
    found.look("wallet")
    page.get_by_role("button", name="Buy tokens").click()
    page.get_by_role("button", name="Pay").first.wait_for()
    found.look("buy tokens")
    page.get_by_role("button", name="Close").first.click()
    _watch(page, found)
    _call(page, found)
    creator_page = open_page(color_scheme=scheme, reduced_motion="reduce")
    incoming = Inspector(creator_page, axe)
    _be_called(page, creator_page, incoming, url)
    found.violations += incoming.violations
    _lose(page, found)
    _work(page, found, url, "Cleo", "Studio", STUDIO)
    _work(page, found, url, "Otto", "Operation", OPERATION)
    assert found.violations == [], found.violations


def _work(page: Page, found: Inspector, url: str, name: str, place: str, sections: dict[str, str]) -> None:
    """Look at each section of the studio or of the operator's page, once the part of it that is named has come."""
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, url, name)
    page.get_by_role("link", name=place).click()
    for section, part in sections.items():
        page.get_by_role("link", name=section, exact=True).click()
        page.locator(part).first.wait_for()
        found.look(f"{place}, {section}")


def _watch(page: Page, found: Inspector) -> None:
    page.get_by_role("link", name="halfminute").click()
    page.get_by_role("link", name="All day with Mara").click()
    page.get_by_role("button", name="Watch").wait_for()
    found.look("stream, before")
    page.get_by_role("button", name="Watch").click()
    page.get_by_label("Write a message").wait_for()
    found.look("stream")
    page.get_by_role("button", name="Tip", exact=True).click()
    page.get_by_role("button", name="Send 10 tokens").wait_for()
    found.look("tip")
    page.get_by_role("button", name="Close").first.click()
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_text("You left the stream.")).to_be_visible()
    found.look("stream, left")
    page.get_by_role("link", name="halfminute").click()
    page.get_by_role("link", name="Mara's evening show").click()
    page.get_by_role("button", name="Get a ticket").click()
    page.get_by_role("button", name="Buy the ticket").wait_for()
    found.look("ticket")
    page.get_by_role("button", name="Close").first.click()


def _be_called(page: Page, creator_page: Page, found: Inspector, url: str) -> None:
    sign_in(creator_page, url, "Cleo")
    page.get_by_role("link", name="halfminute").click()
    page.get_by_role("link", name="Call Cleo").click()
    page.get_by_role("button", name="Call Cleo").click()
    creator_page.get_by_role("button", name="Decline").wait_for()
    found.look("call, incoming")
    creator_page.get_by_role("button", name="Decline").click()
    creator_page.get_by_text("You declined").wait_for()
    found.look("call, declined")


def _lose(page: Page, found: Inspector) -> None:
    page.get_by_role("link", name="halfminute").click()
    page.get_by_role("link", name="Call Bruno").wait_for()
    page.context.set_offline(True)
    page.get_by_text("No connection.").wait_for()
    found.look("home, without a connection")
    page.context.set_offline(False)
    expect(page.get_by_text("No connection.")).to_have_count(0)


def _call(page: Page, found: Inspector) -> None:
    page.get_by_role("link", name="halfminute").click()
    page.get_by_role("link", name="Call Bruno").click()
    page.get_by_role("button", name="Call Bruno").wait_for()
    found.look("call, before")
    page.get_by_role("button", name="Call Bruno").click()
    page.get_by_role("button", name="Cancel").wait_for()
    found.look("call, ringing")
    page.get_by_role("button", name="Hang up").wait_for()
    found.look("call")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    found.look("call, paused")
    page.get_by_role("button", name="Hang up").click()
    page.get_by_text("You ended the call").wait_for()
    found.look("call, ended")
