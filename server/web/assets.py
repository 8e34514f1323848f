"""The files of `server/web` as they are served: read and compressed once, when the server starts."""

import gzip
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SERVED = ("app", "checkout", "docs", "elements", "overlay", "sdk", "vendor")  # directories, served under the same names
HTML = "text/html; charset=utf-8"
PAGES = {"/app/index.html": "/", "/overlay/index.html": "/overlay"}  # the addresses of files that are pages
# By the end of the name; files of other kinds are not served.
CONTENT_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": HTML,
    ".svg": "image/svg+xml",
    ".d.ts": "text/plain; charset=utf-8",
    ".json": "application/json",
}
LEVEL = 9  # the highest: a file is compressed once and sent many times

# The packages that vendored modules import by name. Browsers cannot resolve these without an import map, which a page
# that embeds our elements does not have.
PACKAGES = {
    b"@lit/reactive-element": b"/vendor/reactive-element/reactive-element.js",
    b"lit-element/lit-element.js": b"/vendor/lit-element/lit-element.js",
    b"lit-html": b"/vendor/lit-html/lit-html.js",
    b"lit-html/is-server.js": b"/vendor/lit-html/is-server.js",
}


class Asset(NamedTuple):
    """A file: the path of its URL, its content as it is and with gzip, its type, and a digest that changes with it."""

    path: str
    body: bytes
    gzipped: bytes
    content_type: str
    digest: str


@cache
def load_assets() -> tuple[Asset, ...]:
    """Return every file that is served, by path. Raises OSError for one that cannot be read."""
    files = sorted(each for name in SERVED for each in (HERE / name).rglob("*") if each.is_file())
    return tuple(_asset(file, content_type) for file in files if (content_type := _content_type(file)) is not None)


def _asset(file: Path, content_type: str) -> Asset:
    path, body = f"/{file.relative_to(HERE).as_posix()}", file.read_bytes()
    if path.startswith("/vendor/") and path.endswith(".js"):
        body = _with_paths(body)
    return Asset(
        PAGES.get(path, path), body, gzip.compress(body, LEVEL, mtime=0), content_type, sha256(body).hexdigest()[:32]
    )


def _with_paths(module: bytes) -> bytes:
    """Return a vendored module with the paths of the packages that it imports."""
    return _PACKAGE.sub(lambda found: found[1] + b'"' + PACKAGES.get(found[2], found[2]) + b'"', module)


def _content_type(file: Path) -> str | None:
    return next((content_type for end, content_type in CONTENT_TYPES.items() if file.name.endswith(end)), None)


_PACKAGE = re.compile(rb"""\b(from|import)\s*["']([^"'./][^"']*)["']""")
