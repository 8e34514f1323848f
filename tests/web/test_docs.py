"""The forms of /api/docs, in a browser: a request and a command are sent, and what comes back is shown as text."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.demo.users import CREATOR, FANS
from tests.support.processes import ServerProcess
from tests.web import docs_scenes
from tests.web.browser import play


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, on a server with the demo's users."""
    directory: Path = tmp_path_factory.mktemp("docs")
    with ServerProcess(directory / "data", "--demo") as server:
        yield f"http://127.0.0.1:{server.http_port}/api/docs"


def test_a_request_is_sent_and_its_answer_shown_as_text(docs: str) -> None:
    fan, creator_id = f"{FANS[0].name}, fan", str(CREATOR.user_id)
    play(docs_scenes.send_requests, url=docs, fan=fan, creator_id=creator_id, creator_name=CREATOR.name)


def test_a_command_opens_a_session_and_the_frames_are_shown_as_text(docs: str) -> None:
    play(docs_scenes.send_commands, url=docs, fan=f"{FANS[1].name}, fan")


def test_nothing_is_wider_than_a_phone(docs: str) -> None:
    play(docs_scenes.fit_a_phone, url=docs)
