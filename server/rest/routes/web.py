"""The files of the web client: its page, and modules that pages of every origin may import."""

from urllib.parse import urlsplit

from server.rest.request import Request
from server.rest.responses import NotModified, Static
from server.rest.route import Needs, Routes
from server.rest.routes.config import websocket_url
from server.web.assets import HTML, Asset, load_assets

# A browser asks each time whether its copy is still the file: the modules of two versions do not fit together.
CACHED = "public, no-cache"
OF_MODULE = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


def asset_routes() -> Routes:
    """Return a route for each file. They are not part of the documented API."""
    routes = Routes("")
    for asset in load_assets():
        _declare(routes, asset)
    return routes


def _declare(routes: Routes, asset: Asset) -> None:
    tag = f'W/"{asset.digest}"'  # weak, since the body may be compressed

    @routes.get(asset.path, needs=Needs.ANYONE, media=asset.content_type)
    async def show_file(request: Request) -> Static | NotModified:
        """The file, or 304 if the client has it."""
        request.answer_headers |= {"Cache-Control": CACHED, "ETag": tag, "Vary": "Accept-Encoding"}
        request.answer_headers |= _of_page(request) if asset.content_type == HTML else OF_MODULE
        if names_tag(request.headers.get("If-None-Match", ""), tag):
            return NotModified()
        return Static(asset.body, asset.gzipped, asset.content_type)


def _of_page(request: Request) -> dict[str, str]:
    """Return the headers that bound what a page may load and use: files of this server, and its websocket.

    Pictures may be on any server, since creators name theirs. `lit-html` is the only source of markup.
    """
    address = urlsplit(websocket_url(request))
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https: data:;"
            f" media-src 'self' blob:; connect-src 'self' {address.scheme}://{address.netloc};"
            " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
            " require-trusted-types-for 'script'; trusted-types lit-html"
        ),
        "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(), geolocation=(), usb=()",
    }


def names_tag(wanted: str, tag: str) -> bool:
    """Return whether an `If-None-Match` names this weak tag, or any (RFC 9110 §13.1.2)."""
    tags = [each.strip() for each in wanted.split(",")]
    return tags == ["*"] or tag in (each if each.startswith("W/") else f"W/{each}" for each in tags)
