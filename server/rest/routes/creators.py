"""Creators: public cards, becoming a creator, and blocking users."""

import re
from collections.abc import Collection
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from domain.amounts import MAX_POSTING_TOKENS
from domain.billing.block import BlockPrice
from domain.ids import UserId
from domain.protocol.events import Person
from domain.refusals import Code, Refusal
from domain.text import MAX_NAME, clean, clean_name
from server.addresses import HOST_AND_PORT
from server.changes.user_changes import BlockChanged, Renamed
from server.rest.query import Listed, Paging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Routes
from server.rest.strict_json import FieldError
from storage.paging import Paged
from storage.people.creator_blocks import BlockedUser, block_user, creators_blocking, list_blocked, unblock_user
from storage.people.users import Creator, CreatorChange, become_creator, find_creator, list_creators

T = TypeVar("T")

MAX_ABOUT = 500  # characters: a few sentences
MAX_PICTURE_URL = 500  # characters; the column holds as many

# RFC 3986, without a user name, which browsers would send as a password to another host.
_HTTPS = re.compile(rf"https://{HOST_AND_PORT.pattern}(?:[/?#][A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]*)?")

routes = Routes("/api/creators")


class CreatorCard(msgspec.Struct, frozen=True, rename="camel"):
    """The public facts about a creator; `busy` says that the creator is in a call or live."""

    user_id: UserId
    display_name: str
    about: str
    picture_url: str
    rate_tokens_per_min: int
    accepts_calls: bool
    online: bool
    busy: bool


class CreatorTerms(msgspec.Struct, frozen=True, rename="camel"):
    """The terms and the profile of a creator; each that is not sent stays as it is."""

    rate_tokens_per_min: Annotated[int, msgspec.Meta(ge=1, le=MAX_POSTING_TOKENS)] | UnsetType = UNSET
    display_name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)] | None = None
    accepts_calls: bool | UnsetType = UNSET
    about: Annotated[str, msgspec.Meta(max_length=MAX_ABOUT)] | UnsetType = UNSET
    picture_url: Annotated[str, msgspec.Meta(max_length=MAX_PICTURE_URL)] | UnsetType = UNSET


class CreatorsQuery(Paging, frozen=True, rename="camel"):
    """Filters of creators: by the beginning of their names, and by whether they are online."""

    name: Annotated[
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)] | None,
        msgspec.Meta(description="The beginning of the display name; case does not matter.", examples=["cle"]),
    ] = None
    presence: Annotated[
        Literal["online", "offline"] | None,
        msgspec.Meta(description="Only creators who appear so to the caller.", examples=["online"]),
    ] = None


class Blocked(msgspec.Struct, frozen=True, rename="camel"):
    """The user, and whether the caller blocks them now."""

    user_id: UserId
    blocked: bool


@routes.put("/me", refuses=(Code.VALIDATION_FAILED,))
async def update_creator(request: Request, body: CreatorTerms) -> CreatorCard | Refusal:
    """Become a creator, which needs a rate, or change the terms that are sent; a new creator accepts calls.

    A new rate applies from the next call on; live calls keep theirs. A rate at which one block would cost more than a
    payment may have is refused.
    """
    change = CreatorChange(
        rate_tokens_per_min=_sent(body.rate_tokens_per_min),
        accepts_calls=_sent(body.accepts_calls),
        display_name=None if body.display_name is None else clean_name(body.display_name),
        about=None if body.about is UNSET else clean(body.about),
        picture_url=_sent(body.picture_url),
    )
    block_seconds = request.context.settings.calls.block_seconds
    if (fault := _fault(change, block_seconds)) is not None:
        return invalid(fault)
    creator = await become_creator(request.context.postgres, request.user_id, change)
    if creator is None:
        return invalid(FieldError("rateTokensPerMin", "is required to become a creator"))
    request.context.user_changes.tell(Renamed(Person(request.user_id, creator.display_name)))
    return _card(request, creator)


def _sent(value: T | UnsetType) -> T | None:
    return None if value is UNSET else value


