"""The bench still works: one small run of it with calls, and its figures."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from server.loadtest.measures.figures import Spread, spread
from tests.bench.small_run import small_run
from tests.bench.tips.result import TARGETS, Result, during, figures_of, sweeps
from tests.bench.tips.result import Turn as TipTurn


def test_a_small_run_receives_every_tip_beside_calls_and_saves_its_figures(tmp_path: Path) -> None:
    small = ["--calls", "10", "--turn-seconds", "0.3"]
    small_run("tips", tmp_path, *small)
    result = msgspec.json.decode((tmp_path / "tips.json").read_bytes(), type=Result)
    turns = [(turn.fans, turn.beside) for turn in result.turns]
    assert turns == [(1, "nothing"), (16, "nothing"), (1, "calls"), (16, "calls"), (16, "sweep")]
    assert all(turn.tips == turn.round_trip_ms.count > 0 for turn in result.turns)
    assert all(turn.deliveries % (turn.fans + result.viewers) == 0 for turn in result.turns)
    sweep = result.turns[-1]
    assert sweep.blocks >= 10 and sweep.sweep_ms.count > 0 and sweep.block_late_ms.most is not None
    assert result.audit_holds and set(result.figures) == set(TARGETS)
    assert ElementTree.parse(tmp_path / "tips.svg").getroot().tag.endswith("svg")


def test_a_sweep_lasts_from_the_first_due_to_the_last_booked() -> None:
    first = [(10.0, 10.1), (10.2, 10.9), (10.1, 10.3)]
    assert sweeps([*first, (40.0, 40.1), (25.0, 25.1)], crowded=3) == [(10.0, 10.9)]
    assert sweeps([(at / 3, at / 3) for at in range(6)], crowded=6) == [(0.0, 5 / 3)]
    assert sweeps([], crowded=1) == []


def test_only_tips_that_were_under_way_during_a_sweep_are_of_it() -> None:
    trips = [(9.9, 5.0), (9.9, 150.0), (10.8, 9.0), (10.9, 11.0)]
    assert during(trips, [(10.0, 10.9)]) == spread([150.0, 9.0])
    assert during(trips, []) == Spread(0)


def test_the_figures_are_those_of_sixteen_fans_alone_and_of_the_latest_block() -> None:
    beside = [turn(1, "calls", 40, late=[5.0, 80.0]), turn(16, "calls", 30), turn(16, "sweep", 30, late=[300.0])]
    turns = [turn(1, "nothing", 10), turn(16, "nothing", 20), *beside]
    assert figures_of(turns) == {
        "tips_per_second_16": 20,
        "p50_ms_16": 20,
        "p99_ms_16": 20,
        "block_late_ms": 80.0,
        "sweep_late_ms": 300.0,
    }
    assert set(figures_of([]).values()) == {None}


@pytest.mark.parametrize(("name", "kept", "missed"), [("tips_per_second_16", 1710, 1709), ("block_late_ms", 250, 251)])
def test_a_target_that_is_missed_does_not_hold(name: str, kept: float, missed: float) -> None:
    assert TARGETS[name].holds(kept) and not TARGETS[name].holds(missed)


def turn(fans: int, beside: str, figure: float, late: list[float] | None = None) -> TipTurn:
    counts = {"calls": 0, "tips": 1, "deliveries": 1, "blocks": 0}
    shares = ("server_us", "server_cpu_percent", "kept_waiting", "postgres_cpu_percent", "client_cpu_percent", "load")
    fields = {
        "fans": fans,
        "beside": beside,
        "seconds": 1,
        "tips_per_second": figure,
        "round_trip_ms": spread([figure]),
        "sweep_ms": spread([]),
        "block_late_ms": spread(late or []),
        **counts,
        **dict.fromkeys(shares, 0.0),
    }
    return msgspec.convert(fields, TipTurn, from_attributes=True)
