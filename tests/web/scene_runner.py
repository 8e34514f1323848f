"""`python -m tests.web.scene_runner CHROMIUM MODULE FUNCTION`: plays one scene, with arguments from standard input.

A scene that has a parameter `open_page` receives a function that opens a page for another person.

A process of its own, because playwright needs an event loop that starts processes, and trio-asyncio replaces that loop.
So neither this module nor a module of scenes may import the server.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.server.peers.tabs import ARGUMENTS

STEP_MS_MAX = 20_000  # of one wait of the page
# Messages of the browser itself about an answer with an error and a lost connection, both of which the page shows.
EXPECTED = ("Failed to load resource", "WebSocket connection to")
# A camera and a microphone without a prompt. Candidates have addresses, since nothing resolves local names here; and
# a page that the scene itself serves has no address, from which Chromium would let it reach this machine.
MEDIA = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks",
)


def main(chromium: str, module: str, name: str, given: dict[str, Any]) -> None:
    """Open the browser, and play one scene in it. Raises AssertionError."""
    scene: Callable[..., None] = getattr(importlib.import_module(module), name)
    assert "trio_asyncio" not in sys.modules, f"{module} imports the server"
    faults: list[str] = []
    expect.set_options(timeout=STEP_MS_MAX)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS, *MEDIA])
        if "open_page" in inspect.signature(scene).parameters:
            given["open_page"] = partial(_open_page, browser, faults)
        scene(_open_page(browser, faults), **given)
        browser.close()
    assert faults == [], faults


def _open_page(browser: Browser, faults: list[str], **options: Any) -> Page:
    """Return a page of a context of its own; its errors and warnings are noted."""

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            faults.append(f"{message.type}: {message.text}")

    page = browser.new_page(**options)
    page.set_default_timeout(STEP_MS_MAX)
    page.on("console", note)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return page


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], json.load(sys.stdin))
