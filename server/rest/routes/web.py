"""The files of the web client: public, and importable by pages of every origin."""

from server.rest.request import Request
from server.rest.responses import NotModified, Static
from server.rest.route import Needs, Routes
from server.web.assets import Asset, load_assets

# A browser asks each time whether its copy is still the file: the modules of two versions do not fit together.
CACHED = "public, no-cache"


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
        request.answer_headers |= {
            "Cache-Control": CACHED,
            "ETag": tag,
            "Vary": "Accept-Encoding",
            "Access-Control-Allow-Origin": "*",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if names_tag(request.headers.get("If-None-Match", ""), tag):
            return NotModified()
        return Static(asset.body, asset.gzipped, asset.content_type)


def names_tag(wanted: str, tag: str) -> bool:
    """Return whether an `If-None-Match` names this weak tag, or any (RFC 9110 §13.1.2)."""
    tags = [each.strip() for each in wanted.split(",")]
    return tags == ["*"] or tag in (each if each.startswith("W/") else f"W/{each}" for each in tags)
