"""The contract as served, generated from the code."""

from collections.abc import Callable

from server.gateway.asyncapi.document import asyncapi_json
from server.rest.openapi.docs_page import POLICY, docs_page
from server.rest.openapi.document import openapi_json
from server.rest.request import Request
from server.rest.responses import Plain
from server.rest.route import JSON, Needs, Route, Routes

HTML = "text/html; charset=utf-8"
CACHED = "public, max-age=300"  # the same for everybody, and as long as this version runs


def document_routes(documented: Callable[[], tuple[Route, ...]]) -> Routes:
    """The routes that serve both documents; `documented` are all routes of the server, these among them."""
    routes = Routes("/api")

    @routes.get("/openapi.json", needs=Needs.ANYONE)
    async def show_openapi(request: Request) -> Plain:
        """These routes, as an OpenAPI 3.1 document."""
        request.answer_headers["Cache-Control"] = CACHED
        return Plain(openapi_json(documented()), JSON)

    @routes.get("/asyncapi.json", needs=Needs.ANYONE)
    async def show_asyncapi(request: Request) -> Plain:
        """The websocket's messages, as an AsyncAPI 3.0 document."""
        request.answer_headers["Cache-Control"] = CACHED
        return Plain(_asyncapi(request), JSON)

    @routes.get("/docs", needs=Needs.ANYONE, media=HTML)
    async def show_docs(request: Request) -> Plain:
        """Both documents as a page for people."""
        request.answer_headers |= {"Cache-Control": CACHED, "Content-Security-Policy": POLICY}
        return Plain(docs_page(openapi_json(documented()), _asyncapi(request)), HTML)

    return routes


def _asyncapi(request: Request) -> bytes:
    origin = request.origin
    proxied = None if origin == (None, None) else "wss" if origin.secure else "ws"
    return asyncapi_json(request.context.settings, request.context.websocket_port, proxied)
