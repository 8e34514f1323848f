"""Runs a function of `sdk/page.mjs` in Chromium: `sdk_page.py CHROMIUM SETTINGS`; prints its result as JSON.

The page's title is the step that it is at.

It is a process of its own because playwright needs an event loop that starts processes, and trio-asyncio has replaced
that loop in a process that runs a server. The page's files come from the disk: no server serves them.
"""

import asyncio
import json
import sys
from pathlib import Path

from playwright.async_api import ConsoleMessage, Route, async_playwright

HERE = Path(__file__).parent
SDK = HERE.parents[1] / "server" / "web" / "sdk"
SECONDS_MAX = 60
ORIGIN = "http://localhost"  # a secure context, as WebRTC needs it
ARGUMENTS = (
    "--no-sandbox",  # root has no sandbox
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",  # the only network that is surely there
    # There is no multicast on the loopback interface; a page from the disk may ask a server there.
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks",
)


async def main(chromium: str, settings: str) -> None:
    """Open the page, call `holdCall` with the settings, and print what it returns."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = await browser.new_page()
        page.on("console", _print)
        await page.route(f"{ORIGIN}/**", _serve)
        await page.goto(f"{ORIGIN}/")
        call = "async (settings) => (await import('/page.mjs')).holdCall(settings)"
        try:
            print(json.dumps(await asyncio.wait_for(page.evaluate(call, json.loads(settings)), SECONDS_MAX)))
        except TimeoutError:
            sys.exit(f"the page did not get beyond: {await page.title()}")
        finally:
            await browser.close()


def _print(message: ConsoleMessage) -> None:
    print(message.text, file=sys.stderr)


async def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(ORIGIN)
    if path == "/":
        await route.fulfill(body="<!doctype html><title>halfminute</title>", content_type="text/html")
    elif path == "/page.mjs":
        await route.fulfill(path=HERE / "sdk" / "page.mjs", content_type="text/javascript")
    else:
        await route.fulfill(path=SDK / path.removeprefix("/sdk/"), content_type="text/javascript")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
