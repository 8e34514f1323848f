"""The version that both documents show, and what AsyncAPI writes differently from OpenAPI."""

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


def with_plain_discriminators(value: Any) -> Any:
    """Replace the discriminators of OpenAPI, which are objects, by those of AsyncAPI, the names of their fields."""
    if isinstance(value, list):
        return [with_plain_discriminators(each) for each in value]
    if not isinstance(value, dict):
        return value
    plain = {key: with_plain_discriminators(each) for key, each in value.items()}
    named = plain.get("discriminator", {})
    return {**plain, "discriminator": named["propertyName"]} if "propertyName" in named else plain
