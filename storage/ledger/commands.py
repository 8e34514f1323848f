"""Commands of the storage actor: what waits in its mailbox, with the callback that takes the receipts."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from domain.billing.posting import Posting, Receipt

Deliver: TypeAlias = Callable[[list[Receipt]], None]


class Command:
    """Postings of one caller, which are booked in one batch, and the callback that takes their receipts."""

    __slots__ = ("deliver", "postings")

    def __init__(self, postings: Sequence[Posting], deliver: Deliver) -> None:
        self.postings = postings
        self.deliver = deliver


class StatementCommand(Command):
    """A statement that selects its postings itself and runs alone: a refund, or the release of a stream's tickets."""

    __slots__ = ("arguments", "figures", "name", "sql")

    def __init__(self, name: str, sql: str, arguments: tuple[Any, ...], deliver: Deliver) -> None:
        super().__init__((), deliver)
        self.name = name
        self.sql = sql
        self.arguments = arguments
        self.figures: Sequence[int | None] = ()  # the last columns of its row, which describe no posting
