"""Bans and revoked overlay tokens take effect at once, whatever was under way when they were stored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from domain.ids import UserId
from domain.instant import Instant, duration
from domain.refusals import Refusal
from server.access import user_cache as server_users
from server.broadcast.codec import Encoding
from server.clock import Clock
from server.context import Context
from server.ids import new_uuid
from server.sessions import authenticator as server_authenticator
from server.sessions import bans as server_bans
from storage.people.bans import NewBan, StandingBans, add_ban, lift_ban, standing_bans
from storage.people.overlay_tokens import find_overlay_token, revoke_overlay_token
from storage.people.users import ensure_user
from tests.server.gateway.test_replaced_connections import Held
from tests.server.sessions.test_overlays import make_token, scene_of
from tests.support.clients import PATIENCE_SECONDS, SECRET, Phone, go_live
from tests.support.servers import add_creator, add_fan, online
from tests.torture.raw import Raw, Target, raw_websocket

in_thread = trio.to_thread.run_sync


class InTwoHours(Clock):
    """A clock that is two hours ahead."""

    def now(self) -> Instant:
        return super().now() + duration(7200)


async def ban(context: Context, user_id: UserId, until: datetime | None = None) -> None:
    """Ban as another server does: this one has to find out."""
    operator = await add_fan(context, 0)
    made = await add_ban(context.postgres, NewBan(new_uuid(), user_id, "rude", operator, until))
    assert not isinstance(made, Refusal), made


@asynccontextmanager
async def scene_online(context: Context, creator: UserId, secret: str) -> AsyncIterator[Phone]:
    """Connect an overlay."""
    scene = scene_of(context, creator, secret)
    await in_thread(scene.open)
    try:
        yield scene
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(scene.__exit__)


async def close_code_after(raw: Raw) -> int | None:
    with trio.fail_after(PATIENCE_SECONDS):
        return await raw.end()


async def closed_with(phone: Phone) -> int | None:
    await in_thread(phone.wait_closed)
    return phone.close_code


async def test_a_ban_that_lands_while_the_user_is_looked_up_opens_no_session(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, fan = Held(ensure_user), UserId(new_uuid())
    await ensure_user(context.postgres, fan)
    monkeypatch.setattr(server_users, "ensure_user", held)
    target = Target(context.websocket_port, SECRET, "")
    async with raw_websocket(target, Encoding.JSON) as raw:
        await raw.send_command("session:open", token=target.token(fan))
        await held.called.wait()
        monkeypatch.setattr(server_users, "ensure_user", ensure_user)
        await ban(context, fan)
        await context.bans.apply_changes()
        held.go_on.set()
        assert await close_code_after(raw) == 4403
    assert context.sessions.of(fan) == []


async def test_the_overlays_of_a_banned_creator_are_closed_and_no_new_one_opens(context: Context) -> None:
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:
        token = await in_thread(make_token, cleo)
        async with scene_online(context, creator, token["secret"]) as scene:
            await ban(context, creator)
            assert await closed_with(scene) == await closed_with(cleo) == 4403
        target = Target(context.websocket_port, SECRET, "")
        async with raw_websocket(target, Encoding.JSON) as raw:
            await raw.send_command("session:open", token=token["secret"])
            assert await close_code_after(raw) == 4403


async def test_a_token_that_another_server_revokes_disconnects_its_overlay_within_a_second(context: Context) -> None:
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:
        revoked, kept = await in_thread(make_token, cleo), await in_thread(make_token, cleo)
        async with (
            scene_online(context, creator, revoked["secret"]) as scene,
            scene_online(context, creator, kept["secret"]) as other,
        ):
            await revoke_overlay_token(context.postgres, creator, revoked["overlayTokenId"])
            await context.bans.apply_changes()
            assert await closed_with(scene) == 4401
            assert (await in_thread(lambda: other.ask({"type": "ping"})))["type"] == "pong"


async def test_a_token_that_is_revoked_while_it_is_looked_up_is_noticed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator = await add_creator(context, 60)

    async def answered_late(*arguments: Any) -> Any:
        """The database answered before the token was revoked; that answer arrives after."""
        found = await find_overlay_token(*arguments)
        await revoke_overlay_token(context.postgres, creator, found.id)  # type: ignore[union-attr]
        return found

    async with online(context, creator) as cleo:
        token = await in_thread(make_token, cleo)
        monkeypatch.setattr(server_authenticator, "find_overlay_token", answered_late)
        async with scene_online(context, creator, token["secret"]) as scene:
            await context.bans.apply_changes()
            assert await closed_with(scene) == 4401


async def test_an_older_list_of_bans_never_replaces_a_newer_one(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await add_fan(context, 0), await add_fan(context, 0)
    await ban(context, first)
    older = await standing_bans(context.postgres)
    await ban(context, second)
    await context.bans.apply_changes()

    async def overtaken(_: object) -> StandingBans:
        """The answer to a query that was sent before the second ban."""
        return older

    monkeypatch.setattr(server_bans, "standing_bans", overtaken)
    await ban(context, await add_fan(context, 0))  # so that the list is read again
    await context.bans.apply_changes()
    assert context.bans.contains(first) and context.bans.contains(second)


async def test_a_lifted_or_expired_ban_admits_again_and_a_new_one_evicts_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan = await add_fan(context, 0)
    for until in (None, datetime.now(UTC) + timedelta(hours=1), None):
        async with online(context, fan) as phone:
            await ban(context, fan, until)
            await context.bans.apply_changes()
            assert await closed_with(phone) == 4403
        assert context.bans.contains(fan)
        if until is None:
            await lift_ban(context.postgres, fan, fan)
            await context.bans.apply_changes()
        else:
            monkeypatch.setattr(context.bans, "_clock", InTwoHours())
        assert not context.bans.contains(fan)


async def test_a_room_that_opens_after_its_owner_was_banned_is_ended(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request was under way when the ban was stored."""
    creator = await add_creator(context, 60)
    async with online(context, creator) as cleo:
        stream = await in_thread(go_live, cleo)
        room = context.registry.find_channel(stream["channel"])
        assert room is not None
        monkeypatch.setattr(context.bans, "_registry", ())
        await ban(context, creator)
        await context.bans.apply_changes()
        monkeypatch.setattr(context.bans, "_registry", context.registry)
        await context.bans.apply_changes()
        with trio.fail_after(PATIENCE_SECONDS):
            await room.settled.wait()
        row = await context.postgres.fetchrow("SELECT end_reason FROM streams WHERE id = $1", room.id)
        assert row is not None and row[0] == "admin"
