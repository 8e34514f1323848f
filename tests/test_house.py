"""The house itself: who may know whom. Rules look down, and the world comes in through few doors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("domain", "storage", "server")
# What each floor may import of the other floors.
BELOW = {"domain": set[str](), "storage": {"domain"}, "server": {"domain", "storage"}}
# Who alone may know a library.
DOORS = {
    "asyncpg": {"storage/postgres.py"},
    "trio_asyncio": {"storage/postgres.py"},
    "asyncio": {"storage/postgres.py"},
    # The second and the third as clients.
    "trio_websocket": {"server/gateway/connection.py", "server/cli/demo_call.py", "server/loadtest/client/client.py"},
    "quart": {"server/rest/"},
    "quart_trio": {"server/rest/"},
    "hypercorn": {"server/rest/"},
}
# The rules are pure: of the world outside they know the standard library's values, and msgspec.
RULES_MAY_KNOW = {
    "collections",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "msgspec",
    "typing",
    "heapq",
    "unicodedata",
    "uuid",
}


def modules(floor: str) -> Iterator[Path]:
    yield from sorted((ROOT / floor).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The top-level names of everything that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_knows_only_the_floors_below(floor: str) -> None:
    above = set(FLOORS) - BELOW[floor] - {floor}
    assert {str(path): imports(path) & above for path in modules(floor) if imports(path) & above} == {}


def test_the_rules_know_no_world() -> None:
    strangers = {path.name: imports(path) - RULES_MAY_KNOW - {"domain"} for path in modules("domain")}
    assert {name: found for name, found in strangers.items() if found} == {}


@pytest.mark.parametrize("library", DOORS)
def test_a_library_comes_in_through_its_own_door(library: str) -> None:
    for floor in FLOORS:
        for path in modules(floor):
            place = path.relative_to(ROOT).as_posix()
            if library in imports(path):
                assert any(place.startswith(door) for door in DOORS[library]), f"{place} imports {library}"


def test_only_who_answers_for_others_catches_everything() -> None:
    allowed = {  # others use server/observability/faults.py
        "server/rooms/supervisor.py",
        "server/cli/main.py",
        "server/rest/background_tasks.py",
        "server/observability/logs.py",
        "server/observability/redaction.py",
    }
    everything = {"Exception", "BaseException"}
    allowed.add("storage/unhandled.py")
    for floor in FLOORS:
        for path in modules(floor):
            place = path.relative_to(ROOT).as_posix()
            broad = [
                node.lineno
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ExceptHandler)
                and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in everything))
                and not isinstance(node.body[-1], ast.Raise)  # what is raised again is not caught
            ]
            assert not broad or place in allowed, f"{place} catches everything in lines {broad}"


def test_no_answer_is_of_the_kind_that_quart_iterates_over_in_asyncio() -> None:
    """`Response` and what makes one: only what quart_trio makes of them runs under trio."""
    makers = {"Response", "make_response", "jsonify", "redirect", "send_file", "send_from_directory", "stream_template"}
    for path in modules("server"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "quart":
                named = {alias.name for alias in node.names}
                assert node.module == "quart" and not named & makers, f"{path}: {named} from {node.module}"
