"""A bug to be planted: the text of a guard, what stands there instead, and the test that finds it missing."""

from typing import NamedTuple


class Edit(NamedTuple):
    """The text of a guard, which is in the file exactly once, and what stands there instead."""

    file: str
    guard: str
    instead: str


class Bug(NamedTuple):
    """A guard, and how its absence shows; `shown` is in the output of the test that fails."""

    name: str
    guard: str
    without: str
    edits: tuple[Edit, ...]
    test: str
    shown: str
    how: str
