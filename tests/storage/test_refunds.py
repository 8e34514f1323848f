"""Each payment is refunded once: by its payee as far as the balance allows, and the rest by `losses`."""

from itertools import pairwise

import pytest
import trio
import trio.testing

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import LOSSES, PostingKey, refund_key, refund_rest_key
from storage.ledger.audit import audit
from storage.ledger.refunds import MAX_REFUND, Advance
from tests.storage.ledger_pair import OPERATOR, LedgerPair, block, credit, open_ledger_pair, ticket, tip

AT_ONCE = 50


@pytest.mark.parametrize(("left", "taken"), [(100, 40), (40, 40), (25, 25), (0, 0)])
async def test_the_payee_gives_back_what_is_there_and_the_losses_the_rest(dsn: str, left: int, taken: int) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator, other = await ledgers.add_user(100), await ledgers.add_user(100), await ledgers.add_user()
        paid = tip(fan, creator, 40, "k")
        await ledgers.post_in_both([paid, tip(creator, other, 140 - left)] if left < 140 else [paid])
        receipts = await _refund(ledgers, paid.key)
        moved = [(receipt.posting.debit, receipt.posting.tokens) for receipt in receipts]
        assert moved == [(who, tokens) for who, tokens in ((creator, taken), (LOSSES, 40 - taken)) if tokens]
        wallets = await ledgers.wallets_in_database()
        assert [wallets[who].balance for who in (fan, creator, LOSSES)] == [100, left - taken, taken - 40]
        ledgers.model.refund([paid.key])
        assert wallets == ledgers.model.wallets
        await _check(ledgers)


async def test_a_refund_says_what_it_gives_back_and_why(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        stream = await ledgers.add_stream()
        paid = ticket(stream, fan, creator, 40)
        await ledgers.actor.post([paid, tip(creator, fan, 15)])
        receipts = await _refund(ledgers, paid.key)
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED] * 2
        for receipt, key in zip(receipts, (refund_key(paid.key), refund_rest_key(paid.key)), strict=True):
            posting = receipt.posting
            assert (posting.key, posting.kind, posting.credit) == (key, Kind.REFUND, fan)
            assert (posting.room_id, posting.ref_id, receipt.ref_id) == (stream, paid.ref_id, paid.ref_id)
            assert posting.content == paid.key
        assert [(receipt.debit_after, receipt.credit_after) for receipt in receipts] == [(0, 100), (-15, 115)]
        rows = await ledgers.postgres.fetch("SELECT memo FROM memos")
        assert [row["memo"] for row in rows] == ["sorry"] * 2
        await _check(ledgers)


