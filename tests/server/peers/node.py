"""A websocket of npm's `ws`, in a process of its own."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.server.peers.phone import JSON, PeerEvents
from tests.support.clients import PATIENCE_SECONDS

SCRIPT = Path(__file__).with_name("node.js")
MODULES = ("ws@8", "@msgpack/msgpack@3")
INSTALL_SECONDS_MAX = 120


class NodeSocket:
    """Also reports every ping and pong, and a handshake that is refused."""

    def __init__(self, script: Path, port: int, path: str = "/ws", **options: Any) -> None:
        chosen = {"url": f"ws://127.0.0.1:{port}{path}", "protocols": [JSON], "headers": {}, "deflate": False}
        self.events = PeerEvents()
        self._process = subprocess.Popen(
            ["node", str(script), json.dumps(chosen | options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "NodeSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()

    def order(self, order: str, argument: Any = None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": order, "argument": argument}) + "\n")
        self._process.stdin.flush()

    def vanish(self) -> None:
        self.order("vanish")

    def clean_up(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE_SECONDS)
        self._process.stdin.close()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.put(json.loads(line))
