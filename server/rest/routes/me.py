"""The caller's own user and wallet."""

import msgspec

from domain.ids import UserId
from server.rest.request import Request
from server.rest.route import Routes
from server.rest.routes.wallet import WalletCard, wallet_card
from storage.people.users import find_user

routes = Routes("/api/me")


class UserCard(msgspec.Struct, frozen=True, rename="camel"):
    """The caller; `isOperator` is the right of the present token."""

    user_id: UserId
    display_name: str
    is_creator: bool
    is_operator: bool


class Me(msgspec.Struct, frozen=True, rename="camel"):
    """The caller and the caller's wallet."""

    user: UserCard
    wallet: WalletCard


@routes.get()
async def show_me(request: Request) -> Me:
    """The user of the token, and their wallet. The first request of a new user creates both."""
    user = await find_user(request.context.postgres, request.user_id)
    assert user is not None, "authentication creates the user"
    card = UserCard(user.user_id, user.display_name, user.is_creator, request.is_operator)
    return Me(card, await wallet_card(request))
