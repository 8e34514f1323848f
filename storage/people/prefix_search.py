"""The SQL of a search by the beginning of a text, without regard to case."""

from typing import Any


def begins_with(column: str, beginning: str, args: list[Any]) -> str:
    """Return a condition that `column` begins with a text, which is added to `args`.

    It is a range of an index on `lower(column) text_pattern_ops`. Two bounds instead of LIKE, which uses the index only
    where the planner knows the pattern. No text is higher than the second bound and begins with the first, since its
    last character is the highest of Unicode.
    """
    args.append(beginning)
    lowest = f"lower(${len(args)}::text)"
    return f"lower({column}) ~>=~ {lowest} AND lower({column}) ~<~ ({lowest} || chr(1114111))"
