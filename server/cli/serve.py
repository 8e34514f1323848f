"""`halfminute serve`: start the server, print its addresses, wait for a stopping signal, drain."""

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from server.app import open_listeners, open_server
from server.cli.database import open_database
from server.cli.demo_creators import automatic_creators
from server.cli.terminal import print_line, typed_name
from server.config.listen_address import parse_address
from server.config.secrets import Secrets
from server.config.settings import Settings
from server.context import Context
from server.demo.seed import seed
from server.demo.users import DEMO_USERS, demo_token
from server.money.payments.demo import demo_url
from server.observability.memory import freeze_objects


async def serve(
    settings: Settings, secrets: Secrets, generated: list[str], demo: bool, too_few_files: str | None = None
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP (Ctrl-C, a closed terminal), then drain; during the start, stop at once.

    `generated` are the names of secrets that were generated just now; `too_few_files` is a line for the user if the
    limit of open files reduced the connections. Further signals do not cut the drain short; it has its own deadline.
    Raises the errors of `open_listeners`, `open_database` and `open_server`.
    """
    with trio.open_signal_receiver(*_stopping_signals()) as signals:
        async with _stoppable_start(signals) as stop:
            with open_listeners(settings) as listeners:
                async with (
                    open_database(settings, secrets) as database,
                    open_server(settings, secrets, database.dsn, listeners, alone=database.alone) as context,
                ):
                    if demo:
                        await seed(context)
                        _open_demo_checkout(context)
                    freeze_objects()
                    _greet(context, generated, too_few_files, demo)
                    async with automatic_creators(context):
                        await stop.wait_after_start()
    print_line("halfminute has drained and stopped")


def _stopping_signals() -> list[int]:
    """Return the signals that stop the server; not SIGHUP if it is ignored, as under `nohup`."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


class _Stop:
    """The stop request: the first signal cancels a start, or ends the wait of a started server.

    A start may take long, for example while a database is migrated or a lease ends; it has no clients to drain.
    """

    def __init__(self) -> None:
        self.starting = trio.CancelScope()
        self._asked = trio.Event()
        self._started = False

    async def watch(self, signals: AsyncIterator[int]) -> None:
        """Consume signals; only the first has an effect."""
        async for _ in signals:
            self._asked.set()
            if not self._started:
                self.starting.cancel()

    async def wait_after_start(self) -> None:
        """Wait for a stopping signal; from now on it no longer cancels the start."""
        self._started = True
        await self._asked.wait()


@asynccontextmanager
async def _stoppable_start(signals: AsyncIterator[int]) -> AsyncIterator[_Stop]:
    """Watch for signals during the block; one that arrives during the start leaves the block without an error."""
    stop = _Stop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop.watch, signals)
        with stop.starting:
            yield stop
        nursery.cancel_scope.cancel()


def _open_demo_checkout(context: Context) -> None:
    """Open the checkout that charges nobody, unless others can reach the port and would get tokens for free."""
    host = parse_address(context.settings.http.listen).host
    url = demo_url(host, context.http_port)
    if url is None:
        print_line(f"{host} can be reached by others: there is no demo checkout here")
    else:
        context.payments.open_demo(url)


def _greet(context: Context, generated: list[str], too_few_files: str | None, demo: bool) -> None:
    """Print the addresses, what the user should know of this start, and the demo users with their tokens."""
    settings = context.settings
    http, websocket = parse_address(settings.http.listen), parse_address(settings.websocket.listen)
    # With the ports that the system chose for port 0.
    http = msgspec.structs.replace(http, port=context.http_port)
    websocket = msgspec.structs.replace(websocket, port=context.websocket_port)
    print_line(f"halfminute serves http://{http} and ws://{websocket}/ws")
    if generated:
        print_line(f"made secrets of its own in {Path(settings.server.data_dir) / 'secrets'}: {', '.join(generated)}")
    if context.secrets.billing_webhook_secret is None:
        print_line("BILLING_WEBHOOK_SECRET is not set: POST /api/billing/meter answers 403")
    if too_few_files is not None:
        print_line(too_few_files)
    if demo and context.secrets.jwt_secret is not None:
        for user in DEMO_USERS:
            if not user.automatic:
                print_line(
                    f"{user.title}: {user.user_id}\n    {demo_token(user, context.secrets.jwt_secret, time.time())}"
                )
        data = settings.server.data_dir
        print_line(f"see a call, from a second terminal:\n    {typed_name()} demo-call --data {data} --http {http}")
