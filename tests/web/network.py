"""A network between pages and the websocket of a server, which can be taken away for some time."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.processes import listen_on

CHUNK_BYTES = 65_536


class Network:
    """Carries connections to one port, and can be taken away from the client that connected last.

    Then nothing passes and nobody is told, as with a dead radio; nobody can connect until it is back, and the old
    connection stays dead.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self._target_port = target_port
        self._newest = 0  # the number of the latest connection
        self._dead: set[int] = set()
        self._ends: list[socket.socket] = []
        self._carrying: list[threading.Thread] = []
        self._is_away = False
        self._listener = listen_on(port)

    def take_away(self) -> None:
        self._dead.add(self._newest)
        self._is_away = True

    def bring_back(self) -> None:
        self._is_away = False

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._ends.append(client)
                if not self._is_away:
                    self._carry(client)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):  # the peer has closed it
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._carrying:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target_port))
        except OSError:  # the server restarts
            client.shutdown(socket.SHUT_RDWR)
            return
        self._ends.append(server)
        self._newest += 1
        for source, target in ((client, server), (server, client)):
            thread = threading.Thread(target=self._pass_on, args=(source, target, self._newest), daemon=True)
            thread.start()
            self._carrying.append(thread)

    def _pass_on(self, source: socket.socket, target: socket.socket, number: int) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                if number not in self._dead:
                    target.sendall(chunk)
            if number not in self._dead:
                target.shutdown(socket.SHUT_WR)


@contextmanager
def open_network(port: int, target_port: int) -> Iterator[Network]:
    """Run a network that listens on `port` and leads to `target_port`."""
    opened = Network(port, target_port)
    serving = threading.Thread(target=opened.serve)
    serving.start()
    try:
        yield opened
    finally:
        opened.close()
        serving.join()
