"""Whether this server still owns a room, as far as it can know without asking the database."""

from typing import Protocol


class Trust(Protocol):
    """The part of this server's lease that rooms need."""

    @property
    def trusted(self) -> bool:
        """Whether no other server can have claimed rooms of this one."""
        ...

    async def wait_trusted(self) -> None:
        """Wait until the lease can be trusted again."""
        ...


class Ownership:
    """The epoch of one room, and whether it is still the latest.

    The room's task reads `held` before it handles or publishes anything; it costs one reading of a clock.
    """

    __slots__ = ("_lease", "epoch", "lost")

    def __init__(self, lease: Trust) -> None:
        self._lease = lease
        self.epoch = 0
        self.lost = False

    def begin(self, epoch: int) -> None:
        """Note that the room was claimed under this epoch."""
        self.epoch = epoch
        self.lost = False

    @property
    def held(self) -> bool:
        """Whether this server certainly owns the room now."""
        return not self.lost and self._lease.trusted

    async def confirm(self) -> bool:
        """Wait until the ownership is certain; False if the room has a later epoch."""
        while not self.lost and not self._lease.trusted:
            await self._lease.wait_trusted()
        return not self.lost
