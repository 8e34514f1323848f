"""Imports point downwards: between the layers, between the packages of each, and to third-party libraries."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style import circles, upward_imports

ROOT = Path(__file__).parent.parent
LAYERS = ("domain", "storage", "server")
# The other layers that each layer may import.
BELOW = {"domain": set[str](), "storage": {"domain"}, "server": {"domain", "storage"}}
# The only files that import a library.
HOMES = {
    "asyncpg": {"storage/postgres.py", "storage/connections/"},
    "trio_asyncio": {"storage/connections/asyncio_loop.py"},
    "asyncio": {"storage/connections/"},
    # demo_call.py and client.py as clients.
    "trio_websocket": {"server/gateway/", "server/cli/demo_call.py", "server/loadtest/client/client.py"},
    "wsproto": {"server/gateway/"},
    "stripe": {"server/money/payments/stripe.py", "server/money/payments/service.py"},
    "quart": {"server/rest/"},
    "quart_trio": {"server/rest/"},
    "hypercorn": {"server/rest/http/"},
}
# The rules are pure: they import values of the standard library, and msgspec.
RULES_MAY_IMPORT = {
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


def modules(layer: str) -> Iterator[Path]:
    yield from sorted((ROOT / layer).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """The top-level names of everything that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_the_layers_below(layer: str) -> None:
    above = set(LAYERS) - BELOW[layer] - {layer}
    assert {str(path): imports(path) & above for path in modules(layer) if imports(path) & above} == {}


def test_packages_import_downwards_in_the_order_of_their_list() -> None:
    assert upward_imports() == []


def test_no_module_imports_itself_through_others() -> None:
    assert circles() == []


def test_the_rules_import_values_only() -> None:
    others = {path.name: imports(path) - RULES_MAY_IMPORT - {"domain"} for path in modules("domain")}
    assert {name: found for name, found in others.items() if found} == {}


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_own_home(library: str) -> None:
    for layer in LAYERS:
        for path in modules(layer):
            place = path.relative_to(ROOT).as_posix()
            if library in imports(path):
                assert any(place.startswith(home) for home in HOMES[library]), f"{place} imports {library}"


def test_only_supervisors_catch_everything() -> None:
    allowed = {  # others use server/observability/faults.py
        "server/rooms/supervisor.py",
        "server/cli/main.py",
        "server/rest/background_tasks.py",
        "server/observability/logs.py",
        "server/observability/redaction.py",
    }
    everything = {"Exception", "BaseException"}
    # Nobody waits for what the first three catch; the pool hands an error to the task that waits, which raises it.
    caught_in = ("unhandled", "asyncio_loop", "trio_connection", "pool")
    allowed |= {f"storage/connections/{name}.py" for name in caught_in}
    for layer in LAYERS:
        for path in modules(layer):
            place = path.relative_to(ROOT).as_posix()
            broad = [
                node.lineno
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ExceptHandler)
                and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in everything))
                and not isinstance(node.body[-1], ast.Raise)  # a handler that raises again catches nothing
            ]
            assert not broad or place in allowed, f"{place} catches everything in lines {broad}"


def test_no_answer_is_of_the_kind_that_quart_iterates_over_in_asyncio() -> None:
    """`Response` and what makes one: only what quart_trio makes of them runs under trio."""
    makers = {"Response", "make_response", "jsonify", "redirect", "send_file", "send_from_directory", "stream_template"}
    for path in modules("server"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "quart":
                named = {alias.name for alias in node.names}
                parts = ("quart", "quart.sessions", "quart.utils")
                assert node.module in parts and not named & makers, f"{path}: {named} from {node.module}"
