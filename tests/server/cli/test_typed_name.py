"""The hints that the program prints can be typed as they are."""

import sys
from pathlib import Path

import pytest

from server.cli.terminal import typed_name


def program(directory: Path) -> Path:
    directory.mkdir()
    (directory / "halfminute").write_text("#!/bin/sh\n")
    (directory / "halfminute").chmod(0o755)
    return directory / "halfminute"


def test_a_program_that_the_shell_finds_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = program(tmp_path / "bin")
    monkeypatch.setattr(sys, "argv", [str(running), "serve"])
    monkeypatch.setenv("PATH", str(running.parent))
    assert typed_name() == "halfminute"


@pytest.mark.parametrize("found", [False, True], ids=["none on the path", "another on the path"])
def test_the_program_of_an_inactive_environment_is_the_path_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    running = program(tmp_path / "my venv")
    monkeypatch.setattr(sys, "argv", [str(running), "serve"])
    monkeypatch.setenv("PATH", str(program(tmp_path / "other").parent if found else tmp_path / "none"))
    assert typed_name() == f"'{running}'", "quoted for the shell"


def test_a_program_that_runs_under_another_name_is_named_halfminute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert typed_name() == "halfminute"
