"""A room's postings are committed in order, one list at a time, and each gets one receipt."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import trio
from trio.testing import wait_all_tasks_blocked

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.call.record import CallRecord
from domain.ids import PROMOTIONS, PostingKey, RoomId, UserId, block_key
from domain.room import inputs
from server.clock import Clock
from server.rooms.committer import Committer
from server.rooms.inbox.inbox import Inbox
from server.rooms.inbox.timers import RoomTimers
from storage.ledger.commands import Deliver

ROOM, FAN = RoomId(uuid4()), UserId(uuid4())


class SlowLedger:
    """A full ledger: a posting waits until `commit` is called.

    It records the postings that it was given.
    """

    def __init__(self) -> None:
        self.lists: list[list[int | None]] = []
        self.records: list[Any] = []
        self.given_back: list[PostingKey] = []
        self.refunds: list[tuple[UserId, int]] = []  # the user, and how many records were stored by then
        self._under_way: trio.Event | None = None

    async def post(self, postings: Sequence[Posting]) -> list[Receipt]:
        assert self._under_way is None, "one commit in flight a room"
        self.lists.append([posting.block_no for posting in postings])
        self._under_way = trio.Event()
        await self._under_way.wait()
        self._under_way = None
        return [Receipt(posting, Outcome.COMMITTED) for posting in postings]

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        return False

    async def save(self, record: Any) -> bool:
        self.records.append(record)
        return bool(record.status != "ended")

    async def refund_ticket(self, user_id: UserId) -> None:
        self.refunds.append((user_id, len(self.records)))

    async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool:
        assert self._under_way is None, "what is under way comes first"
        self.given_back += blocks
        return True

    async def release_tickets(self) -> bool:
        raise AssertionError("nobody asked for it")

    async def commit(self) -> None:
        """Commit what is under way, and wait until everything that follows from it has happened."""
        assert self._under_way is not None, "nothing is under way"
        self._under_way.set()
        await wait_all_tasks_blocked()


class QuickLedger(SlowLedger):
    """A ledger with room for everything; `commit` returns when a list is booked."""

    def __init__(self) -> None:
        super().__init__()
        self._submitted: list[tuple[Sequence[Posting], Deliver]] = []

    def submit(self, postings: Sequence[Posting], deliver: Deliver) -> bool:
        self._submitted.append((postings, deliver))
        self.lists.append([posting.block_no for posting in postings])
        return True

    async def commit(self) -> None:
        postings, deliver = self._submitted.pop()
        deliver([Receipt(posting, Outcome.COMMITTED) for posting in postings])
        await wait_all_tasks_blocked()


def block(block_no: int) -> Posting:
    return Posting(
        key=block_key(ROOM, FAN, block_no),
        kind=Kind.BLOCK,
        debit=FAN,
        credit=PROMOTIONS,
        tokens=1,
        room_id=ROOM,
        epoch=1,
        block_no=block_no,
    )


def given(inbox: Inbox) -> list[Any]:
    return [waiting.given for waiting in inbox.take_all()]


async def test_postings_that_wait_during_a_commit_go_as_one_list() -> None:
    ledger, inbox = SlowLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        for block_no in (1, 2, 3):
            committer.post(block(block_no))
            await wait_all_tasks_blocked()
        await ledger.commit()
        await ledger.commit()
        nursery.cancel_scope.cancel()
    assert ledger.lists == [[1], [2, 3]]
    receipts = [receipt for batch in given(inbox) for receipt in batch.receipts]
    assert [receipt.posting.block_no for receipt in receipts] == [1, 2, 3]


async def test_withdrawn_postings_come_back_after_the_commit_in_flight() -> None:
    ledger, inbox = SlowLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.post(block(1))
        await wait_all_tasks_blocked()
        committer.post(block(2))
        committer.withdraw()
        await ledger.commit()
        nursery.cancel_scope.cancel()
    assert ledger.lists == [[1]]
    receipts = [receipt for batch in given(inbox) for receipt in batch.receipts]
    outcomes = [(receipt.posting.block_no, receipt.outcome) for receipt in receipts]
    assert outcomes == [(1, Outcome.COMMITTED), (2, Outcome.WITHDRAWN)]


async def test_only_the_latest_record_is_stored_and_after_the_postings() -> None:
    ledger, inbox = SlowLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    records = [CallRecord(status="active"), CallRecord(status="paused"), CallRecord(status="ended")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.post(block(1))
        committer.save(records[0])
        await wait_all_tasks_blocked()
        assert ledger.records == []
        committer.save(records[1])
        await ledger.commit()
        committer.save(records[2])
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ledger.records == records[1:]
    assert given(inbox)[1:] == [inputs.Saved(records[1]), inputs.Fenced()]


async def test_postings_alone_are_handed_over_at_once_and_later_ones_follow_as_one_list() -> None:
    ledger, inbox = QuickLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    for block_no in (1, 2, 3):
        committer.post(block(block_no))
    assert ledger.lists == [[1]]
    await ledger.commit()
    assert ledger.lists == [[1], [2, 3]]
    await ledger.commit()
    receipts = [receipt for batch in given(inbox) for receipt in batch.receipts]
    assert [receipt.posting.block_no for receipt in receipts] == [1, 2, 3]


async def test_a_record_waits_for_the_postings_that_were_handed_over() -> None:
    ledger, inbox = QuickLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.post(block(1))
        committer.save(CallRecord(status="active"))
        await wait_all_tasks_blocked()
        assert ledger.records == []
        await ledger.commit()
        assert [record.status for record in ledger.records] == ["active"]
        nursery.cancel_scope.cancel()


async def test_blocks_are_refunded_once_those_under_way_are_booked() -> None:
    ledger, inbox = QuickLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.post(block(1))
        committer.give_back([block(1).key])
        committer.save(CallRecord(status="ended"))
        await wait_all_tasks_blocked()
        assert (ledger.given_back, ledger.records) == ([], [])
        await ledger.commit()
        assert ledger.given_back == [block(1).key]
        assert [record.status for record in ledger.records] == ["ended"]
        nursery.cancel_scope.cancel()


async def test_receipts_for_a_room_that_left_reach_nobody() -> None:
    ledger, inbox = QuickLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        await wait_all_tasks_blocked()
        committer.post(block(1))
        nursery.cancel_scope.cancel()
    await ledger.commit()
    assert given(inbox) == []


async def test_a_refund_follows_the_record_that_says_why() -> None:
    ledger, inbox = QuickLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.refund(FAN)
        committer.save(CallRecord(status="active"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ledger.refunds == [(FAN, 1)]


async def test_a_record_that_a_later_owner_refuses_takes_its_refunds_with_it() -> None:
    ledger, inbox = QuickLedger(), Inbox(Clock(), RoomTimers(), 10)
    committer = Committer(ledger, inbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.run)
        committer.refund(FAN)
        committer.save(CallRecord(status="ended"))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ledger.refunds == []
    assert given(inbox) == [inputs.Fenced()]


async def test_a_room_whose_refunds_and_releases_are_refused_has_a_later_owner() -> None:
    class LaterOwner(SlowLedger):
        async def refund_blocks(self, blocks: Sequence[PostingKey]) -> bool:
            return False

        async def release_tickets(self) -> bool:
            return False

    for ask in ("give_back", "release"):
        inbox = Inbox(Clock(), RoomTimers(), 10)
        committer = Committer(LaterOwner(), inbox)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committer.run)
            if ask == "release":
                committer.release()
            else:
                committer.give_back([block_key(ROOM, FAN, 1)])
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert given(inbox) == [inputs.Fenced()]
