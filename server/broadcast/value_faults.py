"""The rules that every value from a client must meet, in JSON and in MessagePack, in any field.

A fault is a pair of the field's path (`data.x[0]`) and the reason. Both are cut at MAX_FAULT_CHARACTERS, and at most
MAX_FAULTS are collected, so that the answer to a bad value is bounded however large the value is.
"""

import math
from typing import Any, NamedTuple

Fault = tuple[str, str]

MAX_DEPTH = 32  # our messages have at most four levels; recursion through a value must not exhaust the stack
MAX_FAULTS = 20  # contract.md, Errors
MAX_FAULT_CHARACTERS = 200  # contract.md, Errors
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1  # what PostgreSQL and most clients can hold
INTEGERS = range(INT64_MIN, INT64_MAX + 1)

TOO_DEEP = f"is nested more than {MAX_DEPTH} deep"
TWICE = "is given twice"
PAST_64_BITS = "is an integer past 64 bits"
NO_NUMBER = "is not a finite number"
HALF_SURROGATE = "contains half a surrogate pair"
HAS_NUL = "must not contain the character U+0000"
NO_TEXT_KEY = "has a key that is not text"
EXTENSION = "is a MessagePack extension type"


class Undecodable(Exception):
    """The bytes are not JSON, or not MessagePack, at all."""


class Reading(NamedTuple):
    """A decoded value and its faults. A value with faults is used only to find the `ref` for the refusal."""

    value: Any
    faults: list[Fault]


def cut(text: str) -> str:
    """Shorten a text to MAX_FAULT_CHARACTERS, and replace characters that UTF-8 cannot encode (lone surrogates)."""
    short = text if len(text) <= MAX_FAULT_CHARACTERS else text[: MAX_FAULT_CHARACTERS - 1] + "…"
    return short.encode(errors="replace").decode()


def value_faults(value: Any, root: str, *, nul_is_fault: bool) -> list[Fault]:
    """The faults of a decoded value that is at most MAX_DEPTH deep, in time linear in its size.

    `root` is the field name of faults that belong to the value as a whole. At most MAX_FAULTS are returned, without
    duplicates. With `nul_is_fault` a string with U+0000 is a fault.
    Does not see duplicate keys, which the decoded value has lost; the readers note them.
    """
    walk = _Walk(root, nul_is_fault)
    walk.check(value, None)
    return walk.faults


class _Path(NamedTuple):
    """The path of a value as a chain to the root; it is written as text only for a fault."""

    outer: "_Path | None"
    key: str | int


class _Walk:
    """One pass over a value, in which the faults are collected."""

    def __init__(self, root: str, nul_is_fault: bool) -> None:
        self._root = root
        self._nul_is_fault = nul_is_fault
        self.faults: list[Fault] = []

    def check(self, value: Any, path: _Path | None) -> None:
        """Note the faults of a value and of everything in it; `path` is None for the outermost value."""
        kind = type(value)
        if kind is dict:
            for key, inner in value.items():
                if (reason := self._text_fault(key)) is not None:
                    self._note(self._root, reason)
                self._check_inner(inner, path, key)
        elif kind is list:
            for i, inner in enumerate(value):
                self._check_inner(inner, path, i)
        elif (reason := self._leaf_fault(value)) is not None:
            self._note(self._root if path is None else _written(path), reason)

    def _check_inner(self, value: Any, path: _Path | None, key: str | int) -> None:
        if len(self.faults) >= MAX_FAULTS:
            return
        if type(value) is dict or type(value) is list:
            self.check(value, _Path(path, key))
        elif (reason := self._leaf_fault(value)) is not None:
            self._note(_written(_Path(path, key)), reason)

    def _leaf_fault(self, value: Any) -> str | None:
        kind = type(value)
        if kind is str:
            return self._text_fault(value)
        if kind is int and value not in INTEGERS:
            return PAST_64_BITS
        if kind is float and not math.isfinite(value):
            return NO_NUMBER
        return None

    def _text_fault(self, text: str) -> str | None:
        if self._nul_is_fault and "\0" in text:
            return HAS_NUL
        return None if text.isascii() or _is_unicode(text) else HALF_SURROGATE

    def _note(self, field: str, reason: str) -> None:
        fault = (cut(field), reason)
        if len(self.faults) < MAX_FAULTS and fault not in self.faults:
            self.faults.append(fault)


def _written(path: _Path) -> str:
    """The path as text, such as `data.x[0].y`."""
    keys: list[str | int] = []
    at: _Path | None = path
    while at is not None:
        keys.append(at.key if isinstance(at.key, int) else at.key[:MAX_FAULT_CHARACTERS])
        at = at.outer
    keys.reverse()
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can encode the text; a text with an unpaired surrogate, which JSON can escape, cannot be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
