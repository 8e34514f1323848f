"""No screen of the web client violates a rule of WCAG 2.2 AA that axe-core can check, or moves against the wish."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.peers.absent import leave_out
from tests.support.npm import install_modules
from tests.support.processes import ServerProcess
from tests.web import accessibility_scenes
from tests.web.browser import play

pytestmark = pytest.mark.long

AXE = "axe-core@4.10.3"
INSTALL_SECONDS_MAX = 300
SETTINGS = {"HALFMINUTE_CALLS_RING_COOLDOWN_SECONDS": "1"}  # one fan is declined twice


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of axe-core's script."""
    directory: Path = tmp_path_factory.mktemp("axe")
    (directory / "package.json").write_text(json.dumps({"private": True}))
    if (missing := install_modules(directory, [AXE], INSTALL_SECONDS_MAX)) is not None:
        leave_out(missing)
    return str(directory / "node_modules" / "axe-core" / "axe.min.js")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("client") / "data", "--demo", settings=SETTINGS) as server:
        yield f"http://127.0.0.1:{server.http_port}/"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_screen_violates_a_rule(url: str, axe: str, scheme: str) -> None:
    play(accessibility_scenes.look_at_every_screen, url=url, axe=axe, scheme=scheme)
