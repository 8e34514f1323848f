"""The caller's own user and wallet."""

from typing import Annotated

import msgspec

from domain.ids import UserId
from domain.protocol.events import Person
from domain.refusals import Code, Refusal
from domain.text import MAX_NAME, clean_name
from server.changes.user_changes import Renamed
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Routes
from server.rest.routes.wallet import WalletCard, read_account
from server.rest.strict_json import FieldError
from storage.people.users import rename_user

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


class NameWanted(msgspec.Struct, frozen=True, rename="camel"):
    """The name that other users are to see."""

    display_name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]


@routes.put(refuses=(Code.VALIDATION_FAILED,))
async def rename_me(request: Request, body: NameWanted) -> Me | Refusal:
    """Change the caller's display name; chat messages and tips carry it from now on.

    A user without a name of their own is called as their first token says.
    """
    name = clean_name(body.display_name)
    if not name:
        return invalid(FieldError("displayName", "must have a visible character"))
    await rename_user(request.context.postgres, request.user_id, name)
    request.context.user_changes.tell(Renamed(Person(request.user_id, name)))
    return await show_me(request)
