"""A log event becomes one line of bounded size, whatever values it holds and whatever raises while it is formatted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from server.observability.background_output import MAX_LINE_CHARACTERS
from server.observability.logs import Lines, render_json
from tests.support.processes import environment
from tests.support.processor import least_seconds

SECRET = "swordfish-0123456789-0123456789-0123456789"
LINE_SECONDS_MAX = 0.25  # on a busy machine; the worst values here take some milliseconds on a quiet one


class Nameless:
    def __repr__(self) -> str:
        raise ZeroDivisionError("no name")


class Silent(Exception):
    def __str__(self) -> str:
        raise RecursionError


def endless() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


def nested_group(depth: int) -> Exception:
    group: Exception = ValueError("x" * 100_000)
    for _ in range(depth):
        group = ExceptionGroup("many", [group] * 20)
    return group


VALUES: dict[str, Any] = {
    "a lone surrogate": "\ud800",
    "a value that cannot describe itself": Nameless(),
    "a list of itself": endless(),
    "a deep map": json.loads('{"a":' * 400 + "1" + "}" * 400),
    "a long text": "x" * 10_000_000,
    "a long list": ["x" * 10_000] * 10_000,
    "letters that JSON writes as six": "ü" * 100_000,
    "an integer that cannot be written": 10**5000,
    "not a number": float("nan"),
    "bytes": b"\xff\x00" * 100_000,
    "a long word before an @": "x" * 1_000_000 + "@",
    "many beginnings of a token": "eyJ-" * 250_000,
    "many addresses": "a@b.cd " * 100_000,
    "many schemes": "postgres://" * 100_000,
    "maps with other keys": {1: 2, None: 3, (4, 5): 6},
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("render", [render_json, structlog.dev.ConsoleRenderer()])
def test_any_value_makes_one_line_of_bounded_size_in_bounded_time(name: str, render: Any) -> None:
    lines = Lines(render, [SECRET])

    def line_of() -> str:
        return lines(None, "info", {"event": "weird.value", "value": VALUES[name], "other": 1})

    assert least_seconds(line_of) < LINE_SECONDS_MAX
    line = line_of()
    assert "weird.value" in line
    assert len(line) <= MAX_LINE_CHARACTERS
    if render is render_json:
        assert "\n" not in line
        assert json.loads(line)["level"] == "info"


def test_a_line_of_json_is_what_the_standard_library_writes() -> None:
    text = 'a "b" \\ \n \x7f \x1b[0m \u2028 ü \ud800'
    odd = {"text": text, "list": [1, 2.5, None, True, {"a": {}}], "big": 10**30}
    for event in (odd, {"event": "plain", "status": 200, "ms": 1.5, "list": [1, {"a": []}]}):
        assert render_json(None, "info", dict(event)) == json.dumps(event)


@pytest.mark.parametrize("error", [Silent(), nested_group(8), ValueError("ü" * 1_000_000)], ids=type)
def test_any_exception_makes_one_line_of_bounded_size_with_its_end(error: BaseException) -> None:
    lines = Lines(render_json, [])

    def line_of() -> str:
        try:
            raise error.with_traceback(None)
        except type(error):
            return lines(None, "error", {"event": "http.fault", "exc_info": True})

    assert least_seconds(line_of) < LINE_SECONDS_MAX
    line = line_of()
    assert len(line) <= MAX_LINE_CHARACTERS
    assert type(error).__name__ in json.loads(line)["exception"]


def test_a_secret_is_redacted_before_a_long_text_is_cut() -> None:
    lines = Lines(render_json, [SECRET])
    for before in range(1990, 2010):
        line = lines(None, "info", {"event": "cut", "reason": "x" * before + SECRET + "y" * 10_000})
        assert SECRET[:8] not in line


def test_a_processor_that_raises_costs_the_fields_and_not_the_caller() -> None:
    def broken(*_: Any) -> str:
        raise KeyError("renderer")

    assert json.loads(Lines(broken, [])(None, "info", {"event": "still.there", "a": 1})) == {"event": "still.there"}


def test_the_output_of_libraries_and_of_python_itself_becomes_log_lines(tmp_path: Path) -> None:
    program = """
import asyncio, gc, logging, sys, threading, warnings
from server.observability.logs import configure_log
from server.observability.background_output import wait_all_written
configure_log("info", "json", ["swordfish"])
logging.getLogger("some.library").warning("two values: %s and swordfish", 1)
logging.getLogger("some.library").error("two values: %s %s", 1)
logging.getLogger("some.library").info("not worth a line")
warnings.warn("careful with swordfish")
class Finalized:
    def __del__(self): raise ValueError("in a finalizer")
Finalized()
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start(); thread.join()
wait_all_written(5)
"""
    words = [sys.executable, "-c", program]
    ended = subprocess.run(words, cwd=tmp_path, env=environment({}), capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    entries = [(line["event"], line["level"], line.get("said") or line.get("thread")) for line in lines]
    assert entries[:2] == [
        ("library.logged", "warning", "two values: 1 and [redacted]"),
        ("library.logged", "error", "two values: %s %s"),
    ]
    assert (entries[2][0], lines[2]["logger"]) == ("library.logged", "py.warnings")
    assert "careful with [redacted]" in lines[2]["said"]
    assert (entries[3][0], "in a finalizer" in lines[3]["exception"]) == ("python.unraisable", True)
    assert entries[4] == ("thread.ended", "error", "worker")
    assert "swordfish" not in ended.stderr
    assert len(lines) == 5
