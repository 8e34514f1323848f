"""A page with single elements, on the origin of a real server and under a content security policy.

Modules of scenes import this one, so it may not import the server.
"""

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, expect

PAGES = Path(__file__).with_name("pages")
PHONE, DESKTOP = (390, 844), (1280, 800)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws://127.0.0.1:*;"
    " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
TYPES = {".html": "text/html", ".css": "text/css"}
PICTURES = os.environ.get("HALFMINUTE_PICTURES")  # a directory for pictures of the elements

# Events of the elements are collected as `dispatched`, of each its type and detail.
PREPARE = """async ([token, lang, types]) => {
  const [{ useClient }, { Halfminute }] = await Promise.all([
    import("/elements/elements.js"),
    import("/sdk/halfminute.js"),
  ]);
  document.documentElement.lang = lang;
  globalThis.dispatched = [];
  const note = ({ type, detail }) => {
    document.body.dataset.events = dispatched.push({ type, detail });
  };
  for (const type of types) document.addEventListener(type, note);
  globalThis.hm = new Halfminute({ getToken: () => token });
  useClient(hm);
}"""
ADD = """([tag, attributes]) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  document.querySelector("main").append(element);
}"""


def open_page(page: Page, url: str, token: str, *events: str, lang: str = "en", size: tuple[int, int] = PHONE) -> None:
    """Open the page, whose elements share a client of this token; collect these events of theirs."""
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    page.route(f"{url}/pages/*", _fulfil)
    page.goto(f"{url}/pages/money.html")
    page.evaluate(PREPARE, [token, lang, list(events)])


def add(page: Page, tag: str, **attributes: str) -> None:
    """Add an element to the page; `_` in the name of an attribute becomes `-`."""
    page.evaluate(ADD, [tag, {name.replace("_", "-"): value for name, value in attributes.items()}])


def dispatched(page: Page) -> list[dict[str, Any]]:
    """Return the events so far."""
    collected: list[dict[str, Any]] = page.evaluate("dispatched")
    return collected


def wait_events(page: Page, count: int) -> None:
    """Wait until the elements have dispatched so many events."""
    expect(page.locator("body")).to_have_attribute("data-events", f"{count}")


def picture(page: Page, name: str) -> None:
    """Keep pictures in light and dark, on a phone and a desktop, if a directory for them is named."""
    if PICTURES is None:
        return
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        for width, height in (PHONE, DESKTOP):
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=f"{PICTURES}/{name}-{width}-{scheme}.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})


def _fulfil(route: Route) -> None:
    file = PAGES / route.request.url.rsplit("/", 1)[1]
    headers = {"Content-Security-Policy": POLICY, "Content-Type": f"{TYPES[file.suffix]}; charset=utf-8"}
    route.fulfill(status=200, headers=headers, body=file.read_text())
