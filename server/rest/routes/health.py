"""Whether the process lives, whether it should get work, and its figures; outside `/api`, and no matter of users."""

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
from storage.postgres import StatementRefused, StorageUnavailable

PROBE_SECONDS = 2.0  # a database that needs longer for SELECT 1 is not ready for anything
PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"

routes = Routes("")


class Health(msgspec.Struct, frozen=True):
    status: str


class Readiness(msgspec.Struct, frozen=True):
    """Every part that is needed to take work, and whether it does."""

    status: str
    parts: dict[str, str]


@routes.get("/healthz", needs=Needs.ANYONE, limit="probe")
async def show_health(request: Request) -> Health:
    """The process answers."""
    return Health("ok")


@routes.get("/readyz", needs=Needs.ANYONE, refuses=(Code.STORAGE_UNAVAILABLE, Code.DRAINING), limit="probe")
async def show_readiness(request: Request) -> Readiness | Refusal:
    """Whether this server should get work; if not, which part fails."""
    parts = {name: "ok" if await is_up(request.context) else "failed" for name, is_up in _PARTS.items()}
    failed = [name for name, state in parts.items() if state != "ok"]
    if not failed:
        return Readiness("ready", parts)
    code = Code.DRAINING if request.context.draining else Code.STORAGE_UNAVAILABLE
    return Refusal(code, f"Not ready: {', '.join(failed)}", {"parts": parts})


@routes.get("/metrics", needs=Needs.ANYONE, media=PROMETHEUS, refuses=(Code.FORBIDDEN,), limit="probe")
async def show_metrics(request: Request) -> Plain | Refusal:
    """All figures in Prometheus' text format.

    For clients in `metrics.networks`, by default this machine, and with `Authorization: Bearer` and the value of
    HALFMINUTE_METRICS_TOKEN from anywhere.
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
    """A proxy that is not trusted says nothing of its clients that counts, so none of them is near."""
    settings = request.context.settings
    proxies = settings.server.proxies
    if not is_within(request.peer, proxies.trusted) and any(name in request.headers for name in _FORWARDING):
        return False
    return is_within(
        client_address(request.peer, request.headers.getlist(proxies.header), proxies), settings.metrics.networks
    )


_FORWARDING = ("X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Real-IP", "Via")


class _Look:
    """One question to the database, which all probes that come meanwhile share: more of them cost it nothing more."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answered: bool | None = None  # None: whoever asked was cancelled before the answer


async def _database_answers(context: Context) -> bool:
    while (look := _looks.get(context)) is not None:
        await look.done.wait()
        if look.answered is not None:
            return look.answered
    look = _looks[context] = _Look()
    try:
        look.answered = await _ask_database(context)
    finally:
        del _looks[context]
        look.done.set()
    return look.answered


async def _ask_database(context: Context) -> bool:
    with trio.move_on_after(PROBE_SECONDS):
        try:
            return await context.postgres.fetchrow("SELECT 1") is not None
        except (StorageUnavailable, StatementRefused):
            return False
    return False


_looks: WeakKeyDictionary[Context, _Look] = WeakKeyDictionary()  # those that are under way


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
