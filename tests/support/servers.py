"""A whole server in this process on a database of its own, and its users."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import trio

from domain.billing.posting import Kind, Posting
from domain.ids import PROMOTIONS, UserId, client_key
from server.app import open_listeners, open_server
from server.config.secrets import Secrets
from server.config.settings import LimitSettings, Settings
from server.context import Context
from server.ids import new_uuid
from storage.people.users import CreatorChange, become_creator
from tests.storage.ledger_pair import OPERATOR
from tests.support.clients import SECRET, Phone

BILLING_SECRET = "only-for-tests-billing-0123456789-0123456789"
SECRETS = Secrets(jwt_secret=SECRET, billing_webhook_secret=BILLING_SECRET)
UNHURRIED = msgspec.convert(
    {name: 50_000 for name in LimitSettings.__struct_fields__ if name not in ("exempt", "address_percent")},
    LimitSettings,
)


def settings(**calls: Any) -> Settings:
    """Return test settings: blocks of one second, ports chosen by the system, rate limits that tests do not reach."""
    defaults = Settings()
    return msgspec.structs.replace(
        defaults,
        http=msgspec.structs.replace(defaults.http, listen="127.0.0.1:0"),
        websocket=msgspec.structs.replace(defaults.websocket, listen="127.0.0.1:0"),
        limits=UNHURRIED,
        calls=msgspec.structs.replace(defaults.calls, **{"block_seconds": 1, **calls}),
    )


def with_section(section: str, **wanted: Any) -> Settings:
    """Return `settings()` with some settings of one section replaced."""
    usual = settings(block_seconds=30)
    return msgspec.structs.replace(usual, **{section: msgspec.structs.replace(getattr(usual, section), **wanted)})


@asynccontextmanager
async def running_server(
    dsn: str, wanted: Settings | None = None, secrets: Secrets = SECRETS
) -> AsyncIterator[Context]:
    """Run a server in this process; it drains at the end."""
    wanted = wanted or settings()
    with open_listeners(wanted) as listeners:
        async with open_server(wanted, secrets, dsn, listeners, alone=True) as context:
            yield context


async def add_fan(context: Context, tokens: int) -> UserId:
    """Add a user with tokens. Return their id."""
    user_id = UserId(new_uuid())
    await context.user_cache.ensure_user(user_id)
    if tokens:
        await give(context, user_id, tokens)
    return user_id


async def give(context: Context, user_id: UserId, tokens: int) -> None:
    """Credit promotional tokens to a user."""
    receipts = await context.actor.post(
        [
            Posting(
                key=client_key(user_id, str(new_uuid())),
                kind=Kind.CREDIT,
                operator_id=OPERATOR,
                debit=PROMOTIONS,
                credit=user_id,
                tokens=tokens,
            )
        ]
    )
    assert receipts[0].paid


async def add_creator(context: Context, rate_tokens_per_min: int, display_name: str = "Cleo") -> UserId:
    """Add a creator who accepts calls. Return their id."""
    user_id = UserId(new_uuid())
    await context.user_cache.ensure_user(user_id)
    await become_creator(
        context.postgres, user_id, CreatorChange(display_name=display_name, rate_tokens_per_min=rate_tokens_per_min)
    )
    return user_id


def phone_of(context: Context, user_id: UUID, *, role: str | None = None) -> Phone:
    """Return a device of this user that is not connected yet."""
    return Phone(context.http_port, context.websocket_port, user_id, role=role)


@asynccontextmanager
async def online(context: Context, user_id: UUID) -> AsyncIterator[Phone]:
    """Yield a device of this user with an open session."""
    phone = phone_of(context, user_id)
    await trio.to_thread.run_sync(phone.open)
    try:
        yield phone
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(phone.__exit__)
