"""Renders the quick start: `quickstart.md`, with the tables that are taken from the code and the settings."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from importlib.resources import files

import msgspec

from server.close_codes import CloseCode
from server.config.settings import Settings
from server.documents.enumerations import ENUMERATIONS
from server.rest.openapi.page_parts import code, opening, table, words

SOURCE = (files("server.rest.openapi") / "quickstart.md").read_text()

# The times of which a client sees the effect, by the names of their settings.
CALL_TIMES = {
    "block_seconds": "A block of active time.",
    "ring_seconds": "Unanswered, a call ends as `missed`.",
    "join_seconds": "After the accept, both parties join, or the call ends as `peer_lost`.",
    "drop_grace_seconds": "The clock runs on for so long, within the paid block, when the fan's connection is lost.",
    "drop_limit_seconds": "A party that is absent for so long ends the call as `peer_lost`.",
    "pause_limit_seconds": "Pauses of one party that add up to so much end the call as `pause_limit`.",
    "payee_end_seconds": "A block of which less was used when the creator ends the call is given back.",
    "storage_grace_seconds": "The clock runs on for so long while the database is out of reach; then hold `storage`.",
    "ring_cooldown_seconds": "The fan waits so long after a declined or missed call to the same creator.",
}
STREAM_TIMES = {
    "drop_grace_seconds": "A viewer's clock runs on for so long, within the paid block, when the connection is lost.",
    "payee_end_seconds": "A block of which less was used when the owner ends the stream is given back.",
    "stream_drop_limit_seconds": "A stream whose owner is absent for so long ends as `owner_lost`.",
    "ticket_release_seconds": "Once it was live for so long, the creator gets the price of its tickets.",
}


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
    times = _numbers(settings.calls) | _numbers(settings.websocket)
    for block in re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE):
        if block.startswith("```"):
            yield code(block.partition("\n")[2].removesuffix("```"))
        else:
            yield from (_paragraph(each.strip(), times, settings) for each in block.split("\n\n") if each.strip())


def _paragraph(text: str, times: Mapping[str, str], settings: Settings) -> str:
    if text.startswith("## "):
        return f"<h2>{escape(text[3:])}</h2>"
    if text.startswith("{{"):
        return table("", _rows(text.strip("{}"), settings))
    filled = re.sub(r"{(\w+)}", lambda name: times[name[1]], text)
    return f"<p>{words(filled)}</p>"


def _rows(name: str, settings: Settings) -> Iterator[tuple[str, str]]:
    """The rows of a table: an enumeration, the close codes, or times."""
    match name:
        case "close codes":
            for each in CloseCode:
                advice = "Reconnect." if each.reconnect else "Do not reconnect."
                yield f"{each.value}", words(f"{each.cause} {advice}")
        case "call times":
            yield from _times(CALL_TIMES, settings.calls)
        case "stream times":
            yield from _times(STREAM_TIMES, settings.streams)
        case _:
            yield from ((words(f"`{value}`"), words(what)) for value, what in ENUMERATIONS[name].values.items())


def _times(meanings: Mapping[str, str], section: msgspec.Struct) -> Iterator[tuple[str, str]]:
    yield from ((f"{getattr(section, name):g} s", words(meaning)) for name, meaning in meanings.items())


def _numbers(section: msgspec.Struct) -> dict[str, str]:
    """The settings of a section that are numbers, as text."""
    values = msgspec.structs.asdict(section)
    return {name: f"{value:g}" for name, value in values.items() if isinstance(value, int | float)}
