"""Two servers with a broker between them: what one commits, the users and rooms of the other learn at once."""

from functools import partial

import trio
from msgspec.structs import replace

from domain.billing.posting import Outcome, Receipt
from domain.ids import UserId
from server.changes.posting_feed import RECEIPTS_MAX, PostingFeed
from server.ids import new_uuid
from tests.server.cluster.conftest import Pair
from tests.server.cluster.memory_bus import connected_buses
from tests.storage.ledger_pair import tip
from tests.support.clients import go_live, ring_and_join
from tests.support.servers import add_creator, add_fan, give, online, running_server, settings

in_thread = trio.to_thread.run_sync


async def test_both_parties_of_a_tip_hear_of_it_on_every_server(pair: Pair) -> None:
    fan, creator = await add_fan(pair.first, 100), await add_creator(pair.first, 60)
    body = {"toCreatorId": str(creator), "amountTokens": 40, "message": "between us"}
    async with (
        online(pair.first, fan) as giver,
        online(pair.second, fan) as finn,
        online(pair.second, creator) as cleo,
    ):
        tipped = await in_thread(partial(giver.http.post, "/tips/send", json=body))
        assert tipped.status_code == 200, tipped.text
        for phone, balance, tokens in ((finn, 60, -40), (cleo, 40, 40)):
            changed = await in_thread(partial(phone.wait_for, "wallet:changed"))
            assert (changed["balance"], changed["tokens"], changed["cause"]) == (balance, tokens, "tip")
            assert changed["ref"] == {"tipId": tipped.json()["tip"]["tipId"]}
        assert "between us" not in str([*finn.events, *cleo.events]), "no text of a user leaves the server"


async def test_a_fan_who_runs_low_is_credited_on_the_other_server(pair: Pair) -> None:
    fan, creator = await add_fan(pair.first, 40), await add_creator(pair.first, 60)
    async with online(pair.first, fan) as finn, online(pair.first, creator) as cleo:
        await in_thread(ring_and_join, finn, cleo)
        await in_thread(partial(finn.wait_for, "balance:low"))
        await give(pair.second, fan, 100)
        enough = await in_thread(partial(finn.wait_for, "balance:ok"))
        assert enough["balance"] == 110


async def test_a_ticket_that_the_other_server_sold_admits_at_once(pair: Pair) -> None:
    fan, creator = await add_fan(pair.first, 100), await add_creator(pair.first, 60)
    async with (
        online(pair.first, fan) as finn,
        online(pair.second, fan) as elsewhere,
        online(pair.first, creator) as cleo,
    ):
        stream = await in_thread(partial(go_live, cleo, type="private", ticketPriceTokens=50))
        assert (await in_thread(finn.join, stream["channel"]))["type"] == "error"
        bought = await in_thread(elsewhere.http.post, f"/streams/{stream['id']}/tickets")
        assert bought.status_code == 201, bought.text
        await in_thread(partial(finn.wait_for, "wallet:changed", cause="ticket"))
        assert (await in_thread(finn.join, stream["channel"]))["type"] == "room:joined"


async def test_servers_without_a_broker_hear_nothing(dsn: str) -> None:
    wanted = settings(block_seconds=30)
    async with running_server(dsn, wanted) as first, running_server(dsn, wanted) as second:
        fan = await add_fan(first, 0)
        async with online(second, fan) as finn:
            await give(first, fan, 10)
            assert (await in_thread(finn.ask, {"type": "ping"}))["type"] == "pong"
            assert [event for event in finn.events if event["type"] == "wallet:changed"] == []


def test_texts_of_users_are_not_sent_and_many_receipts_are_several_messages() -> None:
    (sender, receiver), heard = connected_buses(2), list[list[Receipt]]()
    PostingFeed(receiver).follow(lambda receipts: heard.append(list(receipts)))
    fan, creator = UserId(new_uuid()), UserId(new_uuid())
    postings = [replace(tip(fan, creator, 1), memo="between us") for _ in range(RECEIPTS_MAX + 1)]
    PostingFeed(sender).tell([Receipt(posting, Outcome.COMMITTED, 9, 1, 7, 7) for posting in postings])
    assert [len(message) for message in heard] == [RECEIPTS_MAX, 1]
    assert [receipt.posting.key for message in heard for receipt in message] == [posting.key for posting in postings]
    assert {receipt.posting.memo for message in heard for receipt in message} == {None}
    assert (heard[0][0].debit_after, heard[0][0].credit_n) == (9, 7)
