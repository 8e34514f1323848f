"""Fixtures that tests of the whole server share."""

import shutil
from pathlib import Path

import pytest

from tests.support.processes import run_command


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory as a first start leaves it, once, as that takes longer than most of these tests."""
    data_dir = tmp_path_factory.mktemp("made") / "data"
    assert run_command("migrate", "--data", str(data_dir), cwd=data_dir.parent).exit_code == 0
    return data_dir


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))
