"""A bus in memory: what one end publishes, the others receive at once."""

from server.cluster.bus import Handler


class MemoryBus:
    """The end of one server. `others` are the ends of the other servers, and `is_connected` cuts this one off."""

    def __init__(self) -> None:
        self.others: list[MemoryBus] = []
        self.is_connected = True
        self._handlers: dict[str, Handler] = {}

    def subscribe(self, subject: str, handle: Handler) -> None:
        self._handlers[subject] = handle

    def publish(self, subject: str, message: bytes) -> bool:
        if self.is_connected:
            for other in self.others:
                other.receive(subject, message)
        return self.is_connected

    def receive(self, subject: str, message: bytes) -> None:
        if self.is_connected and subject in self._handlers:
            self._handlers[subject](message)

    async def run(self) -> None:
        """Do nothing: the bus needs no task."""


def connected_buses(count: int) -> list[MemoryBus]:
    buses = [MemoryBus() for _ in range(count)]
    for bus in buses:
        bus.others = [other for other in buses if other is not bus]
    return buses
