"""The command line: what it prints and stores, and the one clear line for each mistake that a newcomer makes."""

import base64
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import trio

from server.access.tokens import issue_token
from server.demo.seed import FAN_TOKENS
from server.demo.users import FANS
from storage.embedded.launcher import Address, open_embedded
from tests.storage.postgres_processes import mode, query
from tests.support.clients import SECRET
from tests.support.processes import (
    Finished,
    ServerProcess,
    environment,
    eventually,
    free_ports,
    listen_on,
    run_command,
    start_command,
)

SOMEBODY = "0190a000-0000-7000-8000-00000000abcd"
CLOSED, TAKEN, *FREE = (f"127.0.0.1:{port}" for port in free_ports(6))
FREE_PORTS = f"--http {FREE[0]} --ws {FREE[1]}"
AWAY = f"the database of DATABASE_URL is out of reach: Connect call failed ('127.0.0.1', {CLOSED.partition(':')[2]})"
NO_DATABASE = {"DATABASE_URL": f"postgresql://somebody:hunter2@{CLOSED}/calls"}
NO_SECRET = "there is no secret in new: no server has run there"
MISUSED = 2  # the exit code when the arguments form no command; cyclopts explains why
PROMOTIONS_WALLET = "00000000-0000-7000-8000-000000000002"


class Mistake(NamedTuple):
    """A command line and the one line that it prints, or the start of that line where the text is not ours."""

    words: str
    line: str
    settings: Mapping[str, str] = MappingProxyType({})
    exit_code: int = 1


