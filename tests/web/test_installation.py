"""Every file that the server serves is part of its installation."""

import tomllib
from glob import glob

from server.web.assets import HERE, SERVED
from tests.support.processes import ROOT


def test_every_served_file_is_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["server.web"]
    installed = {file for pattern in patterns for file in glob(pattern, root_dir=HERE, recursive=True)}
    served = {
        file.relative_to(HERE).as_posix() for name in SERVED for file in (HERE / name).rglob("*") if file.is_file()
    }
    assert served - installed == set()
