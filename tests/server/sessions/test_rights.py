"""A user's rights are those of the present token, in every room and over REST."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from domain.ids import UserId
from server.context import Context
from server.sessions import room_commands
from storage.database_errors import StorageUnavailable
from tests.server.sessions.test_bans_in_time import ban, closed_with
from tests.support.clients import Phone, go_live, token_of
from tests.support.servers import add_creator, add_fan, online, phone_of, running_server, settings

in_thread = trio.to_thread.run_sync
TICKETED: dict[str, Any] = {"type": "private", "ticketPriceTokens": 40}
METERED: dict[str, Any] = {"type": "private", "rateTokensPerMin": 60}
Change = Callable[[Phone, str | None], None]


@asynccontextmanager
async def online_as(context: Context, user_id: UserId, role: str | None) -> AsyncIterator[Phone]:
    phone = phone_of(context, user_id, role=role)
    await in_thread(phone.open)
    try:
        yield phone
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(phone.__exit__)


def refresh(phone: Phone, role: str | None) -> None:
    phone.token = token_of(phone.user_id, role=role)
    phone.ask_ok({"type": "token:refresh", "token": phone.token})


def resume(phone: Phone, role: str | None) -> None:
    phone.token = token_of(phone.user_id, role=role)
    phone.lose_network()
    phone.open(resume=True)
    assert phone.ready["resumed"]


def resume_over_the_old_connection(phone: Phone, role: str | None) -> None:
    """Resume in a newer connection, which replaces one that is still open."""
    phone.token = token_of(phone.user_id, role=role)
    phone.open(resume=True)
    assert phone.ready["resumed"]


CHANGES = pytest.mark.parametrize("change", [refresh, resume, resume_over_the_old_connection])


@CHANGES
async def test_a_plain_token_evicts_a_former_operator_from_a_ticketed_stream(context: Context, change: Change) -> None:
    creator, user = await add_creator(context, 60), await add_fan(context, 0)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        def story() -> None:
            channel = go_live(cleo, **TICKETED)["channel"]
            cleo.join(channel)
            assert olga.join(channel)["you"] == {"role": "operator"}
            change(olga, None)
            assert olga.wait_for("access:revoked")["channel"] == channel
            cleo.wait_for("member:left", userId=str(user))
            assert olga.join(channel)["error"] == "FORBIDDEN"
            change(olga, "operator")
            assert olga.join(channel)["you"] == {"role": "operator"}

        await in_thread(story)


@CHANGES
async def test_a_plain_token_starts_the_clock_of_a_former_operator(context: Context, change: Change) -> None:
    creator, user = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        def story() -> None:
            channel = go_live(cleo, **METERED)["channel"]
            cleo.join(channel)
            olga.join(channel)
            change(olga, None)
            olga.wait_for("block:charged", blockNo=1)
            olga.wait_for("block:charged", blockNo=2)
            change(olga, "operator")
            paid = olga.balance()
            cleo.ask_ok({"type": "chat:send", "channel": channel, "text": "still there?"})
            olga.wait_for("chat:new")
            assert olga.balance() == paid

        await in_thread(story)


async def test_a_former_operator_without_tokens_is_evicted_from_a_metered_stream(context: Context) -> None:
    creator, user = await add_creator(context, 60), await add_fan(context, 0)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        def story() -> None:
            channel = go_live(cleo, **METERED)["channel"]
            cleo.join(channel)
            olga.join(channel)
            refresh(olga, None)
            assert olga.wait_for("access:revoked")["reason"] == "insufficient_funds"
            assert olga.join(channel)["error"] == "INSUFFICIENT_TOKENS"

        await in_thread(story)


async def test_no_viewer_watches_for_nothing_because_the_database_is_away(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, user = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        async def away(*_: object) -> None:
            raise StorageUnavailable("away")

        def story() -> None:
            channel = go_live(cleo, **METERED)["channel"]
            cleo.join(channel)
            olga.join(channel)
            monkeypatch.setattr(room_commands, "open_viewing_session", away)
            refresh(olga, None)
            assert olga.wait_for("access:revoked")["channel"] == channel

        await in_thread(story)


async def test_no_viewer_watches_for_nothing_because_the_database_is_slow(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, user = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        async def never(*_: object) -> None:
            await trio.sleep_forever()

        def story() -> None:
            channel = go_live(cleo, **METERED)["channel"]
            cleo.join(channel)
            olga.join(channel)
            monkeypatch.setattr(room_commands, "open_viewing_session", never)
            refresh(olga, None)
            assert olga.wait_for("access:revoked")["channel"] == channel

        await in_thread(story)


async def test_a_client_that_disconnects_at_once_is_checked_all_the_same(context: Context) -> None:
    creator, user = await add_creator(context, 60), await add_fan(context, 0)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        def story() -> None:
            channel = go_live(cleo, **TICKETED)["channel"]
            cleo.join(channel)
            olga.join(channel)
            olga.send({"type": "token:refresh", "token": token_of(user)})
            olga.lose_network()
            cleo.wait_for("member:left", userId=str(user))

        await in_thread(story)


async def test_a_request_has_the_rights_of_its_own_token(context: Context) -> None:
    """Over REST a request has the rights of its own token, whatever the user's sessions have."""
    creator, user = await add_creator(context, 60), await add_fan(context, 100)
    async with online(context, creator) as cleo, online_as(context, user, "operator") as olga:

        def story() -> None:
            stream = go_live(cleo, **TICKETED)
            olga.join(stream["channel"])
            plain, operators = token_of(user), token_of(user, role="operator")
            tip = {"toCreatorId": str(creator), "amountTokens": 1, "context": {"streamId": stream["id"]}}

            def ask(token: str, method: str, path: str, **body: Any) -> int:
                headers = {"Authorization": f"Bearer {token}"}
                return olga.http.request(method, path, headers=headers, **body).status_code

            assert ask(plain, "POST", "/tips/send", json=tip) == 403
            assert ask(operators, "POST", "/tips/send", json=tip) == 200
            access = olga.http.get(
                f"/streams/{stream['id']}/access", headers={"Authorization": f"Bearer {plain}"}
            ).json()
            assert access == {"hasAccess": False, "reason": "ticket_required"}
            assert ask(plain, "GET", "/admin/rooms") == 403
            assert ask(operators, "GET", "/admin/rooms") == 200

        await in_thread(story)


async def test_a_token_for_another_audience_changes_nothing(dsn: str) -> None:
    usual = settings()
    wanted = msgspec.structs.replace(usual, auth=msgspec.structs.replace(usual.auth, audience="authenticated"))
    async with running_server(dsn, wanted) as context:
        creator, user = await add_creator(context, 60), await add_fan(context, 0)
        async with online(context, creator) as cleo, online(context, user) as finn:

            def story() -> None:
                channel = go_live(cleo, **TICKETED)["channel"]
                elsewhere = token_of(user, role="operator", audience="another")
                answer = finn.ask({"type": "token:refresh", "token": elsewhere})
                assert (answer["error"], answer["message"]) == ("UNAUTHENTICATED", "wrong audience")
                assert finn.join(channel)["error"] == "FORBIDDEN"

            await in_thread(story)


async def test_a_banned_user_refreshes_no_token(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    user = await add_fan(context, 0)
    async with online_as(context, user, None) as finn:
        monkeypatch.setattr(context.bans, "_evict", lambda user_id: None)  # the eviction is still on its way
        await ban(context, user)
        await context.bans.apply_changes()
        await in_thread(finn.send, {"type": "token:refresh", "token": token_of(user, role="operator")})
        assert await closed_with(finn) == 4403
