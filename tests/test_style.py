"""Each fault that `python -m tests.style` finds fails the build: upward imports, circles, old words, long modules."""

from tests.style import faults


def test_the_code_is_cut_and_worded_as_agreed() -> None:
    assert faults() == []
