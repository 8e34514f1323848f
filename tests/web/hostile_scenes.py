"""Scenes in which names, titles, chat and tips hold markup, scripts and characters that reorder or hide text."""

from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.web.app_scenes import sign_in

MARKUP = "<img src=x onerror=globalThis.isHit=1><script>globalThis.isHit=1</script>"
REORDERED = "safe\u202egnp.exe\u2066"  # a bidi override and an isolate that is not closed
HIDDEN = "a\u200bb\u200d\u2060c"


def show_as_text(page: Page, url: str, fan: dict[str, str], stream: str, about: str) -> None:
    """A stream and a creator with hostile texts; the page shows each as text, and runs none of it."""
    logged: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("websocket", lambda socket: addresses.append(socket.url))
    sign_in(page, url, "Finn")
    token = page.evaluate("sessionStorage.getItem('halfminute.token')")
    expect(page.locator("hm-home").get_by_text(MARKUP).first).to_be_visible()
    card = page.locator("hm-creator-card", has_text=about)
    expect(card).to_contain_text("safegnp.exe")
    page.goto(f"{url}#/stream/{stream}")
    expect(page.locator("hm-stream h2")).to_have_text(f"{MARKUP} safegnp.exe")
    page.get_by_role("button", name="Watch").click()
    for text, shown in ((MARKUP, MARKUP), (REORDERED, "safegnp.exe"), (HIDDEN, "abc")):
        _write(url, fan["token"], stream, text)
        line = page.get_by_role("log").locator(".line.tip").last
        expect(line).to_contain_text(f"abc {MARKUP}")
        expect(line.locator(".text")).to_have_text(shown)
        page.get_by_label("Write a message").fill(text)
        page.keyboard.press("Enter")
        expect(page.get_by_role("log").locator(".line:not(.tip) .text").get_by_text(shown, exact=True)).to_be_visible()
    expect(page.get_by_text("Leave")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    assert page.evaluate("globalThis.isHit") is None
    assert page.locator("hm-app img[src=x]").count() == 0
    assert not [each for each in addresses if token in each], "the token is in no address"
    assert not [each for each in logged if token in each]
    assert page.evaluate("Object.values(localStorage).length") == 0
    assert page.evaluate("document.cookie") == ""


def _write(url: str, token: str, stream_id: str, message: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    stream: Any = httpx.get(f"{url}api/streams/{stream_id}", headers=headers).raise_for_status().json()["stream"]
    tip = {
        "toCreatorId": stream["creator"]["userId"],
        "amountTokens": 1,
        "message": message,
        "context": {"streamId": stream_id},
    }
    httpx.post(f"{url}api/tips/send", json=tip, headers=headers).raise_for_status()
