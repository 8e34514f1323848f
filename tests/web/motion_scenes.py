"""Scenes of what moves on the screens of the web client, with and without the wish for reduced motion."""

from collections.abc import Callable, Iterator

from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in
from tests.web.motion import animated, moved, watch_motion
from tests.web.tips_overlay_scenes import give_tip

OpenPage = Callable[..., Page]
ARRIVE = "arrive"


def keep_still(page: Page, open_page: OpenPage, url: str, creator: str, secret: str, stream: dict[str, str]) -> None:
    """Nothing is animated on any screen that is passed, nor by the tips, blocks and messages that arrive."""
    overlay = open_page(reduced_motion="reduce")
    page.emulate_media(reduced_motion="reduce")
    watch_motion(overlay).goto(f"{url}overlay#token={secret}")
    for screen in _screens(watch_motion(page), overlay, url, creator, stream):
        for each in (page, overlay):
            assert animated(each) == [], f"{screen} would be animated"
            assert moved(each) == [], f"{screen} is animated"


def move(page: Page, open_page: OpenPage, url: str, creator: str, secret: str, stream: dict[str, str]) -> None:
    """Without the wish, a tip that arrives is animated in the chat and on the overlay."""
    overlay = open_page()
    watch_motion(overlay).goto(f"{url}overlay#token={secret}")
    sign_in(watch_motion(page), url, "Finn")
    _tip_in_a_stream(page, overlay, url, creator, stream)
    for each in (page, overlay):
        each.wait_for_function("(name) => moved.includes(name)", arg=ARRIVE)
    assert animated(page) != []


def _screens(page: Page, overlay: Page, url: str, creator: str, stream: dict[str, str]) -> Iterator[str]:
    sign_in(page, url, "Finn")
    page.get_by_role("link", name="Call Bruno").wait_for()
    yield "home"
    page.get_by_role("link", name="Wallet").click()
    page.locator("hm-ledger tbody").get_by_text("Promotional credit").wait_for()
    yield "the wallet"
    page.get_by_role("button", name="Buy tokens").click()
    page.get_by_role("button", name="Pay").first.wait_for()
    yield "the shop"
    page.keyboard.press("Escape")
    _tip_in_a_stream(page, overlay, url, creator, stream)
    yield "a stream with a tip and a message"
    page.get_by_role("button", name="Tip", exact=True).click()
    page.get_by_role("button", name="Send 10 tokens").wait_for()
    yield "the dialog of a tip"
    page.keyboard.press("Escape")
    page.goto(f"{url}#/")
    page.get_by_role("link", name="Call Bruno").click()
    page.get_by_role("button", name="Call Bruno").click()
    page.get_by_text("Block 2: ").wait_for(state="attached")
    yield "a call whose ring has ticked"
    page.get_by_role("button", name="Hang up").click()
    page.get_by_role("heading", name="You ended the call").wait_for()
    yield "a call that is over"


def _tip_in_a_stream(page: Page, overlay: Page, url: str, creator: str, stream: dict[str, str]) -> None:
    page.goto(f"{url}#/stream/{stream['id']}")
    page.get_by_role("button", name="Watch").click()
    page.get_by_label("Write a message").fill("hello")
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_text("hello").wait_for()
    token: str = page.evaluate("sessionStorage.getItem('halfminute.token')")
    give_tip(page, url.rstrip("/"), token, creator, stream["channel"], 10)
    page.get_by_role("log").get_by_text("10 tokens").wait_for()
    expect(overlay.locator("hm-tips-overlay .tip")).to_contain_text("10 tokens")
