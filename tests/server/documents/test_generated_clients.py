"""Clients that are generated from our documents, in TypeScript and in Python, hold a call each with a real server."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.demo.users import CREATOR, FANS, DemoUser
from tests.server.peers.absent import leave_out
from tests.support import asyncapi, openapi
from tests.support.npm import install_modules
from tests.support.processes import ServerProcess, run_command

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
SECONDS_MAX = 600
MODULES = (
    "@asyncapi/modelina@3.12.0",
    "@types/node@20.19.0",
    "@types/ws@8.18.1",
    "openapi-fetch@0.14.1",
    "openapi-typescript@7.13.0",
    "typescript@5.9.3",
    "ws@8.18.3",
)
PACKAGES = ("openapi-python-client==0.28.1", "pydantic>=2,<3", "websockets>=15")
PACKAGE_JSON = {"type": "module", "private": True}
STRICT = {
    "compilerOptions": {
        "strict": True,
        "target": "es2022",
        "module": "nodenext",
        "moduleResolution": "nodenext",
        "skipLibCheck": True,
        "outDir": "out",
    },
    "files": ["hold_call.ts"],
}
BLOCK_TOKENS = CREATOR.rate_tokens_per_min // 2


def run(directory: Path, *command: str | Path) -> str:
    """Run a program; return what it printed. Raises AssertionError if it fails."""
    done = subprocess.run(
        command,
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both documents and the generators of npm."""
    directory = tmp_path_factory.mktemp("clients")
    (directory / "package.json").write_text(json.dumps(PACKAGE_JSON))
    if (missing := install_modules(directory, MODULES, SECONDS_MAX)) is not None:
        leave_out(missing)
    (directory / "openapi.json").write_text(json.dumps(openapi.read_document()))
    (directory / "asyncapi.json").write_text(json.dumps(asyncapi.read_document()))
    for name in ("events.mjs", "hold_call.ts", "hold_call.py"):
        shutil.copy(HERE / name, directory)
    return directory


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", "--demo") as running:
        yield running


def token(server: ServerProcess, user: DemoUser) -> str:
    words = "token", "--sub", str(user.user_id), "--data", str(server.data_dir)
    return run_command(*words, cwd=server.data_dir.parent).out.strip()


def check_held(server: ServerProcess, tools: Path, *program: str | Path) -> None:
    """Run a client, and check that its call had one block, which the receipt has too, and ended by hanging up."""
    users = token(server, FANS[0]), token(server, CREATOR), str(CREATOR.user_id)
    held: dict[str, Any] = json.loads(run(tools, *program, f"http://127.0.0.1:{server.http_port}", *users))
    assert held == {"blockNo": 1, "reason": "hangup", "tokens": BLOCK_TOKENS}


def test_a_client_in_typescript_holds_a_call(tools: Path, server: ServerProcess) -> None:
    run(tools, "node_modules/.bin/openapi-typescript", "openapi.json", "-o", "api.ts")
    run(tools, "node", "events.mjs", "asyncapi.json", "events.ts")
    (tools / "tsconfig.json").write_text(json.dumps(STRICT))
    run(tools, "node_modules/.bin/tsc", "-p", ".")
    check_held(server, tools, "node", "out/hold_call.js")


def test_a_client_in_python_holds_a_call(tools: Path, server: ServerProcess) -> None:
    run(tools, sys.executable, "-m", "venv", "venv")
    run(tools, "venv/bin/pip", "install", "--quiet", *PACKAGES)
    (tools / "no_hooks.yaml").write_text("post_hooks: []\n")
    generate = (
        "generate",
        "--path",
        "openapi.json",
        "--output-path",
        "client",
        "--meta",
        "none",
        "--config",
        "no_hooks.yaml",
    )
    run(tools, "venv/bin/openapi-python-client", *generate, "--fail-on-warning")
    run(tools, "node", "events.mjs", "asyncapi.json", "events")
    run(tools, "env", "PYTHONPATH=events:.", "venv/bin/python", "-c", "import hold_call")
    check_held(server, tools, "env", "PYTHONPATH=events:.", "venv/bin/python", "hold_call.py")
