"""A lease for rooms that are measured without a database."""


class Trusted:
    """A lease that never lapses."""

    trusted = True

    async def wait_trusted(self) -> None: ...
