"""Blocks of thirty seconds, on a clock that is advanced by hand: real sockets, real PostgreSQL, no waiting."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
import trio
import trio.testing

from domain.billing.posting import Kind
from storage.ledger.wallets import find_wallet
from tests.support.clients import Phone, ring_and_join
from tests.support.servers import add_creator, add_fan, online, settings
from tests.support.virtual_time import pass_seconds, server_on


@pytest.fixture
def by_hand(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return mock_clock


async def test_blocks_fall_thirty_seconds_apart_and_a_pause_keeps_the_rest(
    dsn: str, by_hand: trio.testing.MockClock
) -> None:
    in_thread = trio.to_thread.run_sync
    async with server_on(by_hand, dsn, settings(block_seconds=30)) as context:
        fan, creator = await add_fan(context, 1000), await add_creator(context, 60)
        async with online(context, fan) as fans, online(context, creator) as creators:
            call_id = await in_thread(_meet, fans, creators)
            await pass_seconds(by_hand, context, 65)
            await in_thread(fans.ask_ok, {"type": "call:pause", "callId": call_id})
            await pass_seconds(by_hand, context, 300)
            await in_thread(fans.ask_ok, {"type": "call:resume", "callId": call_id})
            await pass_seconds(by_hand, context, 24)
            assert len(fans.all_events("block:charged")) == 3, "25 seconds of block 3 were left, 24 are gone"
            await pass_seconds(by_hand, context, 2)
            fourth = await in_thread(lambda: fans.wait_for("block:charged", blockNo=4))
            await in_thread(creators.ask_ok, {"type": "call:end", "callId": call_id})
            ended = await in_thread(fans.wait_for, "call:ended")
            charged = [_moment(event["at"]) for event in fans.all_events("block:charged")]
        first, second, third, _ = charged
        assert second - first == pytest.approx(timedelta(seconds=30), abs=timedelta(milliseconds=10))
        assert third - first == pytest.approx(timedelta(seconds=60), abs=timedelta(milliseconds=10))
        assert fourth["tokens"] == 30
        assert (ended["reason"], ended["blocks"], ended["tokens"]) == ("creator_ended", 4, 90)
        assert ended["activeSeconds"] == pytest.approx(91, abs=0.1)
        fans_wallet, creators_wallet = (
            await find_wallet(context.postgres, fan),
            await find_wallet(context.postgres, creator),
        )
        assert fans_wallet is not None and creators_wallet is not None
        assert (fans_wallet.balance, creators_wallet.balance) == (910, 90), "a second of block 4 was used: it came back"
        booked = "SELECT kind, block_no, tokens FROM journal WHERE room_id = $1 ORDER BY kind, block_no"
        rows = await context.postgres.fetch(booked, UUID(call_id))
        blocks = [(Kind.BLOCK, number, 30) for number in (1, 2, 3, 4)]
        assert [*map(tuple, rows)] == [*blocks, (Kind.REFUND, None, 30)]


def _meet(fans: Phone, creators: Phone) -> str:
    ring = ring_and_join(fans, creators)
    fans.wait_for("block:charged", blockNo=1)
    return str(ring["callId"])


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
