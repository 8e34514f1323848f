"""Waits for the session of a page: before it is open, the page cannot lose it."""

from playwright.sync_api import Page, WebSocket

LOOK_MS = 20


class Sessions:
    """Counts the sessions that a page opens from now on."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._opened = 0
        page.on("websocket", lambda socket: self._listen(socket))

    def wait(self) -> None:
        """Wait until one has been opened, and forget it."""
        while self._opened == 0:
            self._page.wait_for_timeout(LOOK_MS)  # lets playwright deliver what the page has received
        self._opened = 0

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self._note(frame))

    def _note(self, frame: str | bytes) -> None:
        self._opened += "session:ready" in str(frame)
