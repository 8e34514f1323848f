"""The walks through the client that take the pictures; each is played as one scene."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

from tests.web.screenshots import calls, home, money, operator, others, rooms, studio
from tests.web.screenshots.camera import Camera

WALKS: dict[str, Callable[[Camera, dict[str, str]], None]] = {
    "home": home.take,
    "money": money.take,
    "streams": rooms.take_cards,
    "watching": rooms.take_watching,
    "before calls": calls.take_before,
    "calls": calls.take_running,
    "studio": studio.take,
    "operator": operator.take,
    "others": others.take,
}


def take_walk(
    page: Page,
    open_page: Callable[..., Page],
    walk: str,
    url: str,
    prefix: str,
    look: dict[str, Any],
    people: dict[str, str],
    axe: str | None,
) -> None:
    """Take the pictures of one walk in one look: the options of a page, such as its size, scheme and language.

    With `axe`, the path of axe-core, raises AssertionError for violations, with all that the walk has.
    """
    page.close()

    def opened() -> Page:
        return open_page(**look)

    camera = Camera(opened(), opened, url, prefix, axe)
    WALKS[walk](camera, people)
    assert camera.violations == [], camera.violations
