"""The version that both documents show."""

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def version() -> str:
    """The version of the installed package, or that of pyproject.toml if it runs from its source."""
    try:
        return metadata.version("halfminute")
    except metadata.PackageNotFoundError:
        source = Path(__file__).parents[3] / "pyproject.toml"
        return str(tomllib.loads(source.read_text())["project"]["version"])
