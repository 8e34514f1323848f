"""A page of the web client of which pictures are taken, and how its requests are answered meanwhile.

Modules of scenes import this one, so it may not import the server.
"""

import json
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, Route

from tests.web.accessibility_scenes import Inspector
from tests.web.sessions import Sessions

LOOK_MS = 400  # for pictures to load and motion to end
Answer = dict[str, Any]


class Camera:
    """Opens places as users, and takes pictures with names that begin with `prefix`, whatever the language is.

    With `axe`, the path of axe-core, each picture is inspected too; `violations` has what was found.
    """

    def __init__(self, page: Page, open_page: Callable[[], Page], url: str, prefix: str, axe: str | None) -> None:
        self.page = page
        self.prefix = prefix
        self.violations: list[Any] = []
        self._axe = axe
        self.sessions = Sessions(page)
        self._open_page = open_page
        self._url = url

    def visit(self, path: str) -> None:
        """Open a page of the server beside the client."""
        self.page.goto(f"{self._url}{path}")

    def beside(self) -> "Camera":
        """Return a page for another user."""
        return self.of(self._open_page())

    def of(self, page: Page) -> "Camera":
        """Return a camera of a page that the client has opened."""
        other = Camera(page, self._open_page, self._url, self.prefix, self._axe)
        other.violations = self.violations
        return other

    def open_as(self, token: str, place: str = "") -> None:
        """Open a place as the user of a token; an empty token is nobody. Requests are answered by the server again."""
        self.page.unroute_all()
        self._visit(token, place)
        if token:
            self.sessions.wait()

    def take(self, name: str, *, whole: bool = True) -> None:
        """Take a picture of all that can be scrolled to, or of what is in sight."""
        self.page.mouse.move(0, 0)
        self.page.evaluate("scrollTo(0, 0)")
        self.page.wait_for_timeout(LOOK_MS)
        self.page.screenshot(path=f"{self.prefix}-{name}.png", full_page=whole)
        if self._axe is not None:
            inspector = Inspector(self.page, self._axe)
            inspector.look(name)
            self.violations += inspector.violations

    def take_while_held(self, name: str, token: str, place: str, pattern: str) -> None:
        """Take a picture of a place whose requests of a pattern wait for their answer."""
        self.page.unroute_all()
        self.page.route(pattern, lambda _: None)
        self._visit(token, place)
        self.take(name)

    def take_failed(self, name: str, token: str, place: str, pattern: str, error: Answer | None = None) -> None:
        """Take a picture of a place whose requests of a pattern find no server, or get this problem."""
        self.page.unroute_all()
        if error is None:
            self.page.route(pattern, lambda route: route.abort())
        else:
            self.refuse(pattern, error)
        self._visit(token, place)
        self.page.locator("[role=alert]").first.wait_for()
        self.take(name)

    def refuse(self, pattern: str, error: Answer) -> None:
        """Answer requests of a pattern with a problem."""
        body = json.dumps(error)
        content = "application/problem+json"
        self.page.route(pattern, lambda route: route.fulfill(status=error["status"], body=body, content_type=content))

    def amend(self, pattern: str, change: Callable[[Answer], Any]) -> None:
        """Change the answers to requests of a pattern before the page sees them."""

        def serve(route: Route) -> None:
            answer = route.fetch()
            body = answer.json()
            change(body)
            route.fulfill(response=answer, json=body)

        self.page.route(pattern, serve)

    def find(self, selector: str, text: str | None = None, ms_max: float | None = None) -> Locator:
        """Return the first that fits, once it is there, which may take `ms_max`."""
        found = self.page.locator(selector, has_text=text).first
        found.wait_for(timeout=ms_max)
        return found

    def press(self, selector: str, text: str | None = None) -> None:
        self.find(selector, text).click()

    def ask(self, token: str, path: str, body: Answer | None = None) -> Any:
        """Send a POST to the API as the user of a token."""
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.page.request.post(f"{self._url}/api{path}", headers=headers, data=body)
        assert answer.ok, answer.text()
        return answer.json() if answer.body() else None

    def _visit(self, token: str, place: str) -> None:
        self.page.goto(f"{self._url}/")
        script = "(token) => (sessionStorage.clear(), token && sessionStorage.setItem('halfminute.token', token))"
        self.page.evaluate(script, token)
        self.page.goto(f"{self._url}/#/{place}")
        self.page.reload()
