"""A page of the server's origin with one element on it, under a strict policy as the web client has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route

PAGES = Path(__file__).parent / "pages"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws:; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)
MODULE = "/pages/calls_and_streams.js"


Texts = Mapping[str, str]


def show_element(page: Page, url: str, token: str, tag: str, attributes: Texts, slotted: Texts | None = None) -> None:
    """Open the page for the person of the token, and add the element; `slotted` are texts of buttons by slot."""
    page.route(f"{url}/pages/*", _serve)
    page.goto(f"{url}/pages/calls_and_streams.html")
    call_page(page, "begin", token, tag, attributes, slotted)


def call_page(page: Page, name: str, *arguments: Any) -> Any:
    """Call a function of the page's module."""
    script = f"async (given) => (await import('{MODULE}')).{name}(...given.map((each) => each ?? {{}}))"
    return page.evaluate(script, list(arguments))


def dispatched(page: Page, kind: str) -> list[dict[str, Any]]:
    """Return the details of all events of a type that the element has dispatched."""
    found: list[dict[str, Any]] = page.evaluate(f"async () => (await import('{MODULE}')).dispatched")
    return [{key: value for key, value in each.items() if key != "type"} for each in found if each["type"] == kind]


def _serve(route: Route) -> None:
    file = PAGES / route.request.url.rsplit("/", 1)[1]
    headers = {"Content-Security-Policy": POLICY, "Content-Type": TYPES[file.suffix]}
    route.fulfill(body=file.read_text(), headers=headers)
