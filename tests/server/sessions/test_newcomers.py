"""Newcomers to a stream are shown nothing that muted, removed, blocked or banned users wrote."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio

from domain.ids import UserId
from server.context import Context
from server.ids import new_uuid
from tests.support.clients import Phone, go_live, send_tip
from tests.support.servers import add_creator, add_fan, online, phone_of, running_server, settings

Silence = Callable[[Context, Phone, str, UserId], None]


def by_command(command: str) -> Silence:
    def silence(_: Context, creators: Phone, channel: str, user_id: UserId) -> None:
        creators.ask_ok({"type": command, "channel": channel, "userId": str(user_id)})

    return silence


def block(_: Context, creators: Phone, channel: str, user_id: UserId) -> None:
    assert creators.http.put(f"/creators/me/blocks/{user_id}").status_code == 200


def ban(context: Context, creators: Phone, channel: str, user_id: UserId) -> None:
    operator = phone_of(context, new_uuid(), role="operator")
    try:
        answer = operator.http.post("/admin/bans", json={"userId": str(user_id), "reason": "rude"})
        assert answer.status_code == 201, answer.text
    finally:
        operator.http.close()


SILENCES = {"muted": by_command("member:mute"), "removed": by_command("member:remove"), "blocked": block, "banned": ban}


def shown(history: list[dict[str, Any]]) -> list[Any]:
    return [past.get("text", past.get("message")) for past in history]


@asynccontextmanager
async def newcomers(context: Context, creator: UserId) -> AsyncIterator[Callable[[str], list[list[Any]]]]:
    """Join a channel as a stranger and as two overlays of its creator; return what each is shown."""
    async with (
        online(context, await add_fan(context, 0)) as stranger,
        online(context, creator) as late,
        online(context, creator) as later,
    ):

        def join(channel: str) -> list[list[Any]]:
            overlay = {"type": "room:join", "channel": channel, "as": "overlay"}
            welcomes = [
                stranger.join(channel),
                late.ask(overlay),
                later.ask({**overlay, "sinceTipId": str(UUID(int=1))}),
            ]
            return [shown(welcome["history"]) for welcome in welcomes]

        yield join


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES)
async def test_newcomers_are_not_shown_what_silenced_users_wrote_even_after_a_restart(
    dsn: str, silence: Silence
) -> None:
    async with running_server(dsn, settings()) as context:
        creator, fan, other = await add_creator(context, 60), await add_fan(context, 100), await add_fan(context, 100)
        async with online(context, creator) as creators, online(context, fan) as fans, online(context, other) as others:

            def story() -> str:
                channel = str(go_live(creators)["channel"])
                for phone in (creators, fans, others):
                    phone.join(channel)
                fans.ask_ok({"type": "chat:send", "channel": channel, "text": "buy followers"})
                others.ask_ok({"type": "chat:send", "channel": channel, "text": "hello"})
                send_tip(fans, channel, 5, message="at example.com")
                send_tip(others, channel, 6, message="for the soup")
                silence(context, creators, channel, fan)
                return channel

            channel = await trio.to_thread.run_sync(story)
            async with newcomers(context, creator) as join:
                seen, overlay, since = await trio.to_thread.run_sync(join, channel)
                assert seen == ["hello", None, "for the soup"]
                assert overlay == []
                assert since == [None, "for the soup"]
    async with running_server(dsn, settings()) as context, newcomers(context, creator) as join:
        for history in (await trio.to_thread.run_sync(join, channel))[::2]:
            assert history == [None, "for the soup"]
