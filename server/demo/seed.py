"""Creates the demo users with their tokens and profiles. A later start repeats nothing that was done before."""

from domain.billing.posting import Kind, Posting
from domain.ids import PROMOTIONS, client_key
from server.context import Context
from server.demo.portraits import portrait_path
from server.demo.users import CREATORS, DEMO_USERS, FANS, OPERATOR, DemoUser
from storage.people.users import CreatorChange, become_creator

FAN_TOKENS = 10_000


async def seed(context: Context) -> None:
    """Create the demo users and credit the fans, under keys that make a later start credit nothing again.

    The terms and profiles of the creators are set at each start. Raises StorageUnavailable.
    """
    for user in DEMO_USERS:
        await context.user_cache.ensure_user(user.user_id, user.name)
    for creator in CREATORS:
        await become_creator(context.postgres, creator.user_id, _profile(creator))
    await context.actor.post([_credit(fan) for fan in FANS])


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
        tokens=FAN_TOKENS,
    )
