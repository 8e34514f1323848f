"""Probes for operators, outside of `/api`: liveness, readiness and metrics.

Load balancers and orchestrators call them often, so they cost little and have a rate limit of their own.
"""

import hmac
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

import msgspec
import trio

from domain.refusals import Code, Refusal
from server.addresses import client_address, is_within
from server.context import Context
from server.rest.request import Request
from server.rest.responses import Plain
from server.rest.route import Needs, Routes
from storage.database_errors import StatementRefused, StorageUnavailable

PROBE_SECONDS = 2.0  # a database that needs longer for SELECT 1 is not ready
PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"

routes = Routes("")


class Health(msgspec.Struct, frozen=True):
    """`ok`, if the process answers at all."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """The state of every part that the server needs to accept work: `ok` or `failed`."""

    status: str
    parts: dict[str, str]


@routes.get("/healthz", needs=Needs.ANYONE, limit="probe")
async def show_health(request: Request) -> Health:
    """Liveness: the process answers. A process that does not should be restarted; the database is not asked."""
    return Health("ok")


@routes.get("/readyz", needs=Needs.ANYONE, refuses=(Code.STORAGE_UNAVAILABLE, Code.DRAINING), limit="probe")
async def show_readiness(request: Request) -> Readiness | Refusal:
    """Readiness: whether this server should receive work; if not, which part fails.

    The parts are the database, the storage actor, the supervision of rooms, and `open`, which fails in a server that
    is stopping.
    """
    parts = {name: "ok" if await is_up(request.context) else "failed" for name, is_up in _PARTS.items()}
    failed = [name for name, state in parts.items() if state != "ok"]
    if not failed:
        return Readiness("ready", parts)
    code = Code.DRAINING if request.context.draining else Code.STORAGE_UNAVAILABLE
    return Refusal(code, f"Not ready: {', '.join(failed)}", {"parts": parts})


@routes.get("/metrics", needs=Needs.ANYONE, media=PROMETHEUS, refuses=(Code.FORBIDDEN,), limit="probe")
async def show_metrics(request: Request) -> Plain | Refusal:
    """The metrics in Prometheus' text format.

    Served to clients in `metrics.networks`, by default this machine, and to any client that sends
    `Authorization: Bearer` with the value of HALFMINUTE_METRICS_TOKEN.
    """
    if not (_has_metrics_token(request) or _is_near(request)):
        return Refusal(Code.FORBIDDEN, "The figures are for metrics.networks, or for HALFMINUTE_METRICS_TOKEN")
    return Plain(request.context.metrics.exposition(), PROMETHEUS)


def _has_metrics_token(request: Request) -> bool:
    token, given = request.context.secrets.metrics_token, request.headers.get("Authorization", "")
    scheme, _, credentials = given.partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(credentials.strip(" ").encode(errors="replace"), token.encode())


def _is_near(request: Request) -> bool:
    """Return whether the client is in `metrics.networks`.

    A request that an untrusted proxy forwarded never is: the address of its client is unknown.
    """
    settings = request.context.settings
    proxies = settings.server.proxies
    if not is_within(request.peer, proxies.trusted) and any(name in request.headers for name in _FORWARDING):
        return False
    return is_within(
        client_address(request.peer, request.headers.getlist(proxies.header), proxies), settings.metrics.networks
    )


_FORWARDING = ("X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Real-IP", "Via")


class _Probe:
    """One query to the database, shared by all concurrent probes, so that many probes cost no more than one."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answered: bool | None = None  # None if the task that ran the query was cancelled


async def _database_answers(context: Context) -> bool:
    """Return whether the database answers; waits for a query that another probe has sent, or sends one."""
    while (probe := _probes.get(context)) is not None:
        await probe.done.wait()
        if probe.answered is not None:
            return probe.answered
    probe = _probes[context] = _Probe()
    try:
        probe.answered = await _ask_database(context)
    finally:
        del _probes[context]
        probe.done.set()
    return probe.answered


async def _ask_database(context: Context) -> bool:
    """Send the smallest query; False if it fails, or takes longer than PROBE_SECONDS."""
    with trio.move_on_after(PROBE_SECONDS):
        try:
            return await context.postgres.fetchrow("SELECT 1") is not None
        except (StorageUnavailable, StatementRefused):
            return False
    return False


_probes: WeakKeyDictionary[Context, _Probe] = WeakKeyDictionary()  # those in progress


async def _actor_report(context: Context) -> bool:
    return context.actor.away_seconds == 0 and not context.actor.finished.is_set()


async def _rooms_run(context: Context) -> bool:
    return context.registry.is_open


async def _takes_work(context: Context) -> bool:
    return not context.draining


_PARTS: dict[str, Callable[[Context], Awaitable[bool]]] = {
    "database": _database_answers,
    "storageActor": _actor_report,
    "supervisor": _rooms_run,
    "open": _takes_work,
}
