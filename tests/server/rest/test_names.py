"""Names of users: from their first token, or by PUT /api/me; chat and tips carry the present one."""

from typing import Any

import httpx
import pytest
import trio

from domain.ids import UserId
from server.ids import new_uuid
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check

in_thread = trio.to_thread.run_sync


def caller_named(web: httpx.AsyncClient, name: Any, user_id: UserId | None = None) -> Caller:
    """A user whose token holds this name."""
    caller = Caller(web, user_id or UserId(new_uuid()))
    caller.claim(user_metadata={"full_name": name})
    return caller


async def name_of(caller: Caller) -> str:
    name: str = (await caller.get("/me")).json()["user"]["displayName"]
    return name


async def test_a_user_is_called_as_the_first_token_with_a_name_says(web: httpx.AsyncClient, users: Users) -> None:
    known = users.stranger()
    assert await name_of(known) == "", "their token has no name"
    assert await name_of(caller_named(web, " Finn\n\u202eO'Hara ", known.user_id)) == "Finn O'Hara"
    assert await name_of(caller_named(web, "Another", known.user_id)) == "Finn O'Hara"
    assert await name_of(caller_named(web, "Faye")) == "Faye"


@pytest.mark.parametrize("name", [None, 7, ["Finn"], {"a": 1}, "", "\u200b\n", "x" * 4000, "a\ud800b", "\x00"])
async def test_a_name_that_cannot_be_shown_is_cut_or_ignored(web: httpx.AsyncClient, name: Any) -> None:
    caller = caller_named(web, name)
    expected = {"x": "x" * 80, "a": "ab"}.get(name[:1], "") if isinstance(name, str) else ""
    assert await name_of(caller) == expected
    assert await name_of(caller) == expected


async def test_a_user_takes_another_name_and_running_sessions_use_it(users: Users) -> None:
    fan, creator = await users.fan(), await users.creator()
    _, fans, creators = await users.start_call(fan, creator)
    assert (await fan.put("/me", {"displayName": " Finn "})).json()["user"]["displayName"] == "Finn"
    channel = next(iter(fans.positions))
    await in_thread(fans.ask_ok, {"type": "chat:send", "channel": channel, "text": "hello"})
    said = await in_thread(creators.wait_for, "chat:new")
    assert said["from"] == {"userId": str(fan.user_id), "displayName": "Finn"}
    await creator.put("/creators/me", {"displayName": "Clea"})
    await in_thread(creators.ask_ok, {"type": "chat:send", "channel": channel, "text": "hi"})
    answered = await in_thread(lambda: fans.wait_for("chat:new", text="hi"))
    assert answered["from"]["displayName"] == "Clea"


async def test_a_name_needs_a_visible_character_and_has_at_most_80(users: Users) -> None:
    fan = await users.fan()
    for name in ("", " \n", "\u200b", "x" * 81, 7, None):
        fields = check(await fan.put("/me", {"displayName": name}), 400, "VALIDATION_FAILED")
        assert [error["field"] for error in fields["errors"]] == ["displayName"]
    check(await fan.put("/me", {}), 400, "VALIDATION_FAILED")
