"""The API documents: OpenAPI and AsyncAPI, generated from the code, an HTML page of both, and the quick start."""

from collections.abc import Callable

from server.gateway.asyncapi.document import asyncapi_json
from server.rest.openapi.docs_page import docs_page, docs_policy
from server.rest.openapi.document import openapi_json
from server.rest.openapi.page_parts import POLICY
from server.rest.openapi.quickstart import quickstart_page
from server.rest.request import Request
from server.rest.responses import Plain
from server.rest.route import JSON, Needs, Route, Routes
from server.rest.routes.config import websocket_url

HTML = "text/html; charset=utf-8"
CACHED = "public, max-age=300"  # the documents are public and change only with the version


def document_routes(documented: Callable[[], tuple[Route, ...]]) -> Routes:
    """Return the routes of the documents.

    `documented` returns all routes of the server, including these. It is a function because the table of routes is
    complete only after this one has returned.
    """
    routes = Routes("/api")

    @routes.get("/openapi.json", needs=Needs.ANYONE)
    async def show_openapi(request: Request) -> Plain:
        """The REST routes, as an OpenAPI 3.1 document."""
        request.answer_headers["Cache-Control"] = CACHED
        return Plain(openapi_json(documented()), JSON)

    @routes.get("/asyncapi.json", needs=Needs.ANYONE)
    async def show_asyncapi(request: Request) -> Plain:
        """The websocket's messages, as an AsyncAPI 3.0 document."""
        request.answer_headers["Cache-Control"] = CACHED
        return Plain(_asyncapi(request), JSON)

    @routes.get("/docs", needs=Needs.ANYONE, media=HTML)
    async def show_docs(request: Request) -> Plain:
        """Both documents as an HTML page, with a form that tries each route and each command."""
        policy = docs_policy(websocket_url(request))
        request.answer_headers |= {"Cache-Control": CACHED, "Content-Security-Policy": policy}
        return Plain(docs_page(openapi_json(documented()), _asyncapi(request)), HTML)

    @routes.get("/docs/quickstart", needs=Needs.ANYONE, media=HTML)
    async def show_quickstart(request: Request) -> Plain:
        """The quick start for client writers, as an HTML page: a program that calls, tips, watches and reconnects."""
        request.answer_headers |= {"Cache-Control": CACHED, "Content-Security-Policy": POLICY}
        return Plain(quickstart_page(request.context.settings), HTML)

    return routes


def _asyncapi(request: Request) -> bytes:
    """Return the AsyncAPI document with the address at which the client of this request reaches the websocket."""
    origin = request.origin
    proxied = None if origin == (None, None) else "wss" if origin.secure else "ws"
    return asyncapi_json(request.context.settings, request.context.websocket_port, proxied)
