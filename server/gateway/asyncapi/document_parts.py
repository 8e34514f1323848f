"""What the documents that we serve of ourselves share: the version, and times that say that they are times."""

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def version() -> str:
    """This project's: as installed, or as its own source says where it runs from there."""
    try:
        return metadata.version("halfminute")
    except metadata.PackageNotFoundError:
        source = Path(__file__).parents[3] / "pyproject.toml"
        return str(tomllib.loads(source.read_text())["project"]["version"])


def mark_times(components: Json) -> None:
    """Fields that hold a moment, by their names: in structs they are text, as they are sent."""
    for component in components.values():
        for name, schema in component.get("properties", {}).items():
            if name.endswith("At") or name in ("at", "paidThrough"):
                _mark_time(schema)


def _mark_time(schema: Json) -> None:
    for choice in schema.get("anyOf", [schema]):
        if choice.get("type") == "string":
            choice["format"] = "date-time"
