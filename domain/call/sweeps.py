"""Requests of the billing sweep, which wait until each due block is booked (contract.md, The billing sweep)."""

from collections.abc import Callable
from typing import Any

from domain.room.effects import Answer, Effect
from domain.room.inputs import Reply


class Sweeps:
    """Answers each request once the blocks that fell due with it have their receipts."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Reply, range]] = []  # the reply, and the block numbers that it waits for

    def add(self, reply: Reply, due: range) -> None:
        """Let `reply` wait for these block numbers."""
        self._waiting.append((reply, due))

    def answer(self, committed: int, line: Callable[[int], dict[str, Any]]) -> list[Effect]:
        """Answer all that wait. `committed` is the number of the last committed block.

        `line(n)` builds the answer of a request because of which n blocks were booked.
        """
        waiting, self._waiting = self._waiting, []
        return [Answer(reply, line(sum(block_no <= committed for block_no in due))) for reply, due in waiting]
