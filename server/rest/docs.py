"""The contract as served, generated from the code."""

from server.asyncapi import asyncapi_json
from server.rest.answers import Plain
from server.rest.openapi import openapi_json
from server.rest.request import Ask
from server.rest.route import JSON, Needs, Routes

CACHED = "public, max-age=300"  # the same for everybody, and as long as this version runs

routes = Routes("/api")


@routes.get("/openapi.json", needs=Needs.ANYONE)
async def show_openapi(ask: Ask) -> Plain:
    """These routes, as an OpenAPI 3.1 document."""
    from server.rest.app import ROUTES  # this route is one of them

    ask.answer_headers["Cache-Control"] = CACHED
    return Plain(openapi_json(ROUTES), JSON)


@routes.get("/asyncapi.json", needs=Needs.ANYONE)
async def show_asyncapi(ask: Ask) -> Plain:
    """The websocket's messages, as an AsyncAPI 3.0 document."""
    ask.answer_headers["Cache-Control"] = CACHED
    return Plain(asyncapi_json(ask.house.settings, ask.house.websocket_port), JSON)
