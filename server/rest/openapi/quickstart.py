"""Renders the quick start: `quickstart.md`, with the tables that are taken from the code and the settings."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from importlib.resources import files

import msgspec

from server.close_codes import CloseCode
from server.config.settings import Settings
from server.config.timings import timings_of
from server.documents.describe import describe
from server.documents.enumerations import ENUMERATIONS
from server.rest.openapi.page_parts import code, opening, table, words

SOURCE = (files("server.rest.openapi") / "quickstart.md").read_text()


@lru_cache(maxsize=4)  # a server has one; tests run several servers in a process
def quickstart_page(settings: Settings) -> bytes:
    """Return the page with the times of these settings, as UTF-8."""
    heading, _, text = SOURCE.partition("\n")
    body = "".join(_parts(text, settings))
    return f"{opening(heading.removeprefix('# '))}</header><main>{body}</main></body></html>".encode()


def snippets() -> list[str]:
    """Return the program of the quick start, in its parts."""
    return re.findall(r"^```python\n(.*?)^```$", SOURCE, re.DOTALL | re.MULTILINE)


def _parts(text: str, settings: Settings) -> Iterator[str]:
    """The blocks of the text as HTML."""
    times = {"blockSeconds": float(settings.calls.block_seconds)} | msgspec.to_builtins(timings_of(settings))
    for block in re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE):
        if block.startswith("```"):
            yield code(block.partition("\n")[2].removesuffix("```"))
        else:
            yield from (_paragraph(each.strip(), times) for each in block.split("\n\n") if each.strip())


def _paragraph(text: str, times: Mapping[str, float]) -> str:
    if text.startswith("## "):
        return f"<h2>{escape(text[3:])}</h2>"
    if text.startswith("{{"):
        return table("", _rows(text.strip("{}"), times))
    filled = re.sub(r"{(\w+)}", lambda name: f"{times[name[1]]:g}", text)
    return f"<p>{words(filled)}</p>"


def _rows(name: str, times: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """The rows of a table: an enumeration, the close codes, or the times."""
    match name:
        case "close codes":
            for each in CloseCode:
                advice = "Reconnect." if each.reconnect else "Do not reconnect."
                yield f"{each.value}", words(f"{each.cause} {advice}")
        case "times":
            described = ((f"{seconds:g} s", describe(["Timings"], field, {})) for field, seconds in times.items())
            yield from ((value, words(schema["description"])) for value, schema in described)
        case _:
            yield from ((words(f"`{value}`"), words(what)) for value, what in ENUMERATIONS[name].values.items())
