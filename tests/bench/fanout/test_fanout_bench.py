"""The bench still works: one small round of halfminute and of the C loop gives all figures."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from tests.bench.fanout.ours import EVENT_BYTES, HEAD_BYTES
from tests.bench.fanout.result import TARGETS, Result, Turn, result_of
from tests.bench.small_run import small_run

MEMBERS = 100


@pytest.mark.skipif(not (shutil.which("cc") or shutil.which("gcc")), reason="no C compiler to build its programs")
def test_a_small_round_reaches_every_member_and_saves_its_figures(tmp_path: Path) -> None:
    small = ["--rounds", "1", "--members", str(MEMBERS), "--turn-seconds", "0.05", "--peers", "ours,mixed,c"]
    small += ["--sessions", "50", "--rooms", "100", "--clock-seconds", "1"]
    small_run("fanout", tmp_path, *small)
    result = msgspec.json.decode((tmp_path / "fanout.json").read_bytes(), type=Result)
    ways = {(turn.contestant, turn.events_a_write) for turn in result.runs}
    assert ways == {("ours", 1), ("ours", 2), ("ours", 5), ("ours", 10), ("mixed", 1), ("c", 1)}
    in_json = [turn for turn in result.runs if turn.contestant != "mixed"]
    assert all(turn.bytes == turn.deliveries * (HEAD_BYTES + EVENT_BYTES) > 0 for turn in in_json)
    assert all(turn.deliveries % MEMBERS == 0 and turn.server_us > 0 for turn in result.runs)
    assert set(result.ratios) == {*TARGETS, f"vs_c_{MEMBERS}"}
    assert result.ratios[f"vs_c_{MEMBERS}"] is not None and result.ratios["vs_c_1000"] is None
    assert [delay.members for delay in result.delays] == [MEMBERS]
    assert result.kb_per_session and result.clocks_core_percent and result.clocks_p99_ms and result.clocks_vs_bare
    assert result.quiet is not None and result.quiet.blocks >= 2  # of 100 clocks, in a second
    assert ElementTree.parse(tmp_path / "fanout.svg").getroot().tag.endswith("svg")


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    costs = {"ours": (2, 4, 1), "c": (1, 1, 1)}
    speeds = {"ours": 30, "c": 100}  # while other processes had the cores
    turns = [turn(name, round_no, costs[name][round_no], speeds[name]) for round_no in range(3) for name in costs]
    turns.append(turn("ours", 0, 0.1, 1000, events_a_write=10))
    result = result_of(turns, [], None, cores=2, shared_core=False, skipped=[])
    assert result.ratios["vs_c_1000"] == 0.5
    assert result.ratio_spreads["vs_c_1000"] == (0.25, 0.5, 1.0)
    assert result.speed_ratios["vs_c_1000"] == 0.3
    assert result.ratios["vs_ws_1000"] is None


def test_a_target_that_is_missed_does_not_hold() -> None:
    assert TARGETS["vs_c_5000"].holds(0.85)
    assert not TARGETS["vs_c_5000"].holds(0.84)


def turn(name: str, round_no: int, server_us: float, per_second: float, events_a_write: int = 1) -> Turn:
    return Turn(
        contestant=name,
        members=1000,
        events_a_write=events_a_write,
        deliveries=int(per_second),
        bytes=int(per_second) * 204,
        seconds=1,
        server_us=server_us,
        drainer_us=1,
        kept_waiting=0,
        deliveries_a_read=1,
        round=round_no,
    )
