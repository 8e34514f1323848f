"""The tools that read API documents accept ours, and generate types with good names from them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.server.peers.absent import leave_out
from tests.support import asyncapi, openapi
from tests.support.npm import install_modules

pytestmark = pytest.mark.long

INSTALL_SECONDS_MAX = 600
TOOL_SECONDS_MAX = 300
MODULES = (
    "@asyncapi/modelina@3.12.0",
    "@redocly/cli@1.30.0",
    "@stoplight/spectral-cli@6.16.3",
    "openapi-typescript@7.13.0",
    "typescript@5.9.3",
)
# We have nobody to name as a contact, and 3.0 is the version that generators know.
RULES = """
extends: ["spectral:oas", "spectral:asyncapi"]
rules: {info-contact: off, asyncapi-info-contact: off, asyncapi-latest-version: off}
"""
# The fields that may be left out, and an enumeration.
USE = """
import type { components } from "./api";
const call: components["schemas"]["CallWanted"] = { creatorId: "0197c0de-0000-7000-8000-000000000001" };
const tip: components["schemas"]["TipWanted"] = { toCreatorId: call.creatorId, amountTokens: 5 };
const reason: components["schemas"]["CallEndReason"] = "hangup";
export { call, tip, reason };
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tools, both documents, and what else the tools read."""
    directory = tmp_path_factory.mktemp("tools")
    if (missing := install_modules(directory, MODULES, INSTALL_SECONDS_MAX)) is not None:
        leave_out(missing)
    (directory / "openapi.json").write_text(json.dumps(openapi.read_document()))
    (directory / "asyncapi.json").write_text(json.dumps(asyncapi.read_document()))
    (directory / ".spectral.yaml").write_text(RULES)
    (directory / "use.ts").write_text(USE)
    shutil.copy(Path(__file__).with_name("generate.mjs"), directory)
    return directory


def run(tools: Path, *command: str) -> str:
    """Run an installed tool; return what it printed. Raises AssertionError if it fails."""
    done = subprocess.run(
        command,
        cwd=tools,
        check=False,
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS_MAX,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def installed(name: str) -> str:
    return f"node_modules/.bin/{name}"


@pytest.mark.parametrize("document", ["openapi.json", "asyncapi.json"])
def test_spectral_has_no_objection(tools: Path, document: str) -> None:
    run(tools, installed("spectral"), "lint", "--fail-severity=hint", document)


def test_redocly_finds_no_error(tools: Path) -> None:
    run(tools, installed("redocly"), "lint", "openapi.json")


def test_types_for_typescript_leave_optional_fields_optional(tools: Path) -> None:
    run(tools, installed("openapi-typescript"), "openapi.json", "-o", "api.ts")
    run(
        tools, installed("tsc"), "--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler", "use.ts"
    )


def test_modelina_names_every_message_and_nothing_anonymous(tools: Path) -> None:
    found: dict[str, Any] = json.loads(run(tools, "node", "generate.mjs", "asyncapi.json"))
    assert found["faults"] == []
    messages = asyncapi.read_document()["components"]["messages"].values()
    assert {message["title"] for message in messages} <= set(found["names"])
    assert [name for name in found["names"] if "Anonymous" in name] == []
