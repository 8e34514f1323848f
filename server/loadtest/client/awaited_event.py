"""An event that a task of the client waits for: the answer to a command, or the next event of a type."""

from typing import Any

import trio


class AwaitedEvent:
    """One event that a task waits for: its type and fields, and the event itself once it has arrived.

    `over` is set when it has arrived or the connection has ended; `event` is then None if it has not arrived.
    """

    __slots__ = ("event", "fields", "kind", "over")

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        self.kind = kind
        self.fields = fields
        self.event: dict[str, Any] | None = None
        self.over = trio.Event()

    def is_met_by(self, event: dict[str, Any]) -> bool:
        """Whether an event has the awaited type and all of the awaited fields."""
        return event["type"] == self.kind and all(event.get(name) == value for name, value in self.fields.items())

    def meet(self, event: dict[str, Any]) -> None:
        """Hand over the event, and wake the task that waits."""
        self.event = event
        self.over.set()
