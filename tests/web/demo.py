"""A server with the demo's users, and further users with as many tokens as a test needs."""

import time
from typing import Any, NamedTuple

from domain.ids import UserId
from server.access.tokens import issue_token
from server.demo.users import CREATOR
from server.ids import new_uuid
from tests.support.processes import ServerProcess

TOKEN_SECONDS = 3600


class Person(NamedTuple):
    """A user and their token."""

    user_id: str
    token: str


class Demo(ServerProcess):
    """The server, and the requests by which tests prepare and check."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def person(self, tokens: int = 0, name: str = "", role: str | None = None) -> Person:
        """Create a user with promotional tokens."""
        user_id = UserId(new_uuid())
        token = issue_token(self.jwt_secret(), user_id, role=role, ttl_seconds=TOKEN_SECONDS, now=time.time())
        made = Person(str(user_id), token)
        self.read("/me", made)
        if name:
            self.change("/me", made, {"displayName": name})
        if tokens > 0:
            self.credit(made, tokens)
        return made

    def creator(self, name: str, rate_tokens_per_min: int = CREATOR.rate_tokens_per_min) -> Person:
        """Create a creator with the text of one of the demo."""
        made = self.person()
        terms = {"displayName": name, "about": CREATOR.about, "rateTokensPerMin": rate_tokens_per_min}
        self.change("/creators/me", made, terms)
        return made

    def stream(self, creator: Person, **wanted: Any) -> Any:
        """Announce a stream."""
        return self.send("/streams", creator, {"title": "The evening show", "type": "public", **wanted})["stream"]

    def live_stream(self, creator: Person, **wanted: Any) -> Any:
        """Announce a stream and start it."""
        stream_id = self.stream(creator, **wanted)["id"]
        return self.send(f"/streams/{stream_id}/start", creator)["stream"]

    def credit(self, person: Person, tokens: int) -> None:
        """Credit promotional tokens, as an operator."""
        operator = self.person(role="operator")
        body = {"userId": person.user_id, "tokens": tokens, "reason": "a test"}
        self.send("/admin/credits", operator, body)

    def buy(self, person: Person, pack_id: str, times: int = 1) -> None:
        """Buy packs, and pay for them at the demo's checkout."""
        for _ in range(times):
            purchase = self.send("/tokens/purchases", person, {"packId": pack_id})
            self.send(f"/payments/demo/{purchase['purchaseId']}", person)

    def tip(self, giver: Person, creator: Person, tokens: int, message: str | None = None, **context: str) -> None:
        """Tip a creator; `context` names the room."""
        body = {"toCreatorId": creator.user_id, "amountTokens": tokens, "message": message, "context": context or None}
        self.send("/tips/send", giver, body)

    def read(self, path: str, person: Person) -> Any:
        """Return the answer to a GET."""
        answer = self.get(f"/api{path}", person.token)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, path: str, person: Person, body: Any = None) -> Any:
        """Return the answer to a POST."""
        answer = self.post(f"/api{path}", person.token, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.headers["Content-Type"] == "application/json" else answer.text

    def change(self, path: str, person: Person, body: Any) -> Any:
        """Return the answer to a PUT."""
        answer = self.put(f"/api{path}", person.token, body)
        assert answer.is_success, answer.text
        return answer.json()

    def delete(self, path: str, person: Person) -> None:
        """Send a DELETE."""
        answer = self._request("DELETE", f"/api{path}", person.token, None)
        assert answer.is_success, answer.text
