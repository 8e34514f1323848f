"""Scenes in which users report each other: a fan an owner of a stream, and a creator a fan, whom they also block."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.web.top_up_scenes import open_as


def report_each_other(
    page: Page, open_page: Callable[..., Page], url: str, fan: str, creator: str, creator_id: str, stream: str
) -> None:
    open_as(page, url, fan, f"stream/{stream}")
    _report(page.locator("hm-stream"), "Report Mara", "she <b>shouts</b>")
    expect(page.get_by_role("checkbox")).to_have_count(0)
    creator_page = open_page()
    open_as(creator_page, url, creator, "")
    open_as(page, url, fan, f"call/{creator_id}")
    page.get_by_role("button", name="Call Nia").click()
    creator_page.get_by_role("button", name="Decline").click()
    creator_page.get_by_role("button", name="Report Rolf").click()
    creator_page.get_by_label("Block Rolf as well").check()
    _send(creator_page, "threats")


def unblock(page: Page, url: str, creator: str) -> None:
    open_as(page, url, creator, "studio/blocked")
    studio = page.locator("hm-studio")
    expect(studio.locator("hm-studio-blocked li")).to_contain_text("Rolf")
    studio.get_by_role("button", name="Unblock Rolf").click()
    expect(studio.get_by_text("You have blocked nobody.")).to_be_visible()


def _report(place: Locator, name: str, reason: str) -> None:
    place.get_by_role("button", name=name).click()
    _send(place, reason)


def _send(place: Locator | Page, reason: str) -> None:
    place.get_by_label("What happened?").fill(reason)
    send = place.get_by_role("button", name="Send to the operators")
    send.evaluate("(button) => { button.click(); button.click(); }")
    expect(place.get_by_text("Thank you. The operators read every report.")).to_be_visible()
