"""A websocket of Chromium's own, in one of its tabs."""

import itertools
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.server.peers.phone import JSON, PeerEvents
from tests.support.clients import PATIENCE_SECONDS

CHROMIUM = Path("/usr/bin/chromium")  # Debian's path; playwright would download its own
PROGRAM = Path(__file__).with_name("tabs.py")


class Browser:
    """The browser process and its tabs, from start to end."""

    def __enter__(self) -> "Browser":
        command = [sys.executable, str(PROGRAM), str(CHROMIUM)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tabs: dict[int, PeerEvents] = {}
        self._numbers = itertools.count(1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # the process closes the browser and ends
        self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        self._process.stdout.close()

    def open(self, events: PeerEvents) -> int:
        """Open a tab; return its number."""
        tab = next(self._numbers)
        self._tabs[tab] = events
        self.order(tab, "open")
        return tab

    def order(self, tab: int, order: str, argument: Any = None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"tab": tab, "order": order, "argument": argument}) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self._tabs[event["tab"]].put(event)


class TabSocket:
    """A websocket in a tab of its own."""

    def __init__(self, browser: Browser, port: int) -> None:
        self.events = PeerEvents()
        self._browser = browser
        self._tab: int | None = browser.open(self.events)
        self.order("dial", {"url": f"ws://127.0.0.1:{port}/ws", "protocols": [JSON]})

    def __enter__(self) -> "TabSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()

    def order(self, order: str, argument: Any = None) -> None:
        assert self._tab is not None
        self._browser.order(self._tab, order, argument)

    def vanish(self) -> None:
        """Close its tab."""
        self.order("shut")
        self._tab = None

    def clean_up(self) -> None:
        if self._tab is not None:
            self.vanish()
