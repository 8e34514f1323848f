"""Parts that the AsyncAPI and the OpenAPI document share: the version, and the format of time fields."""

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


def mark_times(components: Json) -> None:
    """Give `format: date-time` to the time fields, which are known by their names; in structs they are plain text."""
    for component in components.values():
        for name, schema in component.get("properties", {}).items():
            if name.endswith("At") or name in ("at", "paidThrough"):
                _mark_time(schema)


def _mark_time(schema: Json) -> None:
    for choice in schema.get("anyOf", [schema]):
        if choice.get("type") == "string":
            choice["format"] = "date-time"
