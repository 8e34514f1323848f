"""`python -m tests.web.scene_runner CHROMIUM MODULE FUNCTION`: plays one scene, with arguments from standard input.

A process of its own, because playwright needs an event loop that starts processes, and trio-asyncio replaces that loop.
So neither this module nor a module of scenes may import the server.
"""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from tests.server.peers.tabs import ARGUMENTS

STEP_MS_MAX = 20_000  # of one wait of the page
REFUSED = "Failed to load resource"  # an answer with an error, which the page shows


def main(chromium: str, module: str, name: str, given: dict[str, Any]) -> None:
    """Open the browser, and play one scene in it. Raises AssertionError."""
    scene: Callable[..., None] = getattr(importlib.import_module(module), name)
    assert "trio_asyncio" not in sys.modules, f"{module} imports the server"
    faults: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(REFUSED):
            faults.append(f"{message.type}: {message.text}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page: Page = browser.new_page()
        page.set_default_timeout(STEP_MS_MAX)
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        scene(page, **given)
        browser.close()
    assert faults == []


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], json.load(sys.stdin))
