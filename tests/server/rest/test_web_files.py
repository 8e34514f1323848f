"""The files of the web client, as browsers and caches request them."""

import gzip
import re
from pathlib import Path
from urllib.parse import urljoin

import httpx

from server.web.assets import Asset, load_assets

ENTRY = "/docs/requests.js"
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["']([^"'\s]+)["']""")


async def raw_body(browser: httpx.AsyncClient, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    async with browser.stream("GET", path, headers=headers) as answer:
        return answer, b"".join([part async for part in answer.aiter_raw()])


def served(path: str) -> Asset:
    return next(asset for asset in load_assets() if asset.path == path)


async def test_every_file_is_served_as_it_is_with_its_type(browser: httpx.AsyncClient) -> None:
    assert ENTRY in [asset.path for asset in load_assets()]
    for asset in load_assets():
        answer, body = await raw_body(browser, asset.path, **{"Accept-Encoding": "identity"})
        assert (answer.status_code, body) == (200, asset.body), asset.path
        assert answer.headers["Content-Type"] == asset.content_type
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in answer.headers


async def test_a_script_is_importable_by_pages_of_every_origin(browser: httpx.AsyncClient) -> None:
    answer = await browser.get(ENTRY, headers={"Origin": "https://shop.example.com"})
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8", "modules need a JavaScript type"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_a_file_is_sent_with_gzip_to_clients_that_accept_it(browser: httpx.AsyncClient) -> None:
    answer, body = await raw_body(browser, ENTRY, **{"Accept-Encoding": "br, gzip"})
    assert (answer.headers["Content-Encoding"], answer.headers["Content-Length"]) == ("gzip", str(len(body)))
    assert gzip.decompress(body) == served(ENTRY).body
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert len(body) < len(served(ENTRY).body) / 2


async def test_a_copy_is_checked_each_time_and_not_sent_again(browser: httpx.AsyncClient) -> None:
    first = await browser.get(ENTRY)
    assert first.headers["Cache-Control"] == "public, no-cache"
    tag = first.headers["ETag"]
    for wanted in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = await browser.get(ENTRY, headers={"If-None-Match": wanted})
        assert (again.status_code, again.content) == (304, b""), wanted
        assert again.headers["ETag"] == tag
        assert "Content-Length" not in again.headers
    for wanted in ('"other"', "nonsense", 'W/""', ""):
        assert (await browser.get(ENTRY, headers={"If-None-Match": wanted})).status_code == 200, wanted


async def test_head_answers_without_the_body(browser: httpx.AsyncClient) -> None:
    answer = await browser.head(ENTRY, headers={"Accept-Encoding": "identity"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(served(ENTRY).body))


async def test_nothing_beside_these_files_is_served(browser: httpx.AsyncClient) -> None:
    for path in (
        "/docs",
        "/docs/",
        "/docs/nothing.js",
        "/sdk/README.md",
        "/docs/%2e%2e/assets.py",
        "/docs/..%2fassets.py",
    ):
        answer = await browser.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "NOT_FOUND"), path
    refused = await browser.post(ENTRY, json={})
    assert (refused.status_code, refused.json()["error"]) == (405, "METHOD_NOT_ALLOWED")


def test_every_import_leads_to_a_served_file() -> None:
    paths = {asset.path for asset in load_assets()}
    for asset in load_assets():
        if Path(asset.path).suffix == ".js":
            for name in IMPORT.findall(asset.body.decode()):
                assert urljoin(asset.path, name) in paths, f"{asset.path} imports {name}"
