"""The figures of a load run, and the plans and targets that the tool refuses."""

from xml.etree import ElementTree

import msgspec
import pytest

from server.loadtest.measures.figures import BlockClock, Result, Sample, Spread, curve, spread
from server.loadtest.measures.plan import LoadRefused, Plan, check_plan, check_target
from server.loadtest.report.page import draw

PLAN = Plan(url="http://127.0.0.1:8000", rooms=2, members=4, seconds=5)
SOUND = Result(
    plan=PLAN,
    began_at="2026-01-01T00:00:00+00:00",
    rooms=2,
    members=8,
    connects_per_second=100,
    seconds=5,
    deliveries=800,
    deliveries_per_second=150,
    commands={"tip:send": 10},
    tips_per_second=2,
    round_trip_ms=spread([3.0, 1.0]),
    blocks=10,
    block_late_ms=spread([]),
    lost=0,
    doubled=0,
    unanswered=0,
    unheard_tips=0,
    reconnects=0,
    errors={"<CALL_ENDED>": 1},
    client_cpu_percent=10,
    client_memory_mib=50,
    client_late_ms=spread([0.1]),
    samples=[Sample(1, 150, 2, 10), Sample(2, 140, 2, 11)],
    round_trip_curve=curve([3.0, 1.0]),
    lateness_curve=[],
)


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert spread(range(1, 201)) == Spread(200, 100, 190, 198, 200)
    assert spread([7.0]) == Spread(1, 7.0, 7.0, 7.0, 7.0)
    assert spread([]) == Spread(0)


def test_a_curve_has_each_per_cent() -> None:
    assert curve(range(1, 201)) == list(range(2, 201, 2))
    assert curve([5.0]) == [5.0] * 100
    assert curve([]) == []


def test_a_block_is_as_late_as_the_servers_own_clock_says() -> None:
    clock = BlockClock()
    assert clock.take(block("10.000", next_at="40.000")) is None
    assert clock.take(block("40.012", next_at="59.990")) == pytest.approx(12)
    assert clock.take(block("59.995", next_at=None)) == pytest.approx(5)


def test_a_clock_that_was_stopped_says_nothing_of_the_next_block() -> None:
    clock = BlockClock()
    clock.take(block("10.000", next_at="40.000"))
    clock.take({"type": "call:paused"})
    clock.take({"type": "call:resumed"})
    assert clock.take(block("59.000", next_at=None)) is None


def block(at: str, *, next_at: str | None) -> dict[str, str | None]:
    def moment(seconds: str) -> str:
        return f"2026-01-01T00:00:{seconds}Z"

    return {"type": "block:charged", "at": moment(at), "nextAt": None if next_at is None else moment(next_at)}


def test_a_run_in_which_nothing_was_lost_has_no_faults() -> None:
    assert SOUND.faults == {}
    assert SOUND.verdict.startswith("Every delivery came once")


@pytest.mark.parametrize(
    "change", [{"lost": 1}, {"doubled": 1}, {"unanswered": 1}, {"unheard_tips": 1}, {"rooms": 1}], ids=str
)
def test_every_missing_or_duplicate_event_is_a_fault(change: dict[str, int]) -> None:
    broken = msgspec.structs.replace(SOUND, **change)
    assert list(broken.faults.values()) == [1]
    assert broken.verdict.startswith("FAILS: 1 ")


def test_the_page_loads_nothing_else_and_shows_every_value_as_text() -> None:
    page = draw(SOUND)
    assert "http:" not in page.replace(PLAN.url, "") and "https:" not in page and "<script" not in page
    assert "&lt;CALL_ENDED&gt;" in page
    pictures = [ElementTree.fromstring(part.split("</figure>")[0]) for part in page.split("<figure>")[1:]]
    assert len(pictures) == 4
    line = pictures[0].find("polyline")
    assert line is not None and len(line.attrib["points"].split()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"members": 1},
        {"rooms": 0},
        {"rooms": 50_000, "members": 4},
        {"kind": "calls", "members": 17},
        {"kind": "mixed", "members": 17},
        {"seconds": 0},
        {"seconds": 3601},
        {"tips_per_second": -1},
        {"chats_per_second": 10_001},
    ],
    ids=str,
)
def test_a_plan_without_sense_or_bound_is_refused(change: dict[str, object]) -> None:
    check_plan(PLAN)
    with pytest.raises(LoadRefused):
        check_plan(msgspec.structs.replace(PLAN, **change))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://[::1]:8000", "http://localhost:1", "ws://127.3.2.1/ws"]
)
def test_this_machine_may_be_put_under_load(url: str) -> None:
    check_target(url, yes_really=False)


@pytest.mark.parametrize("url", ["http://10.0.0.1:8000", "http://example.org", "ws://localhost.example.org/ws"])
def test_another_machine_is_loaded_only_if_confirmed(url: str) -> None:
    with pytest.raises(LoadRefused, match="is not this machine"):
        check_target(url, yes_really=False)
    check_target(url, yes_really=True)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://", "https://", ""])
def test_a_target_that_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(LoadRefused, match="no address of a server"):
        check_target(url, yes_really=True)


@pytest.mark.parametrize(
    ("members", "tips", "fans"), [(51, 0, 1), (51, 10, 1), (51, 11, 2), (51, 100, 10), (4, 1000, 3), (2, 1000, 1)]
)
def test_a_stream_has_as_many_fans_as_its_tips_take(members: int, tips: float, fans: int) -> None:
    plan = msgspec.structs.replace(PLAN, members=members, tips_per_second=tips)
    assert plan.fans_in_a_stream == fans


def test_every_other_room_of_a_mixed_load_is_a_call() -> None:
    plan = msgspec.structs.replace(PLAN, kind="mixed")
    assert [plan.kind_of(number) for number in range(4)] == ["call", "stream", "call", "stream"]
