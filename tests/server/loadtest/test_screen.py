"""The result on the terminal: event names and codes as they are."""

import io

from server.loadtest.report import screen


def test_names_of_events_are_printed_as_text() -> None:
    console = screen.console_of_width()
    console.file = io.StringIO()
    console.print(screen._errors({"call:end: RATE_LIMITED": 3, "closed with [4001]": 1}))
    printed = console.file.getvalue()
    assert "call:end: RATE_LIMITED" in printed and "closed with [4001]" in printed
