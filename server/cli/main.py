"""The command `halfminute` and its subcommands: an error becomes one line on standard error and an exit code.

The docstrings and `help` texts of the commands are what `--help` prints. Exit codes: 0 for success, 1 for a failure,
2 for wrong arguments, 130 after Ctrl-C.
"""

import errno
import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Literal, NoReturn
from uuid import UUID

import cyclopts
import msgspec
import structlog
import trio
from cyclopts import Parameter

from server.access.tokens import issue_token
from server.cli.audit_report import report_audit
from server.cli.database import visit_database
from server.cli.demo_call import DemoFailed, watch_call
from server.cli.terminal import print_error, print_line
from server.config.listen_address import parse_address
from server.config.secret_files import read_secret_file, with_local_secrets
from server.config.secrets import Secrets, read_secrets
from server.config.settings import ConfigError, Settings, read_settings
from server.gateway.listener import ListenError
from server.loadtest.measures.plan import LoadRefused, Plan, RoomKind
from server.observability.background_output import replace_standard_output, secure_standard_streams, wait_all_written
from server.observability.logs import configure_log
from server.observability.open_files import fit, raise_limit
from server.observability.redaction import secret_words
from storage.database_errors import AddressError, StatementRefused, StorageUnavailable
from storage.embedded.launcher import EmbeddedError
from storage.migrate import MigrationError, migrate, require_present_schema
from storage.postgres import open_postgres

# Errors that the user can act on; their message is one line. Any other exception is a bug, and its traceback is logged.
EXPECTED = (
    ConfigError,
    ListenError,
    EmbeddedError,
    MigrationError,
    StorageUnavailable,
    StatementRefused,
    DemoFailed,
    LoadRefused,
)
OUTPUT_LOST = (errno.EPIPE, errno.ENOSPC)  # the reader of a pipe is gone, or the disk is full
WAIT_WRITTEN_SECONDS = 1.0  # longest wait for a reader of the log at the end; a live reader takes milliseconds
DEFAULT_CONFIG = Path("config.toml")
log = structlog.get_logger(__name__)

app = cyclopts.App(name="halfminute", help="A real-time call server: every thirty seconds one block, exactly once.")

ConfigFile = Annotated[Path | None, Parameter(help="settings; without it ./config.toml, if there is one")]
DataDir = Annotated[Path | None, Parameter(name="--data", help="where the private database and local secrets live")]


def main() -> NoReturn:
    """Run the command line and exit. Expected errors are printed as one line, unexpected ones with a traceback too.

    The log of the process is written by a thread, so its last lines are waited for before the exit.
    """
    secure_standard_streams()
    configure_log("info", "auto")
    exit_code = _run()
    wait_all_written(WAIT_WRITTEN_SECONDS)
    sys.exit(exit_code)


