"""A planted bug: an edit that removes a guard from the product, and the test that must fail then."""

from typing import NamedTuple


class Edit(NamedTuple):
    """Replaces the text of a guard, which is in the file exactly once."""

    file: str
    guard: str
    instead: str


class Bug(NamedTuple):
    """One bug and the test that finds it.

    `guard`, `without` and `how` are sentences of the table in planted.md: the guard, the effect of its absence, and
    how the test fails. `shown` is a text in the output of the failing test.
    """

    name: str
    guard: str
    without: str
    edits: tuple[Edit, ...]
    test: str
    shown: str
    how: str
