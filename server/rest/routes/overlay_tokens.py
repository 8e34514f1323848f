"""Overlay tokens: read-only tokens that a creator gives to streaming software."""

import secrets
from typing import Annotated
from uuid import UUID

import msgspec

from domain.ids import UserId
from domain.refusals import Code, Refusal
from domain.text import clean_name
from server.close_codes import CloseCode
from server.ids import new_uuid
from server.rest.query import Listed, Paging
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.route import Routes
from server.rest.strict_json import FieldError
from storage.people.overlay_tokens import (
    PREFIX,
    OverlayTokenCard,
    add_overlay_token,
    list_overlay_tokens,
    revoke_overlay_token,
)

SECRET_BYTES = 32  # 256 bits

routes = Routes("/api/overlay-tokens")


class OverlayTokenWanted(msgspec.Struct, frozen=True, rename="camel"):
    """A name by which the creator recognises the token, such as that of its scene or machine."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class OverlayTokenMade(OverlayTokenCard, frozen=True, rename="camel"):
    """The token and its secret, which is shown only here."""

    secret: str


@routes.post(status=201, refuses=(Code.VALIDATION_FAILED, Code.NOT_A_CREATOR, Code.FORBIDDEN))
async def make(request: Request, body: OverlayTokenWanted) -> OverlayTokenMade | Refusal:
    """Create a token, as a creator. It gives read-only access to the creator's own rooms until it is revoked.

    A creator has at most `overlays.tokens_per_creator` of them; another one is refused with FORBIDDEN.
    """
    name = clean_name(body.name)
    if not name:
        return invalid(FieldError("name", "must have a visible character"))
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    settings = request.context.settings
    limit, kept = settings.overlays.tokens_per_creator, settings.limits.overlay_tokens_revoked
    card = await add_overlay_token(
        request.context.postgres, new_uuid(), request.user_id, name, secret, limit=limit, kept=kept
    )
    return card if isinstance(card, Refusal) else OverlayTokenMade(**msgspec.structs.asdict(card), secret=secret)


@routes.get(refuses=(Code.VALIDATION_FAILED,))
async def list_own(request: Request, query: Paging) -> Listed[OverlayTokenCard]:
    """The caller's tokens, newest first, with the latest hundred revoked ones."""
    return request.listed(await list_overlay_tokens(request.context.postgres, request.user_id, query.page), query)


@routes.delete("/{tokenId}", refuses=(Code.NOT_FOUND,))
async def revoke(request: Request, token_id: UUID) -> OverlayTokenCard | Refusal:
    """Revoke a token and close its sessions. Idempotent."""
    card = await revoke_overlay_token(request.context.postgres, request.user_id, token_id)
    if card is None:
        return Refusal(Code.NOT_FOUND, "No such overlay token")
    request.context.sessions.evict(UserId(token_id), CloseCode.UNAUTHENTICATED, "the overlay token was revoked")
    return card
