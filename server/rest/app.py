"""The REST server: the table of all routes, the Quart app that serves them, and its start and shutdown.

A request passes `server/rest/http` (sockets, limits of connections and bodies), then Quart, which finds its route, then
`dispatch.py` (authentication, rate limits, decoding), and then its handler in `server/rest/routes`.
"""

import re
from functools import cache, partial
from itertools import chain

import structlog
import trio
from quart import Quart
from werkzeug.routing import Map

from server.context import Context
from server.gateway.connection_limits import ConnectionLimits
from server.gateway.listener import ListeningSockets
from server.rest.background_tasks import BackgroundTasks
from server.rest.dispatch import Dispatch
from server.rest.http.bodies import BodyBounds
from server.rest.http.client_address import client_finder
from server.rest.http.concurrency import AddressConcurrency
from server.rest.http.connections import serve_connections
from server.rest.http.quart_app import App
from server.rest.http.relay import answer_relayed
from server.rest.openapi.document import openapi_json
from server.rest.route import Route
from server.rest.routes import (
    admin,
    admin_payments,
    admin_reversals,
    admin_rooms,
    admin_user_lists,
    admin_users,
    bans,
    billing,
    calls,
    config,
    creators,
    debts,
    demo,
    docs,
    health,
    journal,
    live_figures,
    me,
    meter,
    operator_actions,
    overlay_tokens,
    overview,
    payments,
    payouts,
    refunds,
    reports,
    statements,
    streams,
    tickets,
    tips,
    tokens,
    wallet,
    wallet_exports,
    web,
)

EVENTS_PATH = "/api/payments/webhook/stripe"  # its bodies may exceed http.max_body_bytes

log = structlog.get_logger(__name__)

ROUTES: tuple[Route, ...] = tuple(
    chain(
        health.routes,
        config.routes,
        docs.document_routes(lambda: ROUTES),
        me.routes,
        creators.routes,
        wallet.routes,
        calls.routes,
        streams.routes,
        tickets.routes,
        tips.routes,
        meter.routes,
        billing.routes,
        admin.routes,
        admin_payments.routes,
        admin_reversals.routes,
        admin_rooms.routes,
        admin_users.routes,
        admin_user_lists.routes,
        refunds.routes,
        tokens.routes,
        payments.routes,
        payouts.routes,
        reports.routes,
        overlay_tokens.routes,
        bans.routes,
        overview.routes,
        live_figures.routes,
        journal.routes,
        wallet_exports.routes,
        statements.routes,
        operator_actions.routes,
        debts.routes,
        demo.routes,
    )
)


async def serve_http(context: Context, listening: ListeningSockets) -> None:
    """Serve HTTP until `context.http_closing` is set or until cancelled, then finish the requests under way.

    Cancellation is delayed until those requests end, at most GRACE_SECONDS of the connections module. Background tasks
    that still run then are cancelled.
    """
    openapi_json(ROUTES)  # built before serving: it blocks the event loop for some 0.3 s
    if context.secrets.billing_webhook_secret is None:
        log.warning("billing_webhook.closed", reason="BILLING_WEBHOOK_SECRET is not set, so every sweep is refused")
    closing = trio.Event()
    async with trio.open_nursery() as outside:
        outside.start_soon(_note_closing, context.http_closing, closing)
        with trio.CancelScope(shield=True):  # bounded by GRACE_SECONDS from `closing` on
            async with trio.open_nursery() as nursery:
                app = make_app(context, BackgroundTasks(nursery, context.settings.http.answer_seconds, context.faults))
                nursery.start_soon(context.requests.serve, partial(answer_relayed, app))
                http = context.settings.http
                limits = ConnectionLimits(http.connections, *context.settings.counted_by_address)
                await serve_connections(app, listening, closing, context.faults, context.memory, http, limits)
                nursery.cancel_scope.cancel()
        outside.cancel_scope.cancel()


async def _note_closing(requested: trio.Event, closing: trio.Event) -> None:
    """Set `closing` when `requested` is set or when this task is cancelled.

    A cancellation from outside thus becomes a graceful shutdown of the requests.
    """
    try:
        await requested.wait()
    finally:
        closing.set()


def make_app(context: Context, background_tasks: BackgroundTasks) -> App:
    """Build the Quart app with every route, each file of the web client, and the bounds on bodies.

    The app serves nothing by itself: no static files, no templates, no automatic OPTIONS, no redirects. So every
    response goes through `dispatch.finish`, which sets the headers that all responses have.
    """
    http, events = context.settings.http, context.settings.payments
    bounds = BodyBounds(http.max_body_bytes, {EVENTS_PATH: events.max_event_bytes}, http.answer_seconds)
    routes = _all_routes()
    dispatch = Dispatch(context, background_tasks, routes)
    app = App(__name__, _paths(), bounds, dispatch)
    app.config |= {"CLIENT_OF": client_finder(context.settings), "CONCURRENCY": AddressConcurrency()}
    app.view_functions = {route.endpoint: dispatch.view_of(route) for route in routes}
    return app


@cache
def _all_routes() -> tuple[Route, ...]:
    """Return the documented routes, and those of files."""
    return (*ROUTES, *demo.portrait_routes(), *web.asset_routes())


@cache
def _paths() -> Map:
    """Return the paths of all routes, compiled: half a millisecond for each, once for all apps of the process."""
    compiled = Quart(__name__, static_folder=None)
    compiled.url_map.merge_slashes = False  # an unknown path is 404, never a redirect
    for route in _all_routes():
        compiled.add_url_rule(
            _rule(route.path), route.endpoint, methods=[route.method], provide_automatic_options=False
        )
    return compiled.url_map


def _rule(path: str) -> str:
    """Convert `/api/calls/{callId}` to Quart's syntax; a path with a parameter that is not a UUID is then 404."""
    return re.sub(r"\{(\w+)\}", lambda found: f"<uuid:{_snake(found[1])}>", path)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
