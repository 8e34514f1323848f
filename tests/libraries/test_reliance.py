"""The checks of this folder find a name that changed, and say which, where it is relied on, and what to check."""

from types import SimpleNamespace

import pytest

from tests.libraries import reliance
from tests.libraries.reliance import Reliance, changes, taken_names


class Reader:
    """Stands in for a class of a library."""

    limit = 5

    async def _read_task(self, timeout: float) -> None:
        await self._channel.send(timeout)  # type: ignore[attr-defined]  # reason: only its source is read


READ_TASK = Reliance(Reader, "_read_task", "server/reader.py", "`read` awaits it", ("self", "timeout"), ("send(",))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let the library be installed in the version that the test sets."""
    library = SimpleNamespace(version="1.2.3")
    monkeypatch.setattr(reliance, "version", lambda name: library.version)
    return library


def test_a_library_as_it_was_read_has_no_changes() -> None:
    assert changes("reader", ("1.2",), [READ_TASK, Reliance(Reader, "limit", "server/reader.py", "it is 5")]) == []


def test_a_name_that_is_gone_is_named_with_its_version_and_with_what_relies_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(Reader, "_read_task")
    assert changes("reader", ("1.2",), [READ_TASK]) == [
        "reader 1.2.3: Reader._read_task is missing. server/reader.py relies on it: `read` awaits it"
    ]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (READ_TASK._replace(parameters=("self",)), "has the parameters ('self', 'timeout') instead of ('self',)"),
        (READ_TASK._replace(source=("receive (",)), "no longer contains 'receive ('"),
    ],
)
def test_another_signature_or_another_body_is_a_change(changed: Reliance, difference: str) -> None:
    assert changes("reader", ("1.2",), [changed]) == [
        f"reader 1.2.3: Reader._read_task {difference}. server/reader.py relies on it: `read` awaits it"
    ]


@pytest.mark.parametrize("version", ["1.20.0", "1.3", "2.1.2"])
def test_a_version_that_was_not_read_is_a_change(installed: SimpleNamespace, version: str) -> None:
    installed.version = version
    assert changes("reader", ("1.1", "1.2"), [READ_TASK]) == [
        f"reader {version} is installed, and server/reader.py was written against 1.1 and 1.2: read Reader._read_task "
        "in the new version, and then add it to this test and to the docstring of the file"
    ]


def test_a_name_that_both_classes_use_is_found() -> None:
    class Ours(Reader):
        limit = 6

        async def _read_task(self, timeout: float) -> None: ...

    assert taken_names(Ours, Reader(), ["_read_task"]) == ["limit"]
