"""Writes what the SDK takes from the served documents: `python -m server.web.rest_functions`.

`sdk/rest.js` gets the table of operations; the code around it is written by hand. `sdk/rest.d.ts` is written as a
whole: a function for each operation of the OpenAPI document, and a type for each of its schemas and each event of the
AsyncAPI document. With `--check` nothing is written, and the exit code is 1 if a file is not as it would be written.
"""

import re
import sys
from pathlib import Path

import msgspec

from server.config.settings import Settings
from server.gateway.asyncapi.document import asyncapi_json
from server.rest.app import ROUTES
from server.rest.openapi.document import openapi_json
from server.web.typescript import Json, comment, declaration, object_of, reachable, type_of

SDK = Path(__file__).parent / "sdk"
API = "/api"
KEY = {"$ref": "#/components/parameters/Idempotency-Key"}
TABLE = re.compile(r"(?<=const OPERATIONS = `\n)[^`]*(?=`)")
EVENT_MAPS = {"SequencedEvents": "sequenced", "PrivateEvents": "private"}
READY = {"$ref": "#/components/schemas/SessionReady"}  # an answer that the SDK hands on as an event
HEAD = """\
// Written by server/web/rest_functions.py from the OpenAPI and AsyncAPI documents.

/** `key`: the idempotency key of an operation that takes one. The SDK makes one without it, and repeats under it. */
export interface Settings { key?: string }
/** A page of a list. `next` reads the one behind it, and is null after the last. */
export type Paged<T> = T & { next: (() => Promise<Paged<T>>) | null };
"""


class Operation(msgspec.Struct, frozen=True):
    """One operation of the OpenAPI document."""

    method: str
    path: str  # below /api
    described: Json

    @property
    def takes_key(self) -> bool:
        """Whether it has an idempotency key."""
        return KEY in self.described["parameters"]

    @property
    def answers(self) -> Json:
        """The content of its successful response, by media type."""
        content: Json = next(each for status, each in self.described["responses"].items() if status < "300")["content"]
        return content

    @property
    def answer(self) -> Json:
        """The schema of its successful response as JSON; empty if it has none."""
        schema: Json = self.answers.get("application/json", {}).get("schema", {})
        return schema

    @property
    def body(self) -> Json | None:
        """The schema of its body; None without one."""
        return (
            None
            if (wanted := self.described.get("requestBody")) is None
            else wanted["content"]["application/json"]["schema"]
        )


# Operations


def operations(document: Json) -> list[Operation]:
    """The operations that clients call: all below /api but documents, webhooks, pages and deprecated ones."""
    found = (
        Operation(method.upper(), path.removeprefix(API), described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        if path.startswith(f"{API}/") and not described.get("deprecated")
    )
    return [each for each in found if "$ref" in each.answer and _is_for_users(each)]


def _is_for_users(operation: Operation) -> bool:
    return all(group.keys() <= {"bearer", "operator"} for group in operation.described["security"])


def table(document: Json) -> str:
    """A line for each operation: its method, `!` if it takes a key or `-` if it needs no token, and its path."""
    return "".join(f"{each.method}{_mark(each)} {each.path}\n" for each in operations(document))


def _mark(operation: Operation) -> str:
    assert operation.described["security"] or not operation.takes_key, "only a user has keys"
    return "!" if operation.takes_key else "" if operation.described["security"] else "-"


def functions(document: Json) -> str:
    """The declaration of each operation as a function, a line each."""
    return "".join(f"  {_comment(each)}{_function(each)};\n" for each in operations(document))


def _comment(operation: Operation) -> str:
    return comment(f"{operation.method} {operation.path}: {operation.described['summary']}")


def _function(operation: Operation) -> str:
    parameters = [each for each in operation.described["parameters"] if "name" in each]
    required = [each["name"] for each in parameters if each.get("required")]
    parts = [object_of({each["name"]: each["schema"] for each in parameters}, required)] if parameters else []
    parts += [] if operation.body is None else [type_of(operation.body)]
    optional = "" if required or operation.body is not None else "?"
    settings = ", settings?: Settings" if operation.takes_key else ""
    taken = f"input{optional}: {' & '.join(parts) or 'undefined'}{settings}"
    return f"{operation.described['operationId']}({taken}): Promise<{_answer(operation)}>"


def _answer(operation: Operation) -> str:
    name = type_of(operation.answer)
    streamed = " | string" if len(operation.answers) > 1 else ""
    return (f"Paged<{name}>" if name.endswith("Page") else name) + streamed


# Events


def event_map(document: Json, name: str, tag: str) -> str:
    """An interface with the type of each event that has this tag."""
    lines = "".join(f'  "{each["name"]}": {type_of(each["payload"])};\n' for each in _messages(document, tag))
    return f"\nexport interface {name} {{\n{lines}}}\n"


def _messages(document: Json, *tags: str) -> list[Json]:
    refs = [{"$ref": f"#/components/tags/{tag}"} for tag in tags]
    return [each for each in document["components"]["messages"].values() if any(ref in each["tags"] for ref in refs)]


# Files


def declarations(rest: Json, websocket: Json) -> str:
    """The text of rest.d.ts. A schema that both documents have is the same in both, but for its description."""
    ours, theirs = rest["components"]["schemas"], websocket["components"]["schemas"]
    parts = [(each.answer, each.body, each.described["parameters"]) for each in operations(rest)]
    events = [each["payload"] for each in _messages(websocket, *EVENT_MAPS.values())]
    used = {name: theirs[name] for name in reachable(theirs, events, READY)}
    used |= {name: ours[name] for name in reachable(ours, parts)}
    assert all(type_of(used[name]) == type_of(theirs[name]) for name in used.keys() & theirs), "one name, one type"
    maps = "".join(event_map(websocket, name, tag) for name, tag in EVENT_MAPS.items())
    lines = "".join(declaration(name, used[name]) for name in sorted(used))
    return f"{HEAD}\nexport interface Rest {{\n{functions(rest)}}}\n{maps}\n{lines}"


def files() -> dict[Path, str]:
    """The two files with the text that they should have."""
    rest = msgspec.json.decode(openapi_json(ROUTES))
    websocket = msgspec.json.decode(asyncapi_json(Settings(), 0))
    text, count = TABLE.subn(table(rest), (SDK / "rest.js").read_text())
    assert count == 1, "rest.js has one table of operations"
    return {SDK / "rest.js": text, SDK / "rest.d.ts": declarations(rest, websocket)}


def stale() -> dict[Path, str]:
    """The files that are not as they would be written, with the text that they should have."""
    return {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}


def main(arguments: list[str]) -> int:
    """Write the stale files, or with `--check` only name them. Return the exit code."""
    found = stale()
    for path, text in found.items():
        if "--check" in arguments:
            sys.stderr.write(f"{path.name} differs from the documents: run python -m server.web.rest_functions\n")
        else:
            path.write_text(text)
    return int("--check" in arguments and bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
