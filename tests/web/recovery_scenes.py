"""Scenes of calls that go on over a reload, a lost network and a killed server; both parties use the client."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in

OpenPage = Callable[..., Page]
LOOK_MS = 100
# The pictures of the other party move from now on.
NEW_FRAMES = """async () => {
  const videos = (root) => [...root.querySelectorAll("*")].flatMap((each) =>
    each.shadowRoot ? videos(each.shadowRoot) : each.localName === "video" ? [each] : []);
  const begun = performance.now();
  const before = new Map();
  while (performance.now() - begun < 20000) {
    const shown = videos(document).filter((each) => each.videoWidth > 0);
    for (const each of shown) if (!before.has(each)) before.set(each, each.currentTime);
    if (shown.filter((each) => each.currentTime > before.get(each) + 1).length > 1) return true;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error("no frames arrive");
}"""
COUNT_TONES = """
  globalThis.tones = 0;
  const Tone = OscillatorNode;
  globalThis.OscillatorNode = class extends Tone { constructor(...given) { super(...given); globalThis.tones++; } };
"""


def _begin_call(page: Page, open_page: OpenPage, url: str) -> Page:
    creator = open_page()
    creator.add_init_script(COUNT_TONES)
    sign_in(creator, url, "Cleo")
    sign_in(page, url, "Finn")
    page.get_by_role("link", name="Call Cleo").click()
    page.get_by_role("button", name="Call Cleo").click()
    expect(creator.get_by_text("Finn is calling")).to_be_visible()
    creator.wait_for_function("globalThis.tones > 0")
    expect(creator).to_have_title("Finn is calling")
    creator.get_by_role("button", name="Accept").click()
    expect(creator).to_have_title("halfminute")
    _check_video(page, creator)
    return creator


def _check_video(page: Page, creator: Page) -> None:
    for each, other in ((page, "Cleo"), (creator, "Finn")):
        expect(each.get_by_role("region", name=f"Call with {other}")).to_be_visible()
        each.evaluate(NEW_FRAMES)


def _check_end(page: Page, creator: Page, url: str) -> Any:
    """The fan hangs up: both receipts are those of the API. Return the call."""
    page.get_by_role("button", name="Hang up").click()
    expect(page.get_by_text("You ended the call")).to_be_visible()
    token = page.evaluate("sessionStorage.getItem('halfminute.token')")
    answer = httpx.get(f"{url}api/calls/history", headers={"Authorization": f"Bearer {token}"})
    call = answer.raise_for_status().json()["items"][0]
    paid = call["tokens"] - call["refundedTokens"]
    expect(page.get_by_text(f"You paid {paid} tokens.")).to_be_visible()
    expect(creator.get_by_text(f"You earned {paid} tokens.")).to_be_visible()
    assert page.evaluate("sessionStorage.getItem('halfminute.call')") is None
    return call


def reload_and_chat(page: Page, open_page: OpenPage, url: str) -> None:
    creator = _begin_call(page, open_page, url)
    page.get_by_label("Write a message").fill("can you <b>see</b> me?")
    page.keyboard.press("Enter")
    expect(creator.get_by_text("can you <b>see</b> me?")).to_be_visible()
    for each in (page, creator):
        each.reload()
        _check_video(page, creator)
    expect(page.get_by_text("can you <b>see</b> me?")).to_be_visible()
    expect(page.get_by_text(re.compile("Block [1-9]"))).to_be_attached()
    _check_end(page, creator, url)
    page.reload()
    expect(
        page.get_by_role("heading", name="Talk to somebody").or_(page.get_by_role("button", name="Call Cleo"))
    ).to_be_visible()


def survive_a_kill(page: Page, open_page: OpenPage, url: str, wanted: str, done: str) -> None:
    """The file `wanted` asks the test to kill the server and start it again, and `done` says that it was started."""
    creator = _begin_call(page, open_page, url)
    Path(wanted).touch()
    for each in (page, creator):
        expect(each.locator("hm-call").get_by_text("The connection is lost")).to_be_visible()
    while not Path(done).exists():
        page.wait_for_timeout(LOOK_MS)
    for each in (page, creator):
        expect(each.locator("hm-call").get_by_text("The connection is lost")).to_have_count(0, timeout=40_000)
    _check_video(page, creator)
    call = _check_end(page, creator, url)
    assert call["endReason"] == "hangup"


def lose_the_network(page: Page, open_page: OpenPage, url: str, wanted: str, done: str, stops: bool) -> None:
    """The file `wanted` asks the test to take the network away, and `done` says that it is back.

    The call goes on, and `stops` says whether its clock stops meanwhile.
    """
    creator = _begin_call(page, open_page, url)
    page.context.set_offline(True)
    Path(wanted).touch()
    expect(page.locator("hm-call").get_by_text("The connection is lost")).to_be_visible()
    if stops:
        expect(creator.get_by_text("Finn lost the connection. The call waits and nothing is charged.")).to_be_visible(
            timeout=35_000
        )
    while not Path(done).exists():
        page.wait_for_timeout(LOOK_MS)
    page.context.set_offline(False)
    expect(page.locator("hm-call").get_by_text("The connection is lost")).to_have_count(0)
    _check_video(page, creator)
    call = _check_end(page, creator, url)
    assert call["endReason"] == "hangup"
    assert call["refundedTokens"] == 0
