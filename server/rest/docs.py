"""The contract as served, generated from the code."""

from server.asyncapi import asyncapi_json
from server.rest.answers import Plain
from server.rest.request import Ask
from server.rest.route import Needs, Routes

CACHED = "public, max-age=300"  # the same for everybody, and as long as this version runs

routes = Routes("/api")


@routes.get("/asyncapi.json", needs=Needs.ANYONE)
async def show_asyncapi(ask: Ask) -> Plain:
    """The websocket's messages, as an AsyncAPI 3.0 document."""
    ask.answer_headers["Cache-Control"] = CACHED
    return Plain(asyncapi_json(ask.house.settings, ask.house.websocket_port), "application/json")
