"""Who asked that every due block of a room be booked, and waits for the answer (CONTRACT §6)."""

from collections.abc import Callable
from typing import Any

from domain.room.effects import Answer, Effect
from domain.room.inputs import Reply


class Sweeps:
    """Each sweep is answered once the blocks that it made fall due have their receipts."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Reply, range]] = []  # who waits, and for which blocks

    def add(self, reply: Reply, due: range) -> None:
        self._waiting.append((reply, due))

    def answer(self, committed: int, line: Callable[[int], dict[str, Any]]) -> list[Effect]:
        """`line` makes the answer of the number of blocks that were booked because of the sweep."""
        waiting, self._waiting = self._waiting, []
        return [Answer(reply, line(sum(block_no <= committed for block_no in due))) for reply, due in waiting]
