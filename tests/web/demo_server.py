"""A demo server for scenes: its users with their tokens, and more users with as many tokens as a scene needs."""

import time
from typing import Any, NamedTuple

import httpx

from server.access.tokens import issue_token
from server.demo.users import OPERATOR
from server.ids import new_uuid
from tests.support.processes import ServerProcess

TOKEN_SECONDS = 3600


class Actor(NamedTuple):
    """A user and a token of theirs."""

    user_id: str
    token: str


class DemoServer:
    """The address of a running demo server, and what tests ask of it as any of its users."""

    def __init__(self, server: ServerProcess) -> None:
        self.url = f"http://127.0.0.1:{server.http_port}"
        self._server = server
        cards = server.get("/api/demo/users").json()["items"]
        self._users = {card["displayName"]: Actor(card["userId"], card["token"]) for card in cards}

    def __getitem__(self, name: str) -> Actor:
        return self._users[name]

    def add_fan(self, tokens: int, name: str = "Fay") -> Actor:
        """Create a user with these tokens."""
        user_id = new_uuid()
        token = issue_token(self._server.jwt_secret(), user_id, ttl_seconds=TOKEN_SECONDS, now=time.time())
        fan = Actor(str(user_id), token)
        self._server.put("/api/me", fan.token, {"displayName": name}).raise_for_status()
        if tokens:
            self.post(self._users[OPERATOR.name], "/admin/credits", userId=fan.user_id, tokens=tokens, reason="a test")
        return fan

    def add_creator(self, name: str, rate_tokens_per_min: int) -> Actor:
        """Create a creator who accepts calls."""
        creator = self.add_fan(0)
        body = {"displayName": name, "rateTokensPerMin": rate_tokens_per_min}
        self._server.put("/api/creators/me", creator.token, body).raise_for_status()
        return creator

    def get(self, actor: Actor, path: str) -> dict[str, Any]:
        return _content(self._server.get(f"/api{path}", actor.token))

    def post(self, actor: Actor, path: str, **body: Any) -> dict[str, Any]:
        return _content(self._server.post(f"/api{path}", actor.token, body))


def _content(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found