def _fault(change: CreatorChange, block_seconds: int) -> FieldError | None:
    """Return why the change is refused, or None."""
    if change.display_name == "":
        return FieldError("displayName", "must have a visible character")
    rate = change.rate_tokens_per_min
    if rate is not None and BlockPrice(rate, block_seconds).tokens(1) > MAX_POSTING_TOKENS:
        return FieldError("rateTokensPerMin", f"makes a block cost more than {MAX_POSTING_TOKENS} tokens")
    if change.picture_url and not _HTTPS.fullmatch(change.picture_url):
        return FieldError("pictureUrl", "must be an https address without a user name")
    return None


@routes.get(refuses=(Code.VALIDATION_FAILED,))
async def list_cards(request: Request, query: CreatorsQuery) -> Listed[CreatorCard] | Refusal:
    """Creators, newest first: all, or those whose names begin with `name` or who have this `presence`.

    To users whom a creator has blocked, the creator appears offline.
    """
    name = None if query.name is None else clean_name(query.name)
    if name == "":
        return invalid(FieldError("name", "must have a visible character"))
    among, but = None, None
    if query.presence == "online":
        among = await _online_to(request)
    elif query.presence == "offline":
        but = await _online_to(request)
    found = await list_creators(request.context.postgres, query.page, name, among, but)
    hidden = await creators_blocking(
        request.context.postgres, [creator.user_id for creator in found.items], request.user_id
    )
    return request.listed(Paged([_card_for(request, creator, hidden) for creator in found.items], *found[1:]), query)


@routes.get("/{userId}", refuses=(Code.NOT_FOUND,))
async def show_card(request: Request, user_id: UserId) -> CreatorCard | Refusal:
    """A creator's public card. To users whom the creator has blocked, the creator appears offline."""
    creator = await find_creator(request.context.postgres, user_id)
    if creator is None:
        return Refusal(Code.NOT_FOUND, "No such creator")
    return _card_for(request, creator, await creators_blocking(request.context.postgres, [user_id], request.user_id))


@routes.get("/me/blocks", refuses=(Code.VALIDATION_FAILED,))
async def list_own_blocks(request: Request, query: Paging) -> Listed[BlockedUser]:
    """The users whom the caller has blocked, the latest first."""
    return request.listed(await list_blocked(request.context.postgres, request.user_id, query.page), query)


@routes.put("/me/blocks/{userId}", refuses=(Code.NOT_A_CREATOR, Code.NOT_FOUND))
async def block(request: Request, user_id: UserId) -> Blocked | Refusal:
    """Block a user: to them, this creator is unavailable from now on. Idempotent.

    A call with the user ends, and the user is removed from the creator's streams. Their tickets are refunded from
    escrow or from the creator's balance; operators see refunds that the balance does not cover.
    """
    refusal = await block_user(
        request.context.postgres, request.user_id, user_id, most=request.context.settings.limits.blocked_users
    )
    if refusal is not None:
        return refusal
    request.context.user_changes.tell(BlockChanged(request.user_id, user_id, True))
    request.context.tickets.request_round()
    return Blocked(user_id, True)


@routes.delete("/me/blocks/{userId}")
async def unblock(request: Request, user_id: UserId) -> Blocked:
    """Unblock a user. Idempotent. Refunded tickets stay refunded."""
    await unblock_user(request.context.postgres, request.user_id, user_id)
    request.context.user_changes.tell(BlockChanged(request.user_id, user_id, False))
    return Blocked(user_id, False)


async def _online_to(request: Request) -> Collection[UserId]:
    """Return the creators who appear online to the caller."""
    online = await request.context.online_creators.find()
    return set(online) - await creators_blocking(request.context.postgres, online, request.user_id)


def _card_for(request: Request, creator: Creator, hidden: Collection[UserId]) -> CreatorCard:
    """Return the card that the caller may see; `hidden` are the creators who have blocked the caller."""
    card = _card(request, creator)
    return msgspec.structs.replace(card, online=False, busy=False) if creator.user_id in hidden else card


def _card(request: Request, creator: Creator) -> CreatorCard:
    return CreatorCard(
        creator.user_id,
        creator.display_name,
        creator.about,
        creator.picture_url,
        creator.rate_tokens_per_min,
        creator.accepts_calls,
        request.context.sessions.online(creator.user_id),
        creator.busy,
    )
