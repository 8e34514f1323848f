"""The report of a fault run: each fault with its bound, and the uptime of the honest clients."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tests.fault_run.honest_clients import HonestClient
from tests.fault_run.kinds import Fault

LATE_SECONDS = 1.0  # from its due time on; a later block counts as late


class Outcome(NamedTuple):
    """One fault of the run."""

    fault: Fault
    seconds: float  # the length of the fault
    recovered_seconds: float  # from its end to a further block of every honest payer


class Uptime(NamedTuple):
    """The blocks that fell due for honest clients: how many were received, and how many of these late."""

    due: int
    received: int
    late: int

    @classmethod
    def of(cls, payers: Iterable[HonestClient], booked: int, block_seconds: float) -> "Uptime":
        received = [payer.blocks() for payer in payers]
        late = sum(
            after - before > block_seconds + LATE_SECONDS
            for blocks in received
            for (_, before), (_, after) in pairwise(blocks)
        )
        return cls(booked, sum(map(len, received)), late)


def print_report(seed: int, outcomes: Sequence[Outcome], uptime: Uptime, resident_mib: float) -> None:
    print(f"seed {seed}")
    print("fault                lasted s   back after s   bound s   why")
    for each in outcomes:
        name, bound, why = each.fault.name, each.fault.bound_seconds, each.fault.why
        print(f"{name:20} {each.seconds:8.1f} {each.recovered_seconds:14.1f} {bound:9.1f}   {why}")
    share = uptime.received / uptime.due if uptime.due else 1.0
    print(
        f"honest users: {uptime.due} blocks booked, {uptime.received} received ({share:.2%}), {uptime.late} late;"
        f" {resident_mib:.0f} MiB resident"
    )
