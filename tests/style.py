"""Measures how the code is cut and worded: `python -m tests.style` prints a table, and fails on what must not be.

It counts files a package, lines a file and a function body, the share of docstrings and comments, public functions
without a docstring, layers of imports, circles among modules, and words that the project has replaced.
"""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LAYERS = ("domain", "storage", "server")
LINES_MAX = 350  # of a module, of the tests as well; a longer one usually holds a second noun
FILES_MAX = 12  # of a package of the product, its `__init__.py` included; tests of one package may be more
LISTS = ("server/rest/routes",)  # a file a noun, as many as there are nouns
# Packages and single modules from the top down: each may import what stands below it in its layer.
ORDER = (
    "server.cli",
    "server.demo.seed",
    "server.app",
    "server.web.rest_functions",
    "server.loadtest.command",
    "server.loadtest.report",
    "server.loadtest",
    "server.loadtest.client",
    "server.loadtest.measures",
    "server.rest.app",
    "server.rest.routes",
    "server.rest.openapi",
    "server.rest",
    "server.rest.http",
    "server.gateway.asyncapi",
    "server.gateway",
    "server.maintenance",
    "server.context",
    "server.changes",
    "server.sessions",
    "server.rooms.leases",
    "server.rooms.kinds",
    "server.rooms",
    "server.rooms.inbox",
    "server.money",
    "server.money.payments",
    "server.broadcast",
    "server.cluster",
    "server.demo",
    "server.access",
    "server.clock",
    "server.observability",
    "server.config",
    "server.documents",
    "server.problems",
    "server.close_codes",
    "server.web",
    "server.ids",
    "server.addresses",
    "storage.rooms",
    "storage.accounting",
    "storage.market",
    "storage.people",
    "storage.ledger",
    "storage.embedded",
    "storage",
    "storage.connections",
    "storage.sqlstates",
    "storage.database_errors",
    "domain.call",
    "domain.stream",
    "domain.room",
    "domain.billing",
    "domain.protocol",
    "domain",
)

# Metaphors that the project has replaced by the field's terms: parts of identifiers, and pairs of them.
OLD_WORDS = frozenset(
    {
        *("house", "houses", "floors", "visitor", "visitors", "errand", "errands", "housekeeping", "desk"),
        *("stage", "stay", "stays", "door", "doors", "books", "agenda", "alarm", "seat", "seats", "attendance"),
        *("elders", "town", "towns", "crowd", "crowds", "news", "take_up", "put_out", "give_up"),
    }
)


class Source(NamedTuple):
    """A module: its dotted name, where it is, its text and its syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module


class Figures(NamedTuple):
    """The printed figures of one layer. Lines are median, 90th percentile and maximum."""

    files: int
    largest_package: tuple[str, int]
    file_lines: tuple[int, int, int]
    function_lines: tuple[int, int, int]
    prose_share: float  # of lines, those that are docstring or comment
    undocumented: int  # public functions and methods without a docstring
    import_layers: int


@cache
def sources() -> dict[str, Source]:
    """All modules of the product by dotted name, with their source."""
    found = {}
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text()
            found[name] = Source(name, path, text, ast.parse(text))
    return found


@cache
def imports() -> dict[str, set[str]]:
    """The modules of the product that each of them imports."""
    known = sources()
    found: dict[str, set[str]] = {}
    for name, source in known.items():
        named: set[str] = set()
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                named |= {module if module in known else node.module for module in full.values()}
            elif isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
        found[name] = (named & known.keys()) - {name}
    return found


def rank(name: str) -> int:
    """The place of a module in ORDER: that of its longest prefix there."""
    places = [each for each in ORDER if name == each or name.startswith(f"{each}.")]
    return ORDER.index(max(places, key=len)) if places else -1  # `server` itself stands above all


def upward_imports() -> list[str]:
    """Imports against ORDER."""
    return [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in sorted(others)
        if rank(other) < rank(name)
    ]


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or through others."""
    left = {name: set(others) for name, others in imports().items()}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    return [sorted(left)] if left else []


