"""The bench still works: one small round of halfminute and the two layers below it gives all figures."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec

from tests.bench.rest.result import OURS, READ_AT_MOST, RIVALS, Reads, Result, Turn, at_most, result_of
from tests.bench.small_run import small_run

ROUTES = ("healthz", "config", "wallet", "me", "ledger", "streams", "tip")


def test_a_small_round_answers_every_request_and_saves_its_figures(tmp_path: Path) -> None:
    small_run("rest", tmp_path, "--rounds", "1", "--turn-seconds", "0.1", "--peers", "hypercorn,quart")
    result = msgspec.json.decode((tmp_path / "rest.json").read_bytes(), type=Result)
    ours = {(OURS, route) for route in ROUTES}
    assert {(turn.contestant, turn.route) for turn in result.runs} == {
        *ours,
        ("hypercorn", "plain"),
        ("quart", "plain"),
    }
    assert all(turn.requests > 0 and turn.server_us > 0 and turn.p99_ms >= turn.p50_ms > 0 for turn in result.runs)
    measured = {name for name, ratio in result.ratios.items() if ratio is not None}
    assert measured == {*(f"{route}_vs_quart" for route in ROUTES), "read_vs_asyncpg"}
    assert ElementTree.parse(tmp_path / "rest.svg").getroot().tag.endswith("svg")


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    costs = {(OURS, "wallet"): (2, 4, 1), ("express", "wallet"): (1, 1, 1)}
    turns = [turn(*who, round_no, us[round_no]) for round_no in range(3) for who, us in costs.items()]
    reads = [Reads(200, 100), Reads(120, 100), Reads(90, 100)]
    result = result_of(turns, reads, cores=2, shared_core=False, skipped=[])
    assert result.ratios["wallet_vs_express"] == 2.0
    assert result.ratio_spreads["wallet_vs_express"] == (1.0, 2.0, 4.0)
    assert result.ratios["read_vs_asyncpg"] == 1.2
    assert result.ratios["wallet_vs_quart"] is None
    assert set(result.ratios) == {*RIVALS, "read_vs_asyncpg"}


def test_each_target_is_that_of_its_route() -> None:
    assert (at_most("wallet_vs_quart"), at_most("wallet_vs_express")) == (1.5, None)
    assert at_most("read_vs_asyncpg") == READ_AT_MOST


def turn(name: str, route: str, round_no: int, server_us: float) -> Turn:
    return Turn(
        contestant=name,
        route=route,
        connections=16,
        requests=100,
        seconds=1,
        server_us=server_us,
        client_us=1,
        p50_ms=1,
        p99_ms=2,
        most_ms=3,
        kept_waiting=0,
        round=round_no,
    )