async def test_many_who_ask_for_one_refund_at_once_get_it_once(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        paid, receipts = tip(fan, creator, 40), list[Receipt]()
        await ledgers.actor.post([paid])
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(_ask, ledgers, [paid.key], receipts)
        assert sorted(receipt.outcome for receipt in receipts) == [Outcome.COMMITTED] + [Outcome.ALREADY] * 49
        assert {(receipt.debit_after, receipt.credit_after) for receipt in receipts} == {(0, 100)}
        assert (await ledgers.wallets_in_database())[fan].balance == 100
        await _check(ledgers)


async def test_a_repeated_refund_takes_nothing_from_a_payee_with_new_tokens(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        paid = tip(fan, creator, 40)
        await ledgers.actor.post([paid, tip(creator, fan, 40)])
        await _refund(ledgers, paid.key)
        await ledgers.actor.post([credit(creator, 500)])
        assert [receipt.outcome for receipt in await _refund(ledgers, paid.key)] == [Outcome.ALREADY]
        assert (await ledgers.wallets_in_database())[creator].balance == 500


async def test_all_blocks_of_a_room_that_has_ended_are_given_back_in_order(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(10_000), await ledgers.add_user()
        room, blocks = await ledgers.add_room(fan), 2 * MAX_REFUND + 3
        paid = [block(room, fan, creator, block_no, tokens=block_no % 3) for block_no in range(1, blocks + 1)]
        await ledgers.actor.post([*paid, tip(creator, fan, 100)])
        await ledgers.postgres.execute("UPDATE rooms SET ended_at = now()")
        receipts = await _refund(ledgers, *(posting.key for posting in paid))
        assert {receipt.posting.room_id for receipt in receipts} == {room}
        assert sum(receipt.posting.tokens for receipt in receipts) == sum(posting.tokens for posting in paid)
        assert all(
            one.credit_n < other.credit_n for one, other in pairwise(receipts) if one.credit_n and other.credit_n
        )
        wallets = await ledgers.wallets_in_database()
        assert [wallets[who].balance for who in (fan, creator, LOSSES)] == [10_100, 0, -100]
        await _check(ledgers)


async def test_a_ticket_that_was_given_back_is_bought_again_and_given_back_again(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        stream = await ledgers.add_stream()
        for paid in (ticket(stream, fan, creator, 30), ticket(stream, fan, creator, 40)):
            assert [receipt.outcome for receipt in await ledgers.actor.post([paid])] == [Outcome.COMMITTED]
            assert await ledgers.tickets_in_database() == {(stream, fan): paid.key}
            await _refund(ledgers, paid.key)
            assert await ledgers.tickets_in_database() == {}
        assert (await ledgers.wallets_in_database())[fan].balance == 100
        await _check(ledgers)


async def test_an_older_ticket_that_is_given_back_again_takes_none_away(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        stream = await ledgers.add_stream()
        first, second = ticket(stream, fan, creator, 30), ticket(stream, fan, creator, 40)
        await ledgers.actor.post([first])
        await _refund(ledgers, first.key)
        await ledgers.actor.post([second])
        await _refund(ledgers, first.key)
        assert await ledgers.tickets_in_database() == {(stream, fan): second.key}


async def test_only_blocks_tips_and_tickets_that_cost_something_are_given_back(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(100), await ledgers.add_user()
        room = await ledgers.add_room(fan)
        gift, free, paid = credit(fan, 5), block(room, fan, creator, 1, tokens=0), tip(fan, creator, 40)
        await ledgers.actor.post([gift, free, paid])
        given_back = (await _refund(ledgers, paid.key))[0].posting.key
        for key in (gift.key, free.key, given_back, PostingKey(b"nothing's own key"[:16])):
            assert await _refund(ledgers, key) == []
        await _check(ledgers)


async def test_a_refund_from_several_payees_is_refused_whole_and_what_comes_after_it_is_booked(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator, other = await ledgers.add_user(100), await ledgers.add_user(), await ledgers.add_user()
        paid = [tip(fan, creator, 10), tip(fan, other, 10)]
        await ledgers.actor.post(paid)
        assert await _refund(ledgers, *(posting.key for posting in paid)) == []
        assert await ledgers.postgres.fetch("SELECT FROM journal WHERE kind = 6") == []
        assert (await ledgers.actor.post([tip(fan, creator, 1)]))[0].paid


async def test_refunds_and_postings_are_carried_out_in_the_order_in_which_they_came(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(40), await ledgers.add_user()
        paid, again = tip(fan, creator, 40, "first"), tip(fan, creator, 40, "second")
        receipts, outcomes = list[Receipt](), list[Outcome]()

        async def post(posting: Posting) -> None:
            outcomes.append((await ledgers.actor.post([posting]))[0].outcome)

        async with trio.open_nursery() as nursery:
            for work in ((post, paid), (_ask, ledgers, [paid.key], receipts), (post, again)):
                nursery.start_soon(*work)
                await trio.testing.wait_all_tasks_blocked(0)
        assert outcomes == [Outcome.COMMITTED] * 2
        assert [receipt.outcome for receipt in receipts] == [Outcome.COMMITTED]
        assert (await ledgers.wallets_in_database())[creator].balance == 40


async def test_a_refund_over_a_connection_that_breaks_is_made_once(dsn: str) -> None:
    async with open_ledger_pair(dsn) as ledgers:
        fan, creator = await ledgers.add_user(1000), await ledgers.add_user()
        for i in range(10):
            paid, receipts = tip(fan, creator, 10, str(i)), list[Receipt]()
            await ledgers.actor.post([paid])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_ask, ledgers, [paid.key], receipts)
                nursery.start_soon(ledgers.cut_connections)
            assert all(receipt.paid for receipt in receipts)
        assert (await ledgers.wallets_in_database())[fan].balance == 1000
        await _check(ledgers)


async def _refund(ledgers: LedgerPair, *paid: PostingKey) -> list[Receipt]:
    """Refund as an operator does, with an advance of any size by `losses`."""
    return (await ledgers.actor.refund(paid, "sorry", Advance(OPERATOR, None))).receipts


async def _ask(ledgers: LedgerPair, paid: list[PostingKey], receipts: list[Receipt]) -> None:
    receipts += await _refund(ledgers, *paid)


async def _check(ledgers: LedgerPair) -> None:
    assert [finding.sentence async for finding in audit(ledgers.postgres) if finding.rows] == []