def import_layers(layer: str) -> int:
    """How many steps the longest chain of imports has within a layer."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 0  # while it is looked at: circles are reported elsewhere
            below = [other for other in imports()[name] if other.split(".")[0] == layer]
            depths[name] = 1 + max(map(depth, below), default=0)
        return depths[name]

    return max(depth(name) for name in sources() if name.split(".")[0] == layer)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def modules() -> list[Path]:
    """The files of all modules of the product and the tests."""
    return sorted(path for top in (*LAYERS, "tests") for path in (ROOT / top).rglob("*.py"))


def old_words() -> list[str]:
    """Identifiers of the product and the tests that hold a word of OLD_WORDS, with where they stand."""
    found = set()
    for path in modules():
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.NAME and OLD_WORDS & set(_words(token.string)):
                found.add(f"{path.relative_to(ROOT)}: {token.string}")
    return sorted(found)


def _words(identifier: str) -> list[str]:
    """The words of an identifier in lower case, and each pair that follows one another."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", identifier)]
    return words + ["_".join(pair) for pair in pairwise(words)]


def long_modules() -> list[str]:
    """Modules of the product and the tests with more lines than LINES_MAX."""
    counts = {path: len(path.read_text().splitlines()) for path in modules()}
    return [f"{path.relative_to(ROOT)} has {lines} lines" for path, lines in counts.items() if lines > LINES_MAX]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    begun = function.body[0].lineno
    if ast.get_docstring(function) is not None:
        begun = function.body[1].lineno if len(function.body) > 1 else (function.end_lineno or begun) + 1
    return (function.end_lineno or begun) - begun + 1


def prose_lines(source: Source) -> int:
    """Lines that are docstring or comment; a comment behind code counts as its line."""
    lines: set[int] = set()
    for node in ast.walk(source.tree):
        holds = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if holds and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            text = node.body[0]  # type: ignore[attr-defined]
            lines |= set(range(text.lineno, text.end_lineno + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source.text).readline)
    return len(lines | {token.start[0] for token in tokens if token.type == tokenize.COMMENT})


def undocumented(source: Source) -> list[str]:
    """Public functions and methods without a docstring; protocols and properties of one line are exempt."""
    found = []
    for node in functions(source.tree):
        is_short = (node.end_lineno or node.lineno) - node.body[0].lineno < 2
        if not node.name.startswith("_") and ast.get_docstring(node) is None and not is_short:
            found.append(f"{source.name}.{node.name}")
    return found


def spread(values: Iterable[int]) -> tuple[int, int, int]:
    """Median, 90th percentile and maximum."""
    known = sorted(values)
    return round(median(known)), round(quantiles(known, n=10)[-1]), known[-1]


def figures(layer: str) -> Figures:
    """All that is printed of one layer."""
    ours = [source for name, source in sources().items() if name.split(".")[0] == layer]
    packages = Counter(source.path.parent.relative_to(ROOT).as_posix() for source in ours)
    for listing in LISTS:
        packages.pop(listing, None)
    lines = [len(source.text.splitlines()) for source in ours]
    bodies = [body_lines(node) for source in ours for node in functions(source.tree)]
    return Figures(
        len(ours),
        packages.most_common(1)[0],
        spread(lines),
        spread(bodies),
        sum(map(prose_lines, ours)) / sum(lines),
        sum(len(undocumented(source)) for source in ours),
        import_layers(layer),
    )


def faults() -> list[str]:
    """All that makes a build fail, a line each."""
    found = [f"upwards: {each}" for each in upward_imports()]
    found += [f"circle: {', '.join(circle)}" for circle in circles()]
    found += [f"old word: {each}" for each in old_words()]
    found += [f"too long: {each}" for each in long_modules()]
    packages = Counter(source.path.parent.relative_to(ROOT).as_posix() for source in sources().values())
    found += [
        f"too many: {package} has {files} files"
        for package, files in packages.items()
        if files > FILES_MAX and package not in LISTS
    ]
    return found


def table() -> str:
    """All layers side by side, as Markdown."""
    rows = ["| layer | files | largest package | file lines | function lines | prose | undocumented | import layers |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for layer in LAYERS:
        each = figures(layer)
        package, files = each.largest_package
        rows.append(
            f"| {layer} | {each.files} | {package}: {files} | {'/'.join(map(str, each.file_lines))} | "
            f"{'/'.join(map(str, each.function_lines))} | {each.prose_share:.0%} | {each.undocumented} | "
            f"{each.import_layers} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
    for fault in faults():
        print(fault)
    sys.exit(bool(faults()))
