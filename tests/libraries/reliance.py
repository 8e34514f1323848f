"""Checks that a library still has the interfaces that we rely on and that it does not promise."""

import inspect
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple


class Reliance(NamedTuple):
    """One name of a library, or the public behaviour of one, that a file of ours relies on."""

    owner: Any  # a class or a module of the library
    name: str
    file: str  # ours
    reason: str  # what in `file` relies on it, and what to check there if it changed
    parameters: tuple[str, ...] | None = None  # as `inspect.signature` names them; None for what is not called by us
    source: tuple[str, ...] = ()  # parts of the source of `name`, white space aside


def changes(library: str, read_in: Sequence[str], reliances: Sequence[Reliance]) -> list[str]:
    """Compare the installed library with what was read in it; returns one sentence for each difference.

    `read_in` are release series: "0.12" stands for 0.12 and every 0.12.x. If empty, any release that has the names
    will do, since only tests rely on them.
    """
    installed = version(library)
    found = [change for reliance in reliances if (change := _change(library, installed, reliance)) is not None]
    if read_in and not any(f"{installed}.".startswith(f"{series}.") for series in read_in):
        files = ", ".join(sorted({reliance.file for reliance in reliances}))
        names = ", ".join(f"{_name_of(reliance)}" for reliance in reliances)
        found.append(
            f"{library} {installed} is installed, and {files} was written against {' and '.join(read_in)}: read "
            f"{names} in the new version, and then add it to this test and to the docstring of the file"
        )
    return found


def _name_of(reliance: Reliance) -> str:
    return f"{reliance.owner.__name__}.{reliance.name}"


def _change(library: str, installed: str, reliance: Reliance) -> str | None:
    found = _difference(reliance)
    if found is None:
        return None
    return f"{library} {installed}: {_name_of(reliance)} {found}. {reliance.file} relies on it: {reliance.reason}"


def _difference(reliance: Reliance) -> str | None:
    """What is different about one name, as the rest of a sentence."""
    missing = object()
    value = inspect.getattr_static(reliance.owner, reliance.name, missing)
    if value is missing:
        return "is missing"
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if reliance.parameters is not None:
        parameters = tuple(inspect.signature(value).parameters)
        if parameters != reliance.parameters:
            return f"has the parameters {parameters} instead of {reliance.parameters}"
    if reliance.source:
        source = _without_space(inspect.getsource(value))
        lost = [part for part in reliance.source if _without_space(part) not in source]
        if lost:
            return f"no longer contains {lost[0]!r}"
    return None


def _without_space(text: str) -> str:
    return "".join(text.split())


def taken_names(ours: type, theirs: object, replaced: Sequence[str]) -> list[str]:
    """The names of our subclass that its base has as well, besides the methods that it replaces on purpose.

    `theirs` is an instance of the base class. A name that both use would let one overwrite the other's value.
    """
    named = {name for name in vars(ours) if not name.startswith("__") and name != "_abc_impl"}
    return sorted((named - set(replaced)) & set(dir(theirs)))
