"""The demo users: creators, fans with tokens, and an operator.

Their ids are constants, so that `halfminute demo-call` finds the users of a server that was started with `--demo`.
"""

from typing import Literal, NamedTuple
from uuid import UUID

from domain.ids import UserId
from server.access.tokens import issue_token

TOKEN_SECONDS = 30 * 24 * 3600

DemoRole = Literal["creator", "fan", "operator"]


class DemoUser(NamedTuple):
    """A demo user. A creator has a rate in tokens per minute and says something about themselves.

    The server itself acts for an `automatic` user, so that one person alone can try everything.
    """

    user_id: UserId
    name: str
    role: DemoRole
    rate_tokens_per_min: int = 0
    about: str = ""
    automatic: bool = False

    @property
    def title(self) -> str:
        """Return name and role, as the greeting of the server shows them."""
        return f"{self.name}, {'an' if self.role == 'operator' else 'a'} {self.role}"


def _id(last: str) -> UserId:
    return UserId(UUID(f"0190a000-0000-7000-8000-{last:0>12}"))


CREATOR = DemoUser(_id("c1e0"), "Cleo", "creator", 60, "Questions about everything, answered at night.")
ANSWERING = DemoUser(_id("b0b0"), "Bruno", "creator", 40, "Answers every call and every line of chat.", automatic=True)
STREAMING = DemoUser(_id("3a3a"), "Mara", "creator", 30, "Live all day; ask for a ticket to the show.", automatic=True)
FANS = (DemoUser(_id("f1aa"), "Finn", "fan"), DemoUser(_id("faae"), "Faye", "fan"))
OPERATOR = DemoUser(_id("e70"), "Otto", "operator")
CREATORS = (CREATOR, ANSWERING, STREAMING)
DEMO_USERS = (*CREATORS, *FANS, OPERATOR)


def demo_token(user: DemoUser, secret: str, now: float) -> str:
    """Return a token of a demo user, valid for 30 days from `now` (unix seconds)."""
    role = user.role if user.role == "operator" else None
    return issue_token(secret, user.user_id, role=role, ttl_seconds=TOKEN_SECONDS, now=now)
