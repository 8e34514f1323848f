"""Lists the places of the server where an exception may start, from its source: tasks, storage calls and rules."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from domain.call.call import Call
from domain.stream.stream import Stream

ROOT = Path(__file__).parent.parent.parent
# Programs of their own, which connect to a server or a terminal and are no part of it.
OTHER_PROGRAMS = (
    "server/loadtest/",
    "server/cli/main.py",
    "server/cli/demo_call.py",
    "server/cli/demo_creators.py",
    "storage/embedded/launcher.py",
    "storage/embedded/cluster.py",
)
# Idle in a server without a broker, as here. Their own tests plant errors in them.
WITH_A_BROKER = ("server/cluster/",)
STARTERS = {"start_soon", "spawn", "_spawn", "start"}  # methods that start a function in a nursery
WRAPPERS = {"keep_running", "keep_started", "run", "spawn", "partial"}  # … around the one that may raise
RULES: tuple[type, ...] = (Call, Stream)


class Seam(NamedTuple):
    """One place: the attribute `name` of a module or class `owner`. `given`: it raises for this input type only."""

    kind: str  # task, storage or rules
    owner: Any
    name: str
    given: str = ""

    def __str__(self) -> str:
        of = self.owner.__name__.rpartition(".")[2]
        return f"{self.kind} {of}.{self.name}" + (f"({self.given})" if self.given else "")


@cache
def trees(layer: str) -> dict[str, ast.Module]:
    """Return the syntax tree of each module of a layer by its path."""
    found = {}
    for path in sorted((ROOT / layer).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith((*OTHER_PROGRAMS, *WITH_A_BROKER)):
            found[place] = ast.parse(path.read_text())
    return found


def module_of(place: str) -> ModuleType:
    return importlib.import_module(place.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))


# Tasks


def task_seams() -> list[Seam]:
    """Return every function that is started in a nursery."""
    found: dict[Seam, None] = {}
    for layer in ("server", "storage"):
        for place, tree in trees(layer).items():
            for name in _started(tree):
                for seam in _owners(place, name):
                    found[seam] = None
    return list(found)


def _started(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STARTERS:
            for argument in node.args:
                if (name := _function_name(argument)) is not None:
                    yield name
                    break


def _function_name(argument: ast.expr) -> str | None:
    """Return the name of the function inside its wrappers, such as `partial`."""
    match argument:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return None if name in WRAPPERS - {"run"} else name
        case ast.Call(args=arguments):
            return next((found for each in arguments if (found := _function_name(each)) is not None), None)
    return None


def _owners(place: str, name: str) -> Iterator[Seam]:
    """Return the owners of coroutine functions of this name: the module, or any class with that method."""
    here = module_of(place)
    if inspect.iscoroutinefunction(vars(here).get(name)):
        yield Seam("task", here, name)
        return
    modules = [here, *(module for module in _modules() if module is not here)]
    for module in modules:
        classes = [each for each in vars(module).values() if inspect.isclass(each)]
        own = [each for each in classes if each.__module__ == module.__name__]
        methods = [each for each in own if inspect.iscoroutinefunction(vars(each).get(name))]
        for each in methods:
            yield Seam("task", each, name)
        if methods and module is here:
            return  # a method of another class in the module, not all methods of that name


@cache
def _modules() -> tuple[ModuleType, ...]:
    return tuple(module_of(place) for layer in ("server", "storage") for place in trees(layer))


# Storage calls


def storage_seams() -> list[Seam]:
    """Return every coroutine function of the storage layer in the server module that calls it."""
    found: dict[Seam, None] = {}
    called = _attributes_called()
    for place, tree in trees("server").items():
        module = module_of(place)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("storage."):
                for alias in node.names:
                    for seam in _storage_seams_of(module, alias.asname or alias.name, called):
                        found[seam] = None
    return list(found)


def _storage_seams_of(module: ModuleType, name: str, called: set[str]) -> Iterator[Seam]:
    imported = vars(module).get(name)
    if inspect.iscoroutinefunction(imported):
        yield Seam("storage", module, name)
    elif inspect.isclass(imported):
        for method, function in vars(imported).items():
            if inspect.iscoroutinefunction(function) and method in called and not method.startswith("_"):
                yield Seam("storage", imported, method)


@cache
def _attributes_called() -> set[str]:
    return {
        node.attr for tree in trees("server").values() for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


# Rules


def rules_seams() -> list[Seam]:
    """Return the input types that each kind of room handles, and the other rules functions that the server calls."""
    found = []
    called = _attributes_called()
    for rules in RULES:
        found += [Seam("rules", rules, "handle", given) for given in _inputs_of(rules)]
        for name, function in vars(rules).items():
            public = name in called and not name.startswith("_") and name != "handle"
            if inspect.isfunction(function) and public:
                found.append(Seam("rules", rules, name))
        found.append(Seam("rules", rules, "__init__"))
    return found


def _inputs_of(rules: type) -> list[str]:
    tree = ast.parse(inspect.getsource(inspect.getmodule(rules) or rules))
    names = {
        node.cls.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.MatchClass)
        and isinstance(node.cls, ast.Attribute)
        and isinstance(node.cls.value, ast.Name)
        and node.cls.value.id == "inputs"
    }
    return sorted(names | {"Elapsed"})
