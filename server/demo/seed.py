"""Creates the demo users with their tokens and profiles. A later start repeats nothing that was done before."""

from typing import NamedTuple

from domain.billing.posting import Kind, Posting
from domain.billing.tip_posting import tip_posting
from domain.ids import PROMOTIONS, client_key
from domain.protocol.commands import TipSend
from server.context import Context
from server.demo.portraits import portrait_path
from server.demo.users import ANSWERING, CREATOR, CREATORS, DEMO_USERS, FANS, OPERATOR, STREAMING, DemoUser
from server.ids import new_uuid
from storage.people.users import CreatorChange, become_creator

FAN_TOKENS = 10_000  # of each fan, after their tips


class Gift(NamedTuple):
    """A tip that was given before the demo began, so that wallets and the studio have something to show."""

    fan: DemoUser
    creator: DemoUser
    tokens: int
    message: str


GIFTS = (
    Gift(FANS[0], CREATOR, 150, "For the story about the comet"),
    Gift(FANS[0], STREAMING, 60, "Good evening from the night shift"),
    Gift(FANS[1], CREATOR, 75, "Thank you for last week"),
    Gift(FANS[1], ANSWERING, 40, ""),
)


async def seed(context: Context) -> None:
    """Create the demo users, credit the fans and book their tips, under keys that book nothing again at a later start.

    The terms and profiles of the creators are set at each start. Raises StorageUnavailable.
    """
    for user in DEMO_USERS:
        await context.user_cache.ensure_user(user.user_id, user.name)
    for creator in CREATORS:
        await become_creator(context.postgres, creator.user_id, _profile(creator))
    await context.actor.post([_credit(fan) for fan in FANS])
    await context.actor.post([_tip(gift) for gift in GIFTS])


def _profile(creator: DemoUser) -> CreatorChange:
    return CreatorChange(
        display_name=creator.name,
        rate_tokens_per_min=creator.rate_tokens_per_min,
        about=creator.about,
        picture_url=portrait_path(creator),
    )


def _credit(fan: DemoUser) -> Posting:
    return Posting(
        key=client_key(fan.user_id, "halfminute demo"),
        kind=Kind.CREDIT,
        operator_id=OPERATOR.user_id,
        debit=PROMOTIONS,
        credit=fan.user_id,
        tokens=FAN_TOKENS + sum(gift.tokens for gift in GIFTS if gift.fan == fan),
    )


def _tip(gift: Gift) -> Posting:
    fan, creator = gift.fan.user_id, gift.creator.user_id
    key = f"halfminute demo {gift.creator.name}"
    command = TipSend(channel="", amount_tokens=gift.tokens, message=gift.message, key=key)
    return tip_posting(giver=fan, creator=creator, command=command, tip_id=new_uuid())
