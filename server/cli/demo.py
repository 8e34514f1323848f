"""The demo users: a creator, two fans with tokens, and an operator.

Their ids are constants, so that `halfminute demo-call` finds the users of a server that was started with `--demo`.
"""

from typing import NamedTuple
from uuid import UUID

from domain.billing.posting import Kind, Posting
from domain.ids import PROMOTIONS, UserId, client_key
from server.access.tokens import issue_token
from server.context import Context
from storage.people.users import CreatorChange, become_creator

RATE_TOKENS_PER_MIN = 60
FAN_TOKENS = 10_000
TOKEN_SECONDS = 30 * 24 * 3600


class DemoUser(NamedTuple):
    """A demo user, with the role claim of the token if there is one."""

    name: str
    user_id: UserId
    role: str | None = None


CREATOR = DemoUser("Cleo, a creator", UserId(UUID("0190a000-0000-7000-8000-00000000c1e0")))
FANS = (
    DemoUser("Finn, a fan", UserId(UUID("0190a000-0000-7000-8000-00000000f1aa"))),
    DemoUser("Faye, a fan", UserId(UUID("0190a000-0000-7000-8000-00000000faae"))),
)
OPERATOR = DemoUser("Otto, an operator", UserId(UUID("0190a000-0000-7000-8000-000000000e70")), "operator")
DEMO_USERS = (CREATOR, *FANS, OPERATOR)


async def seed(context: Context) -> None:
    """Create the demo users and credit the fans, under keys that make a later start credit nothing again.

    The creator's name and rate are set at each start. Raises StorageUnavailable.
    """
    for person in DEMO_USERS:
        await context.user_cache.ensure_user(person.user_id)
    await become_creator(
        context.postgres, CREATOR.user_id, CreatorChange(display_name="Cleo", rate_tokens_per_min=RATE_TOKENS_PER_MIN)
    )
    await context.actor.post(
        [
            Posting(
                key=client_key(fan.user_id, "halfminute demo"),
                kind=Kind.CREDIT,
                operator_id=OPERATOR.user_id,
                debit=PROMOTIONS,
                credit=fan.user_id,
                tokens=FAN_TOKENS,
            )
            for fan in FANS
        ]
    )


def demo_token(person: DemoUser, secret: str, now: float) -> str:
    """Return a token of a demo user, valid for 30 days from `now` (unix seconds)."""
    return issue_token(secret, person.user_id, role=person.role, ttl_seconds=TOKEN_SECONDS, now=now)
