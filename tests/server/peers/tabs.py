"""Chromium as a process, with a websocket in each of its tabs: orders in and events out, one JSON object a line.

An order names its tab: `open`, `shut`, or an order of `page.js`.
It is a process of its own because playwright needs an event loop that starts processes, and trio-asyncio has replaced
that loop in a process that runs a server.
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

SCRIPT = Path(__file__).with_name("page.js")
ARGUMENTS = (
    "--no-sandbox",  # root has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


async def main(chromium: str) -> None:
    """Carry out orders until standard input ends."""
    tabs: dict[int, Page] = {}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await _carry_out(browser, tabs, **json.loads(line))
        await browser.close()


async def _carry_out(browser: Browser, tabs: dict[int, Page], tab: int, order: str, argument: Any) -> None:
    match order:
        case "open":
            tabs[tab] = await browser.new_page()
            await tabs[tab].expose_function("report", partial(_report, tab))
            await tabs[tab].add_script_tag(path=SCRIPT)
        case "shut":
            await tabs.pop(tab).close()
            _report(tab, {"event": "shut"})
        case _:
            await tabs[tab].evaluate("([order, argument]) => orders[order](argument)", [order, argument])


def _report(tab: int, event: dict[str, Any]) -> None:
    print(json.dumps(event | {"tab": tab}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
