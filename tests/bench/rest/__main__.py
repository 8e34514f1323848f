"""Measures side by side, in one run and in turn, what a REST request costs: `python -m tests.bench.rest`.

The contestants are halfminute's routes, the two layers below them without halfminute, and two peers that read one row
and book one tip on the same PostgreSQL. All servers share one core and the clients have another; only one server works
at a time. `python -m tests.bench.rest.mixed` measures 200 connections with mixed requests instead.
"""

from pathlib import Path

import cyclopts
import msgspec

from tests.bench.report import save
from tests.bench.rest.measure import Plan, run
from tests.bench.rest.plot import draw
from tests.bench.rest.result import FEW, MANY
from tests.bench.rest.table import show
from tests.load.costs import raise_file_limit

FULL = Plan(rounds=7, turn_seconds=2.0, connections=(FEW, MANY), reads=20_000, install_seconds=300)
QUICK = Plan(rounds=3, turn_seconds=0.35, connections=(FEW,), reads=4_000, install_seconds=60)


def main(
    *,
    quick: bool = False,
    out: Path | None = None,
    rounds: int | None = None,
    turn_seconds: float | None = None,
    connections: str | None = None,
    peers: str | None = None,
) -> None:
    """Send requests to each contestant in turn; print medians, spread and ratios.

    Args:
        quick: 16 connections, fewer rounds and seconds: done within a minute.
        out: A directory for `rest.json` and `rest.svg`.
        rounds: How often each contestant has a turn.
        turn_seconds: How long a turn is.
        connections: The numbers of connections, separated by commas.
        peers: The contestants beside halfminute, separated by commas: hypercorn, quart, express, starlette.
    """
    wanted = {
        "rounds": rounds,
        "turn_seconds": turn_seconds,
        "connections": None if connections is None else tuple(map(int, connections.split(","))),
        "peers": None if peers is None else tuple(peers.split(",")),
    }
    changes = {name: value for name, value in wanted.items() if value is not None}
    raise_file_limit()
    result = run(msgspec.structs.replace(QUICK if quick else FULL, **changes))
    show(result)
    if out is not None:
        save(out, "rest", result, draw(result))


if __name__ == "__main__":
    cyclopts.run(main)
