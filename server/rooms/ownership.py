"""Whether this server still owns one room, as far as it can know without asking the database."""

from typing import Protocol


class Trust(Protocol):
    """This server's lease."""

    @property
    def trusted(self) -> bool: ...

    async def wait_trusted(self) -> None: ...


class Ownership:
    """The epoch of one room. `held`, before anything is handled or published, costs one look at a clock."""

    __slots__ = ("_lease", "epoch", "lost")

    def __init__(self, lease: Trust) -> None:
        self._lease = lease
        self.epoch = 0
        self.lost = False

    def begin(self, epoch: int) -> None:
        """The room was claimed under this epoch."""
        self.epoch = epoch
        self.lost = False

    @property
    def held(self) -> bool:
        return not self.lost and self._lease.trusted

    async def confirm(self) -> bool:
        """Wait until it is known; False if the room has a later epoch."""
        while not self.lost and not self._lease.trusted:
            await self._lease.wait_trusted()
        return not self.lost
