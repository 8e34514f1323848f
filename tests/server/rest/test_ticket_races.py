"""A ticket is bought while its buyer is removed or blocked: the buyer gets no ticket and pays nothing."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import pytest
import trio

from domain.billing.posting import Posting, Receipt
from server.context import Context
from tests.server.rest.conftest import Caller, Users
from tests.server.rest.problems import check
from tests.support.clients import PATIENCE_SECONDS, Phone, go_live

in_thread = trio.to_thread.run_sync
REMOVED = "SELECT 1 FROM streams WHERE id = $1 AND $2 = ANY(removed)"
HELD = "SELECT 1 FROM stream_tickets WHERE stream_id = $1 AND refunded_at IS NULL"


async def test_a_buyer_who_is_removed_while_the_ticket_is_booked_gets_the_tokens_back(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan = await users.creator(), await users.fan(100)
    cleo = await users.phone(creator)
    stream = await in_thread(_go_live_and_join, cleo)

    async def remove() -> None:
        removal = {"type": "member:remove", "channel": stream["channel"], "userId": str(fan.user_id)}
        await in_thread(cleo.ask_ok, removal)
        with trio.fail_after(PATIENCE_SECONDS):
            while not await context.postgres.fetch(REMOVED, UUID(stream["id"]), fan.user_id):  # noqa: ASYNC110  # reason: it sets no event
                await trio.sleep(0.01)

    _before_it_is_booked(context, monkeypatch, remove)
    answer = await fan.post(f"/streams/{stream['id']}/tickets")
    assert answer.status_code == 403
    check(answer, 403, "FORBIDDEN")
    await _check_nothing_is_kept(context, stream["id"], fan)


async def test_a_buyer_who_is_blocked_while_the_ticket_is_booked_gets_the_tokens_back(
    context: Context, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator, fan = await users.creator(), await users.fan(100)
    stream = await in_thread(_go_live_and_join, await users.phone(creator))

    async def block() -> None:
        assert (await creator.put(f"/creators/me/blocks/{fan.user_id}")).status_code == 200

    _before_it_is_booked(context, monkeypatch, block)
    check(await fan.post(f"/streams/{stream['id']}/tickets"), 409, "CREATOR_UNAVAILABLE")
    await _check_nothing_is_kept(context, stream["id"], fan)


def _go_live_and_join(cleo: Phone) -> dict[str, str]:
    stream: dict[str, str] = go_live(cleo, type="private", ticketPriceTokens=40)
    cleo.join(stream["channel"])
    return stream


def _before_it_is_booked(
    context: Context, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen after the sale was allowed and before the ticket is booked."""
    real = context.actor.post

    async def post(postings: Sequence[Posting]) -> list[Receipt]:
        await happens()
        return await real(postings)

    monkeypatch.setattr(context.actor, "post", post)


async def _check_nothing_is_kept(context: Context, stream_id: str, fan: Caller) -> None:
    assert await context.postgres.fetch(HELD, UUID(stream_id)) == []
    assert (await fan.get("/wallet")).json()["balance"] == 100