MISTAKES = {
    "an unknown command": Mistake(
        "srve",
        'Unknown command "srve".',
        exit_code=MISUSED,
    ),
    "an unknown option": Mistake("serve --confg x", "Unknown option: --confg.", exit_code=MISUSED),
    "a user who is no UUID": Mistake(
        "token --sub finn", 'Invalid value for --sub: unable to convert "finn" into UUID.', exit_code=MISUSED
    ),
    "a token that never holds": Mistake(f"token --sub {SOMEBODY} --ttl 0", "--ttl must be at least 1 second"),
    "an address that is none": Mistake("serve --http nonsense", "'nonsense' is not HOST:PORT"),
    "an address in the settings that is none": Mistake(
        "serve", "'8001' is not HOST:PORT", {"HALFMINUTE_WEBSOCKET_LISTEN": "8001"}
    ),
    "a missing file": Mistake("serve --config no.toml", "no.toml cannot be read: No such file or directory"),
    "a misspelt key": Mistake(
        "serve --config key.toml",
        "key.toml: [calls]: Object contains unknown field `blok_seconds`; the nearest is `block_seconds`",
    ),
    "a value out of range": Mistake(
        "serve --config value.toml", "value.toml: [calls] block_seconds: Expected `int` >= 1"
    ),
    "a variable that is no setting": Mistake(
        "serve",
        "HALFMINUTE_BILLING_BLOCK_SECONDS is no setting; the nearest is HALFMINUTE_CALLS_BLOCK_SECONDS",
        {"HALFMINUTE_BILLING_BLOCK_SECONDS": "1"},
    ),
    "a bad override": Mistake(
        "serve",
        "HALFMINUTE_CALLS_BLOCK_SECONDS: Expected `int`, got `str`",
        {"HALFMINUTE_CALLS_BLOCK_SECONDS": "ten"},
    ),
    "a short secret for tokens": Mistake(
        "serve",
        "HALFMINUTE_JWT_SECRET has 9 characters; at least 32 are needed",
        {"HALFMINUTE_JWT_SECRET": "swordfish"},
    ),
    "a short secret for the webhook": Mistake(
        "serve",
        "BILLING_WEBHOOK_SECRET has 9 characters; at least 32 are needed",
        {"BILLING_WEBHOOK_SECRET": "swordfish"},
    ),
    "a database without a secret": Mistake(
        "serve",
        "with DATABASE_URL set, set HALFMINUTE_JWT_SECRET too, or auth.algorithms and a JWKS in the settings",
        NO_DATABASE,
    ),
    "a database that is not there": Mistake(
        f"serve {FREE_PORTS}", AWAY, {**NO_DATABASE, "HALFMINUTE_JWT_SECRET": SECRET}
    ),
    "books that are not there": Mistake("audit", AWAY, NO_DATABASE),
    "an address that cannot be": Mistake(
        "migrate",
        "DATABASE_URL cannot be used: `sslmode` parameter must be one of:"
        " disable, allow, prefer, require, verify-ca, verify-full",
        {"DATABASE_URL": f"{NO_DATABASE['DATABASE_URL']}?sslmode=perhaps"},
    ),
    "a parameter of the address that is no number": Mistake(
        "audit",
        "DATABASE_URL cannot be used: connect_timeout is not a whole number",
        {"DATABASE_URL": f"{NO_DATABASE['DATABASE_URL']}?connect_timeout=hunter3"},
    ),
    "a ledger that was never created": Mistake(
        "audit --data new", "there is no database in new: no server has run there"
    ),
    "a token of no server": Mistake(f"token --sub {SOMEBODY} --data new", NO_SECRET),
    "a demo call without its server": Mistake("demo-call --data new", NO_SECRET),
    "a data directory that cannot be made": Mistake(
        "serve --data /proc/data", "cannot keep secrets in /proc/data/secrets: No such file or directory"
    ),
    "a data directory that is a file": Mistake(
        "serve --data key.toml", "cannot keep secrets in key.toml/secrets: File exists"
    ),
    "a server that is not there": Mistake(
        f"demo-call --http {CLOSED}",
        f"no halfminute server answers at http://{CLOSED}: Connection refused",
        {"HALFMINUTE_JWT_SECRET": SECRET},
    ),
    "a taken port for REST": Mistake(
        f"serve --http {TAKEN} --ws {FREE[2]}",
        f"cannot listen on {TAKEN}: Address already in use",
        {**NO_DATABASE, "HALFMINUTE_JWT_SECRET": SECRET},
    ),
    "a taken port for the websocket": Mistake(
        f"serve --http {FREE[3]} --ws {TAKEN}",
        f"cannot listen on {TAKEN}: Address already in use",
        {**NO_DATABASE, "HALFMINUTE_JWT_SECRET": SECRET},
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Finished]]]:
    """Run all mistakes concurrently in one directory: each takes a second, nearly all of it to load the program."""
    cwd = tmp_path_factory.mktemp("mistakes")
    (cwd / "key.toml").write_text("[calls]\nblok_seconds = 10\n")
    (cwd / "value.toml").write_text("[calls]\nblock_seconds = 0\n")
    with listen_on(int(TAKEN.partition(":")[2])), ThreadPoolExecutor(max_workers=3) as pool:
        yield {
            name: pool.submit(run_command, *mistake.words.split(), cwd=cwd, settings=mistake.settings)
            for name, mistake in MISTAKES.items()
        }


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line(made: dict[str, Future[Finished]], name: str) -> None:
    finished, mistake = made[name].result(), MISTAKES[name]
    (output,) = finished.errors
    expected = f"halfminute: {mistake.line}"
    assert output.startswith(expected) if mistake.exit_code == MISUSED else output == expected
    assert (finished.exit_code, finished.out) == (mistake.exit_code, "")


def test_a_database_on_a_host_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgresql://somebody:hunter2@database.invalid/calls"}
    finished = run_command("migrate", cwd=tmp_path, settings=settings)
    (output,) = finished.errors
    reasons = ("Name or service not known", "Temporary failure in name resolution")  # with a name server, and without
    assert output in [f"halfminute: the database of DATABASE_URL is out of reach: {reason}" for reason in reasons]
    assert (finished.exit_code, finished.out) == (1, "")


