"""A resource that a client can hold."""

from typing import NamedTuple


class Resource(NamedTuple):
    """A resource with its bound: a setting, as section.key, or a constant, as module:NAME."""

    name: str
    bound: str
    counted_by: str  # the file that counts it
    test: str  # the node id of the test that reaches the bound