def _run() -> int:
    """Parse the arguments, run the command, and return the exit code."""
    try:
        result = app(result_action="return_value", exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except cyclopts.CycloptsError as misused:
        print_error(" ".join(str(misused).split()))
        return 2
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # reason: the last place to turn it into a line
        return _explain(error)
    return result if isinstance(result, int) else 0


@app.command(name="serve")
def serve_command(
    *,
    config: ConfigFile = None,
    http: Annotated[str | None, Parameter(help="HOST:PORT of the REST surface")] = None,
    ws: Annotated[str | None, Parameter(help="HOST:PORT of the websocket")] = None,
    data: DataDir = None,
    demo: Annotated[bool, Parameter(negative="", help="add demo users, and print their tokens")] = False,
    yes_really: Annotated[bool, Parameter(negative="", help="--demo also in the database of DATABASE_URL")] = False,
) -> None:
    """Serve calls until SIGTERM, Ctrl-C or the end of its terminal, then drain.

    Without DATABASE_URL it runs a private PostgreSQL in its data directory, and generates missing secrets there.
    """
    settings = _settings(config, data=data, http=http, ws=ws)
    if demo and not yes_really and read_secrets().database_url is not None:
        raise ConfigError(
            "--demo would add an operator and users with tokens to the database of DATABASE_URL:"
            " unset it, or pass --yes-really as well"
        )
    secrets, generated = _secrets_to_serve(settings)
    configure_log(settings.log.level, settings.log.format, secret_words(secrets))
    replace_standard_output()
    settings, too_few_files = fit(settings, raise_limit())
    from server.cli.serve import serve  # imported here: without Quart, the other commands take half the time

    trio.run(serve, settings, secrets, generated, demo, too_few_files)


@app.command(name="migrate")
def migrate_command(*, config: ConfigFile = None, data: DataDir = None) -> None:
    """Bring the schema of the database up to this version of halfminute; `serve` does the same at its start."""
    settings = _settings(config, data=data)

    async def apply() -> None:
        async with visit_database(settings, read_secrets(), make=True) as database:
            async with open_postgres(database.dsn, pool_size=1) as postgres:
                for name in await migrate(postgres):
                    print_line(f"applied {name}")
        print_line("the database is up to date")

    trio.run(apply)


@app.command
def token(
    *,
    sub: Annotated[UUID, Parameter(help="the user's id")],
    role: Annotated[str | None, Parameter(help="operator, for one")] = None,
    ttl: Annotated[int, Parameter(help="seconds until it expires")] = 3600,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Print a token for a user, signed with the secret of this installation.

    The user is created by the first request with the token. Tokens of a JWKS come from its issuer instead.
    """
    settings = _settings(config, data=data)
    if ttl <= 0:
        raise ConfigError("--ttl must be at least 1 second")
    secret = _jwt_secret(settings)
    if role is not None and role != settings.auth.operator_value:
        print_error(f"the role {role} gives no rights here; that of operators is {settings.auth.operator_value}")
    print_line(issue_token(secret, sub, role=role, ttl_seconds=ttl, now=time.time()))


@app.command
def audit(*, config: ConfigFile = None, data: DataDir = None) -> int:
    """Prove the ledger, beside a running server or without one; exit code 1 and the rows where it does not hold.

    The database must have the schema of this version: nothing is migrated.
    """
    settings = _settings(config, data=data)

    async def prove() -> int:
        async with visit_database(settings, read_secrets(), make=False) as database:
            async with open_postgres(database.dsn, pool_size=1) as postgres:
                await require_present_schema(postgres)
                return await report_audit(postgres)

    return trio.run(prove)


@app.command
def demo_call(
    *,
    http: Annotated[str, Parameter(help="HOST:PORT of a server started with --demo")] = "127.0.0.1:8000",
    blocks: Annotated[int | None, Parameter(help="hang up after so many blocks")] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> None:
    """Run a call between two users of --demo, and show its blocks until Ctrl-C or the end of the fan's tokens."""
    trio.run(watch_call, http, _jwt_secret(_settings(config, data=data)), blocks)


@app.command
def load(
    *,
    url: Annotated[str, Parameter(help="the server's REST address")] = "http://127.0.0.1:8000",
    rooms: Annotated[int, Parameter(help="calls or streams at once")] = 10,
    members: Annotated[int, Parameter(help="connections in each")] = 4,
    seconds: Annotated[float, Parameter(help="duration of the traffic")] = 10,
    tips_per_second: Annotated[float, Parameter(help="of all rooms together")] = 0,
    chats_per_second: Annotated[
        float, Parameter(help="of all rooms together", name=["--chats-per-second", "--chat"])
    ] = 0,
    kind: Annotated[RoomKind, Parameter(help="what the rooms are")] = "calls",
    subprotocol: Annotated[Literal["json", "msgpack"], Parameter(help="how messages are written")] = "json",
    out: Annotated[Path | None, Parameter(help="a directory for load.json and load.html")] = None,
    secret_from: Annotated[
        Path | None, Parameter(help="the server's data directory; else HALFMINUTE_JWT_SECRET")
    ] = None,
    yes_really: Annotated[bool, Parameter(negative="", help="also a server on another machine")] = False,
) -> int:
    """Fill rooms of a running server and count every delivery; exit code 1 if one was lost or came twice.

    All clients have one address: start that server with HALFMINUTE_LIMITS_EXEMPT='["127.0.0.1/32"]'.
    """
    from server.loadtest.command import run_load_test  # imported here: only this command needs the client

    plan = Plan(
        url=url,
        rooms=rooms,
        members=members,
        seconds=seconds,
        tips_per_second=tips_per_second,
        chats_per_second=chats_per_second,
        kind=kind,
        subprotocol=f"halfminute.v1.{subprotocol}",
    )
    return run_load_test(plan, _secret_of(secret_from), out, yes_really)


def _settings(
    config: Path | None, *, data: Path | None = None, http: str | None = None, ws: str | None = None
) -> Settings:
    """Read the settings, overridden by the options of a command. Raises ConfigError, also for a bad listen address."""
    settings = read_settings(config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None))
    replace = msgspec.structs.replace
    if data is not None:
        settings = replace(settings, server=replace(settings.server, data_dir=str(data)))
    if http is not None:
        settings = replace(settings, http=replace(settings.http, listen=http))
    if ws is not None:
        settings = replace(settings, websocket=replace(settings.websocket, listen=ws))
    parse_address(settings.http.listen)
    parse_address(settings.websocket.listen)
    return settings


def _secrets_to_serve(settings: Settings) -> tuple[Secrets, list[str]]:
    """Return the secrets, and the names of those just generated.

    Missing ones are generated with a private database. With DATABASE_URL they are not: several servers may share that
    database, and each would accept only its own tokens. Raises ConfigError then if the JWT secret is needed.
    """
    secrets = read_secrets()
    if secrets.database_url is None:
        return with_local_secrets(secrets, Path(settings.server.data_dir))
    if "HS256" in settings.auth.algorithms and secrets.jwt_secret is None:
        raise ConfigError(
            "with DATABASE_URL set, set HALFMINUTE_JWT_SECRET too, or auth.algorithms and a JWKS in the settings"
        )
    return secrets, []


def _jwt_secret(settings: Settings) -> str:
    """Return the secret that signs tokens of this installation.

    Raises ConfigError if an issuer outside signs them, and without a secret: a new one would sign tokens that no server
    accepts.
    """
    if "HS256" not in settings.auth.algorithms:
        raise ConfigError("tokens come from a JWKS here; halfminute has no secret to sign with")
    secrets = read_secrets()
    if secrets.jwt_secret is None and secrets.database_url is not None:
        raise ConfigError("with DATABASE_URL set, set HALFMINUTE_JWT_SECRET too")
    return secrets.jwt_secret or _stored_secret(Path(settings.server.data_dir))


def _secret_of(data: Path | None) -> str:
    """Return the secret that signs tokens for a server on this machine. Raises ConfigError."""
    if data is not None:
        return _stored_secret(data)
    secret = read_secrets().jwt_secret
    if secret is None:
        raise ConfigError("tokens need the server's secret: --secret-from its data directory, or HALFMINUTE_JWT_SECRET")
    return secret


def _stored_secret(data: Path) -> str:
    """Return the secret that a server has generated in its data directory. Raises ConfigError."""
    try:
        return read_secret_file(data / "secrets" / "jwt_secret")
    except FileNotFoundError:
        raise ConfigError(f"there is no secret in {data}: no server has run there") from None
    except OSError as error:
        raise ConfigError(f"the secret in {data} cannot be read: {error.strerror}") from None


def _explain(error: BaseException) -> int:
    """Print why the command failed, and return its exit code."""
    first = _first_of(error)
    if isinstance(first, KeyboardInterrupt):
        return 130
    if isinstance(first, OSError) and first.errno in OUTPUT_LOST:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # buffered output goes there, or Python fails again at its exit
        print_error(f"cannot write the output: {first.strerror}")
    elif not isinstance(first, EXPECTED):
        log.critical("fault", exc_info=error)
        print_error(f"internal error: {type(first).__name__}: {_first_line(first) or 'no details'}")
    elif isinstance(first, StorageUnavailable):
        print_error(_unavailable(first))
    else:
        print_error(_first_line(first))
    return 1


def _unavailable(error: StorageUnavailable) -> str:
    """Return one line about an unavailable database, which names the variable DATABASE_URL if that is set."""
    reason = re.sub(r"\[Errno -?\d+\] ", "", _first_line(error))
    is_configured = bool(os.environ.get("DATABASE_URL"))
    if isinstance(error, AddressError) and is_configured:
        return f"DATABASE_URL cannot be used: {reason}"
    what = "is out of reach" if error.sqlstate is None else "does not do its work now"
    return f"the database{' of DATABASE_URL' if is_configured else ''} {what}: {reason}"


def _first_of(error: BaseException) -> BaseException:
    """Return the exception that the user can act on, out of nested exception groups.

    A cancelled nursery may raise several; Ctrl-C comes first, then an expected error, then the first of the others.
    """
    while isinstance(error, BaseExceptionGroup):
        relevant = error.subgroup(KeyboardInterrupt) or error.subgroup(EXPECTED) or error
        error = relevant.exceptions[0]
    return error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