def test_an_internal_error_is_logged_with_its_trace_and_printed_in_one_line(tmp_path: Path) -> None:
    program = "import server.cli.main as cli; cli.read_settings = lambda _: 1 / 0; cli.main()"
    words = [sys.executable, "-c", program, "audit"]
    ended = subprocess.run(words, cwd=tmp_path, env=environment({}), capture_output=True, text=True, timeout=60)
    logged, output = ended.stderr.splitlines()
    assert output == "halfminute: internal error: ZeroDivisionError: division by zero"
    assert "in <lambda>" in json.loads(logged)["exception"]
    assert (ended.returncode, ended.stdout) == (1, "")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the users of --demo and blocks of one second."""
    data_dir = tmp_path_factory.mktemp("house") / "data"
    with ServerProcess(data_dir, "--demo", settings={"HALFMINUTE_CALLS_BLOCK_SECONDS": "1"}) as server:
        yield server
        server.terminate()
        assert server.wait_exit() == 0


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """Yield a data directory on which only `migrate` has run, and its output."""
    data_dir = tmp_path_factory.mktemp("migrated") / "data"
    return data_dir, run_command("migrate", "--data", str(data_dir), cwd=data_dir.parent)


def test_a_second_server_on_the_same_data_directory_is_refused_and_the_first_goes_on(context: ServerProcess) -> None:
    refused = run_command("serve", *FREE_PORTS.split(), "--data", str(context.data_dir), cwd=context.data_dir.parent)
    assert refused.errors == [f"halfminute: another halfminute server uses the data directory {context.data_dir}"]
    assert (refused.exit_code, refused.out) == (1, "")
    assert context.get("/readyz").status_code == 200


def test_a_demo_call_shows_its_block_and_hangs_up(context: ServerProcess) -> None:
    before = _balance(context)
    shown = run_command("demo-call", *_at(context), "--blocks", "1", cwd=context.data_dir.parent)
    assert (shown.exit_code, shown.errors) == (0, [])
    paid = before - _balance(context)
    assert "Cleo and Finn: ended: hangup" in shown.out
    assert f"Finn has {before - paid} tokens, Cleo has earned {paid} in this call" in shown.out
    rows = [line.split("│")[1:3] for line in shown.out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [[str(n), "1"] for n in range(1, paid + 1)]
    assert paid >= 1


def test_ctrl_c_ends_a_demo_call_without_output_and_leaves_no_live_call(context: ServerProcess) -> None:
    before = _balance(context)
    with start_command("demo-call", *_at(context), cwd=context.data_dir.parent) as watching:
        eventually(lambda: _balance(context) < before, "a block")
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (130, "")
    eventually(lambda: _calls(context, "ended") == _calls(context), "the end of the call")


def test_a_demo_call_with_another_secret_is_one_clear_line(context: ServerProcess) -> None:
    refused = run_command(
        "demo-call", *_at(context), cwd=context.data_dir.parent, settings={"HALFMINUTE_JWT_SECRET": SECRET}
    )
    assert refused.errors == ["halfminute: the session has ended: wrong signature"]
    assert refused.exit_code == 1


def test_a_token_is_marked_as_an_operators_only_if_it_is_one(context: ServerProcess) -> None:
    words = "token", "--sub", SOMEBODY, "--data", str(context.data_dir)
    plain, operator = (
        run_command(*words, *more, cwd=context.data_dir.parent).out.strip() for more in ((), ("--role", "operator"))
    )
    misspelt = run_command(*words, "--role", "admin", cwd=context.data_dir.parent)
    assert misspelt.errors == ["halfminute: the role admin gives no rights here; that of operators is operator"]
    assert _claims(operator)["app_metadata"] == {"role": "operator"}
    assert _claims(plain)["sub"] == _claims(operator)["sub"] == SOMEBODY
    assert _claims(plain)["exp"] == _claims(plain)["iat"] + 3600
    assert context.get("/api/admin/audit", token=operator).status_code == 200
    assert context.get("/api/admin/audit", token=plain).status_code == 403


def test_the_ledger_is_audited_beside_a_running_server(context: ServerProcess) -> None:
    proved = run_command("audit", "--data", str(context.data_dir), cwd=context.data_dir.parent)
    assert (proved.exit_code, proved.errors) == (0, [])
    *proofs, verdict = proved.out.splitlines()
    assert verdict == "the ledger is sound"
    assert all(proof.startswith("holds: ") for proof in proofs)
    assert context.get("/readyz").status_code == 200


def test_migrate_applies_everything_once(migrated: tuple[Path, Finished]) -> None:
    data_dir, first = migrated
    assert first.out.splitlines()[0] == "applied 0001_initial"
    assert (first.exit_code, first.out.splitlines()[-1]) == (0, "the database is up to date")
    second = run_command("migrate", "--data", str(data_dir), cwd=data_dir.parent)
    assert (second.exit_code, second.out.splitlines()) == (0, ["the database is up to date"])


def test_damage_to_the_ledger_is_found_without_a_server_and_the_rows_are_shown(
    migrated: tuple[Path, Finished], tmp_path: Path
) -> None:
    data_dir = Path(shutil.copytree(migrated[0], tmp_path / "data"))
    _damage(data_dir, f"UPDATE halfminute.wallets SET balance = balance + 7 WHERE id = '{PROMOTIONS_WALLET}'")
    found = run_command("audit", "--data", str(data_dir), cwd=tmp_path)
    assert (found.exit_code, found.errors) == (1, [])
    output = found.out.splitlines()
    assert output[output.index("FAILS: all balances sum to zero") + 1] == "    sum=7"
    row = output[output.index("FAILS: each wallet equals its journal, and so does each part of it") + 1]
    assert row.startswith(f"    id={PROMOTIONS_WALLET}, balance=7, ")
    assert output[-1] == f"the ledger is NOT sound: 2 of {len(output) - 3} fail"


def test_secrets_and_demo_users_are_created_once(tmp_path: Path) -> None:
    made = f"made secrets of its own in {tmp_path}/data/secrets: jwt_secret, billing_webhook_secret"
    with ServerProcess(tmp_path / "data", "--demo") as server:
        secret = server.jwt_secret()
        _stop(server)
        assert made in server.out.all()
        server.start()
        assert server.jwt_secret() == secret
        assert _balance(server) == FAN_TOKENS
        _stop(server)
        assert not any(line.startswith("made secrets") for line in server.out.all())
    secrets = tmp_path / "data" / "secrets"
    assert sorted(file.name for file in secrets.iterdir()) == ["billing_webhook_secret", "jwt_secret"]
    assert [mode(path) for path in (tmp_path / "data", secrets, *secrets.iterdir())] == [0o700, 0o700, 0o600, 0o600]
    assert secret not in "".join([*server.out.all(), *server.errors.all()])


def _damage(data_dir: Path, sql: str) -> None:
    """Change the ledger as only a superuser can, past the triggers."""

    async def write() -> None:
        async with open_embedded(data_dir) as address:
            superuser = Address(address.socket_dir, user="postgres")
            await trio.to_thread.run_sync(query, superuser, f"SET session_replication_role = replica; {sql}")

    trio.run(write)


def _stop(server: ServerProcess) -> None:
    server.terminate()
    assert server.wait_exit() == 0


def _at(context: ServerProcess) -> tuple[str, ...]:
    return "--http", f"127.0.0.1:{context.http_port}", "--data", str(context.data_dir)


def _balance(context: ServerProcess) -> int:
    """Return the balance of Finn's wallet."""
    return int(context.get("/api/wallet", token=_finns_token(context)).json()["balance"])


def _calls(context: ServerProcess, status: str | None = None) -> int:
    filtered = "" if status is None else f"?status={status}"
    return int(context.get(f"/api/calls/history{filtered}", token=_finns_token(context)).json()["total"])


def _finns_token(context: ServerProcess) -> str:
    return issue_token(context.jwt_secret(), FANS[0].user_id, role=None, ttl_seconds=60, now=time.time())


def _claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
