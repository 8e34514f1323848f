"""A session never receives an older balance after a newer one, whichever source sent it (contract.md, Wallets)."""

from typing import Any

import pytest
import trio

from domain.protocol.events import WalletChanged
from server.context import Context
from server.gateway import protocol
from storage.ledger.wallets import find_wallet
from tests.support.clients import Phone
from tests.support.servers import add_fan, give, online

in_thread = trio.to_thread.run_sync


def changed(balance: int, cause: str = "block") -> WalletChanged:
    return WalletChanged(balance=balance, cause=cause, tokens=0, ref={})


def balances(phone: Phone) -> list[int]:
    return [event["balance"] for event in phone.all_events("wallet:changed")]


async def answered(phone: Phone) -> None:
    """Wait until all that was sent to the phone before has arrived."""
    await in_thread(lambda: phone.ask({"type": "ping"}))


async def test_a_late_event_of_a_room_has_the_balance_of_the_earlier_posting(context: Context) -> None:
    """The room announces its block when it handles the receipt; the actor has announced a later tip by then."""
    fan = await add_fan(context, 0)
    async with online(context, fan) as phone:
        for balance, n in ((90, 2), (80, 4), (85, 3), (70, 5), (80, 4)):
            context.sessions.send_to_user(fan, changed(balance), n)
        await answered(phone)
        assert balances(phone) == [90, 80, 80, 70, 70]


async def test_an_overtaken_read_of_the_wallet_does_not_send_the_older_balance(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    fan = await add_fan(context, 10)

    async def overtaken(*arguments: Any) -> Any:
        """Read the wallet; five tokens are then credited and announced, before the read returns."""
        found = await find_wallet(*arguments)
        await give(context, fan, 5)
        return found

    async with online(context, fan) as phone:
        await in_thread(phone.lose_network)
        monkeypatch.setattr(protocol, "find_wallet", overtaken)
        await in_thread(lambda: phone.open(resume=True))
        await in_thread(lambda: phone.wait_for("wallet:changed", cause="resumed"))
        assert balances(phone) == [15, 15]


async def test_a_balance_that_was_sent_into_a_dead_connection_is_sent_again_after_the_resume(context: Context) -> None:
    """The server did not know yet that nobody reads there."""
    fan = await add_fan(context, 10)
    async with online(context, fan) as phone:
        first = phone._socket
        await give(context, fan, 5)
        await in_thread(lambda: phone.open(resume=True))
        event = await in_thread(lambda: phone.wait_for("wallet:changed", cause="resumed"))
        assert event["balance"] == 15
        assert first is not None
        await in_thread(first.close)


async def test_each_session_is_sent_what_it_does_not_know(context: Context) -> None:
    fan = await add_fan(context, 0)
    async with online(context, fan) as early:
        context.sessions.send_to_user(fan, changed(50), 9)
        await answered(early)
        async with online(context, fan) as late:
            context.sessions.send_to_user(fan, changed(60), 8)
            await answered(early)
            await answered(late)
            assert (balances(early), balances(late)) == ([50, 50], [60])
