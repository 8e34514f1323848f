"""The caller's own user and wallet."""

import msgspec

from domain.ids import UserId
from server.rest.request import Request
from server.rest.route import Routes
from server.rest.routes.wallet import WalletCard, read_account

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
    user, wallet = await read_account(request, request.user_id)
    return Me(UserCard(user.user_id, user.display_name, user.is_creator, request.is_operator), wallet)
