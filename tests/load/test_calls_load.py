"""The load program works: a small run of it, its report of faults, and the full run as a long test."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from server.loadtest.client.frames import Frames, masked_frame
from storage.ledger.audit import Finding
from tests.load.checks import check_blocks, check_bounds, check_calls, check_server
from tests.load.client_pool import Block, CallReport, PartyReport, Report
from tests.load.figures import PostedBlock, StoredCall, read_histogram, spread
from tests.load.result import Load, Result
from tests.support.processes import ROOT

SMALL_RUN_SECONDS = 120  # at most, on a busy machine
FULL_RUN_SECONDS = 600

SOUND = PartyReport(blocks=[Block(1, 30, 10.0), Block(2, 30, 40.0)], end_reason="hangup", end_blocks=2, end_tokens=60)
CALL = StoredCall("one", "hangup", 2)
BLOCKS = [PostedBlock("one", 1, 30, 10.0, 10.002), PostedBlock("one", 2, 30, 40.0, 40.3)]


def test_a_small_run_shows_its_figures_and_finds_every_block(tmp_path: Path) -> None:
    load = Load(calls=20, seconds=2, block_seconds=1, ramp_seconds=1, p99_ms=5000, most_ms=5000)
    result = run_program(load, tmp_path / "figures.json", SMALL_RUN_SECONDS)
    assert result.failures == []
    assert result.posted.count == result.received.count == result.batches.total >= 60
    assert result.handed_over.count == result.posted.count


@pytest.mark.long
def test_a_thousand_calls_are_charged_on_time(tmp_path: Path) -> None:
    result = run_program(Load(), tmp_path / "figures.json", FULL_RUN_SECONDS)
    assert result.failures == []
    assert result.posted.count >= 5000


def run_program(load: Load, figures: Path, seconds: float) -> Result:
    """Run the program as a user does."""
    words = [f"--{name.replace('_', '-')}={value:g}" for name, value in msgspec.structs.asdict(load).items()]
    command = [sys.executable, "-m", "tests.load.calls", *words, f"--json={figures}"]
    done = subprocess.run(command, cwd=ROOT, timeout=seconds, capture_output=True, text=True, check=False)
    assert figures.exists(), done.stderr
    result = msgspec.json.decode(figures.read_bytes(), type=Result)
    assert done.returncode == (1 if result.failures else 0), done.stdout
    return result


def test_blocks_that_come_late_break_the_bounds() -> None:
    posted = spread(block.late_ms for block in BLOCKS)
    assert (posted.p50, posted.most) == (2.0, 300.0)
    assert [bool(check.failures) for check in check_bounds(posted, 50, 250)] == [True, True]
    assert [bool(check.failures) for check in check_bounds(posted, 300, 300)] == [False, False]


def test_a_run_without_a_block_is_no_success() -> None:
    assert all(check.failures for check in check_bounds(spread([]), 50, 250))


def test_a_sound_run_passes() -> None:
    report = Report([CallReport("one", SOUND, SOUND)])
    for check in (*check_calls(1, report, [CALL]), *check_blocks(report, [CALL], BLOCKS)):
        assert check.failures == [], check.sentence


@pytest.mark.parametrize(
    "party",
    [
        msgspec.structs.replace(SOUND, blocks=SOUND.blocks[:1]),
        msgspec.structs.replace(SOUND, blocks=[*SOUND.blocks, SOUND.blocks[1]]),
        msgspec.structs.replace(SOUND, blocks=[SOUND.blocks[0], Block(2, 29, 40.0)]),
        msgspec.structs.replace(SOUND, end_blocks=3),
        msgspec.structs.replace(SOUND, end_tokens=59),
    ],
)
def test_a_party_that_received_other_blocks_than_the_journal_has_is_found(party: PartyReport) -> None:
    for report in (Report([CallReport("one", party, SOUND)]), Report([CallReport("one", SOUND, party)])):
        assert [bool(check.failures) for check in check_blocks(report, [CALL], BLOCKS)] == [False, True]


@pytest.mark.parametrize("blocks", [BLOCKS[:1], BLOCKS[1:], [BLOCKS[0], BLOCKS[0]], []])
def test_a_block_missing_in_the_journal_is_found(blocks: list[PostedBlock]) -> None:
    assert check_blocks(Report([]), [CALL], blocks)[0].failures


def test_calls_that_end_otherwise_and_faults_are_found() -> None:
    lost = [StoredCall("one", "peer_lost", 2)]
    faulty = Report([CallReport("one", SOUND, msgspec.structs.replace(SOUND, faults=["event 7 came after 5"]))])
    assert [bool(check.failures) for check in check_calls(1, faulty, lost)] == [True, True]
    assert check_calls(2, Report([]), [CALL])[0].failures


def test_an_unsound_ledger_and_a_server_that_crashed_are_found() -> None:
    assert all(check.failures for check in check_server([Finding("no user owes", [{"balance": -1}])], 1))
    assert not any(check.failures for check in check_server([Finding("no user owes", [])], 0))


def test_frames_are_found_however_the_bytes_come() -> None:
    payloads = [b"", b"x" * 125, b"y" * 126, b"z" * 70_000]
    lengths = [b"\x00", b"\x7d", b"\x7e\x00\x7e", b"\x7f" + (70_000).to_bytes(8, "big")]
    stream = b"".join(b"\x81" + length + payload for length, payload in zip(lengths, payloads, strict=True))
    for step in (1, 3, len(stream)):
        frames = Frames()
        found = [frame for start in range(0, len(stream), step) for frame in frames.take(stream[start : start + step])]
        assert found == [(1, payload) for payload in payloads]


def test_a_client_masks_its_frames() -> None:
    assert masked_frame(1, b"hi") == b"\x81\x82\x00\x00\x00\x00hi"
    assert masked_frame(1, b"x" * 200)[:4] == b"\x81\xfe\x00\xc8"


def test_a_histogram_is_read_from_the_exposition() -> None:
    text = (
        "# TYPE wait_seconds histogram\n"
        'wait_seconds_bucket{le="0.1"} 3\nwait_seconds_bucket{le="1.0"} 4\nwait_seconds_bucket{le="+Inf"} 4\n'
        "wait_seconds_count 4\nwait_seconds_sum 0.7\n"
    )
    histogram = read_histogram(text, "wait_seconds")
    assert (histogram.count, histogram.total, histogram.buckets) == (4, 0.7, {"0.1": 3, "1.0": 1, "+Inf": 0})
    assert (histogram.bound(0.5), histogram.bound(1)) == ("0.1", "1.0")
    assert read_histogram(text, "another").count == 0
