"""Every file that the server serves is part of its installation."""

import tomllib
from fnmatch import fnmatch

from server.web.assets import HERE, SERVED
from tests.support.processes import ROOT


def test_every_served_directory_is_installed() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["server.web"]
    files = [
        file.relative_to(HERE).as_posix() for name in SERVED for file in (HERE / name).rglob("*") if file.is_file()
    ]
    assert [file for file in files if not any(fnmatch(file, pattern) for pattern in data)] == []
