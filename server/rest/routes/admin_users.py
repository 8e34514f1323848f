"""Operators: search users, and read one user's account and current sessions."""

from typing import Annotated

import msgspec
from msgspec import Meta

from domain.email_address import MAX_EMAIL
from domain.ids import MemberId, RoomId, SessionId, UserId
from domain.instant import rfc3339
from domain.refusals import Code, Refusal
from domain.text import clean
from server.rest.query import Listed, OperatorPaging, OperatorPeriodPaging, page_of
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Needs, Routes
from server.rest.routes.wallet import WalletCard, read_account
from server.rest.strict_json import FieldError
from server.sessions.session import Session
from storage.paging import Paged
from storage.people.bans import Ban, find_ban
from storage.people.user_search import FoundUser, UserFilter, find_listed_user, search_users
from storage.people.users import Creator, find_creator

NO_SUCH_USER = Refusal(Code.NOT_FOUND, "No such user")
READS_USER = (Code.VALIDATION_FAILED, Code.NOT_FOUND)

routes = Routes("/api/admin/users")


class UsersQuery(OperatorPeriodPaging, frozen=True, rename="camel"):
    """A filter of users by id, by the beginning of name or e-mail address, and by the time of their first request."""

    user_id: Annotated[UserId | None, Meta(description="The `sub` of the user's tokens.")] = None
    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=80)] | None,
        Meta(description="The beginning of the display name; case does not matter.", examples=["cle"]),
    ] = None
    email: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_EMAIL)] | None,
        Meta(description="The beginning of the e-mail address; case does not matter.", examples=["cleo@example.com"]),
    ] = None


class UserAccount(msgspec.Struct, frozen=True, rename="camel"):
    """One user as operators see them."""

    user: Annotated[FoundUser, Meta(description="The user.")]
    creator: Annotated[Creator | None, Meta(description="The creator's terms; null for a user who is no creator.")]
    wallet: Annotated[WalletCard, Meta(description="The wallet and the spend limits.")]
    ban: Annotated[Ban | None, Meta(description="The ban in force; null without one.")]
    online: Annotated[bool, Meta(description="Whether a session of the user is connected to this server.")]


class UserWallet(msgspec.Struct, frozen=True, rename="camel"):
    """The wallet of one user."""

    user_id: Annotated[UserId, Meta(description="The owner of the wallet.")]
    wallet: Annotated[WalletCard, Meta(description="The wallet and the spend limits.")]


class RoomReference(msgspec.Struct, frozen=True, rename="camel"):
    """A live room that a session has joined."""

    room_id: Annotated[RoomId, Meta(description="The id of the call or stream.")]
    channel: Annotated[str, Meta(description="The channel of the room.")]


class SessionCard(msgspec.Struct, frozen=True, rename="camel"):
    """One websocket session of a user, or of an overlay of the user."""

    session_id: Annotated[SessionId, Meta(description="The id of the session.")]
    member_id: Annotated[MemberId, Meta(description="The id of the session as a member of rooms.")]
    connected: Annotated[
        bool, Meta(description="Whether it has a connection; without one it can be resumed for a while.")
    ]
    is_overlay: Annotated[bool, Meta(description="Whether it was opened with an overlay token.")]
    is_operator: Annotated[bool, Meta(description="Whether its present token is an operator's.")]
    token_expires_at: Annotated[
        str, Meta(description="The expiry of its present token.", examples=["2026-01-31T12:00:00.000Z"])
    ]
    rooms: Annotated[list[RoomReference], Meta(description="The live rooms that it has joined.")]


@routes.get(needs=Needs.OPERATOR, refuses=(Code.VALIDATION_FAILED,))
async def search(request: Request, query: UsersQuery) -> Listed[FoundUser] | Refusal:
    """Users by id, by the beginning of their display name or of their e-mail address, newest first.

    The address is the one that the configured claim of a user's tokens named last. The period refers to a user's first
    request.
    """
    name = None if query.name is None else clean(query.name)
    email = None if query.email is None else clean(query.email)
    for field, text in (("name", name), ("email", email)):
        if text == "":
            return invalid(FieldError(field, "must have a visible character"))
    await request.note_read(query.user_id)
    wanted = UserFilter(query.user_id, name, email, query.since, query.until)
    return request.listed(await search_users(request.context.postgres, query.page, wanted), query)


@routes.get("/{userId}", needs=Needs.OPERATOR, refuses=(Code.NOT_FOUND,))
async def show_account(request: Request, user_id: UserId) -> UserAccount | Refusal:
    """One user: name, terms as a creator, wallet, limits, the ban in force, and whether they are online."""
    postgres = request.context.postgres
    user = await find_listed_user(postgres, user_id)
    if user is None:
        return NO_SUCH_USER
    await request.note_read(user_id)
    _, wallet = await read_account(request, user_id)
    return UserAccount(
        user=user,
        creator=await find_creator(postgres, user_id) if user.is_creator else None,
        wallet=wallet,
        ban=await find_ban(postgres, user_id),
        online=request.context.sessions.online(user_id),
    )


@routes.get("/{userId}/wallet", needs=Needs.OPERATOR, refuses=(Code.NOT_FOUND,))
async def show_wallet(request: Request, user_id: UserId) -> UserWallet | Refusal:
    """The balance of one user and its parts, lifetime sums and spend limits."""
    unknown = await begin_read(request, user_id)
    if unknown is not None:
        return unknown
    _, wallet = await read_account(request, user_id)
    return UserWallet(user_id, wallet)


@routes.get("/{userId}/sessions", needs=Needs.OPERATOR, refuses=READS_USER)
async def list_sessions(request: Request, user_id: UserId, query: OperatorPaging) -> Listed[SessionCard] | Refusal:
    """The present sessions of one user and of their overlays on this server, newest first.

    Sessions are kept in memory only: other servers on the same database list their own, and ended ones are not listed.
    """
    unknown = await begin_read(request, user_id)
    if unknown is not None:
        return unknown
    found = page_of(request.context.sessions.answering_for(user_id), query, lambda session: session.id)
    return request.listed(Paged([_session(session) for session in found.items], *found[1:]), query)


async def begin_read(request: Request, user_id: UserId) -> Refusal | None:
    """Record that the caller reads this user's data; refuses an unknown user. Raises StorageUnavailable."""
    if await find_listed_user(request.context.postgres, user_id) is None:
        return NO_SUCH_USER
    await request.note_read(user_id)
    return None


def _session(session: Session) -> SessionCard:
    joined = session.live_memberships().values()
    return SessionCard(
        session_id=session.id,
        member_id=session.member_id,
        connected=session.connection is not None,
        is_overlay=session.identity.overlay_of is not None,
        is_operator=session.identity.is_operator,
        token_expires_at=rfc3339(session.identity.expires_at * 1_000_000),
        rooms=[RoomReference(each.room.id, each.room.channel) for each in joined if each.admitted],
    )
