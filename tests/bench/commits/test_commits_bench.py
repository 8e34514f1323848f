"""The bench still works: one small round of it, and its figures."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from tests.bench.commits.result import BATCHED, TARGETS, Result, result_of
from tests.bench.disk import Fsync
from tests.bench.small_run import small_run
from tests.bench.turn import Turn

ALWAYS_THERE = {"rooms", "rooms_hot", "copy", "copy_update", "lone", "insert", "asyncpg_c10"}


def test_a_small_round_posts_everything_and_saves_its_figures(tmp_path: Path) -> None:
    small = ["--rounds", "1", "--journal-rows", "10000", "--turn-seconds", "0.1", "--peers", "asyncpg"]
    small_run("commits", tmp_path, *small)
    result = msgspec.json.decode((tmp_path / "commits.json").read_bytes(), type=Result)
    assert {turn.contestant for turn in result.runs} >= ALWAYS_THERE
    assert all(turn.postings > 0 and turn.seconds > 0 for turn in result.runs)
    assert set(result.ratios) == set(TARGETS)
    assert result.batch_p99_ms > 0 and result.fsync.p99_ms > 0
    assert ElementTree.parse(tmp_path / "commits.svg").getroot().tag.endswith("svg")


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    speeds = {"rooms": (100, 10, 40), "copy": (200, 40, 40)}
    turns = [turn(name, round_no, speeds[name][round_no]) for round_no in range(3) for name in speeds]
    turns += [turn(name, 0, 10) for name in BATCHED[1:]]
    result = result_of(turns, Fsync(1, 2), 10, 2, [])
    assert result.ratios["vs_copy"] == 0.5
    assert result.ratio_spreads["vs_copy"] == (0.25, 0.5, 1.0)
    assert result.ratios["vs_node_c10"] is None


@pytest.mark.parametrize(("name", "value"), [("vs_copy", 0.44), ("lone_vs_insert", 1.6)])
def test_a_target_that_is_missed_does_not_hold(name: str, value: float) -> None:
    assert not TARGETS[name].holds(value)


def turn(name: str, round_no: int, per_second: float) -> Turn:
    return Turn(contestant=name, postings=int(per_second), seconds=1, p50_ms=1, p99_ms=2, client_us=1, round=round_no)
