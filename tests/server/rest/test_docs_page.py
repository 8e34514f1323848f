"""The documentation page: it shows all that the documents hold, loads one script, and takes no markup from them."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import httpx
import msgspec
import pytest

from server.config.settings import Settings
from server.context import Context
from server.gateway.asyncapi.document import asyncapi_json
from server.rest.app import ROUTES
from server.rest.openapi.docs_page import docs_page
from server.rest.openapi.document import openapi_json
from tests.support.asyncapi import read_document as read_asyncapi
from tests.support.openapi import read_document

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """The links and texts that a browser would find on the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.loads += [tag] if given.keys() & {"src", "srcset", "style"} or tag in ("script", "link", "iframe") else []
        self.scripts += [given["src"]] if tag == "script" else []
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def page() -> Reader:
    return Reader(docs_page(openapi_json(ROUTES), asyncapi_json(Settings(), 8001)).decode())


def test_every_route_shape_and_message_is_on_the_page(page: Reader) -> None:
    document, messages = read_document(), read_asyncapi()["components"]["messages"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert {operation["operationId"] for operation in operations} <= set(page.ids)
    assert {f"http-{name}" for name in document["components"]["schemas"]} <= set(page.ids)
    assert {message["name"] for message in messages.values()} <= set(page.texts)
    assert all(any(code.name in text for text in page.texts) for route in ROUTES for code in route.refuses)


def test_the_page_is_valid_html_whose_links_have_a_target(page: Reader) -> None:
    assert page.open == []
    assert len(set(page.ids)) == len(page.ids)
    within = [link for link in page.links if link.startswith("#")]
    assert {link[1:] for link in within} <= set(page.ids)
    assert set(page.links) - set(within) == {"/api/docs/quickstart", "/api/openapi.json", "/api/asyncapi.json"}
    assert page.links[0] == "/api/docs/quickstart", "it is linked first"


def test_it_loads_one_script_of_this_server(page: Reader) -> None:
    assert page.loads == ["script"]
    assert page.scripts == ["/docs/try.js"]


def test_text_of_the_documents_is_never_markup() -> None:
    document = read_document()
    document = {**document, "info": {**document["info"], "title": "<script>", "description": "`<b>` & **<i>**"}}
    shown = docs_page(msgspec.json.encode(document), asyncapi_json(Settings(), 8001)).decode()
    assert "<script>" not in shown
    assert "<p><code>&lt;b&gt;</code> &amp; <strong>&lt;i&gt;</strong></p>" in shown


async def test_a_browser_may_use_its_style_and_this_server_and_nothing_else(
    context: Context, web: httpx.AsyncClient
) -> None:
    answer = await web.get("/api/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    styles = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    hashed = [f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in styles]
    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src {hashed[0]};" in policy
    assert policy.startswith("default-src 'none';") and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    socket = f"ws://127.0.0.1:{context.websocket_port}"
    assert f"; script-src 'self'; connect-src 'self' {socket}; require-trusted-types-for 'script'" in policy
