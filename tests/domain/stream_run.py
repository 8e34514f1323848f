"""A stream with its account: each step is given to both, and checked."""

from collections import deque
from uuid import UUID

from domain.billing.block import BlockPrice
from domain.billing.meter import Funds, StoredMeter
from domain.billing.posting import Kind, Outcome, Receipt
from domain.ids import MemberId, UserId
from domain.instant import Duration
from domain.protocol import commands as c
from domain.room import inputs
from domain.stream.record import StreamRecord, StreamRules
from tests.domain.story import FakeReply, code, device
from tests.domain.stream_account import StreamAccount
from tests.domain.stream_checks import StreamChecks
from tests.domain.stream_rows import STREAM, person
from tests.domain.stream_story import StreamStory
from tests.domain.viewer_account import Viewer


class StreamRun:
    """One stream whose batches are committed, and whose receipts arrive, only when a step says so."""

    def __init__(self, balance: int, price: BlockPrice, ticket: int | None) -> None:
        self.story = StreamStory(
            balance=balance,
            ticket=ticket,
            rate=price.rate_tokens_per_min,
            rounding=price.rounding,
            block_seconds=price.block_seconds,
            rules=StreamRules(ticket_release_seconds=90),
        )
        self.story.storage_away = True
        self.account = StreamAccount(self.story.rules, price, self.story.now)
        self.account.sells_tickets = ticket is not None
        self.checks = StreamChecks(self.story, self.account)
        self.arrivals: deque[inputs.Input] = deque()  # committed, and not received by the room yet
        self.fund_events: deque[tuple[UserId, Funds]] = deque()
        self.meters_read: dict[UserId, StoredMeter] = {}  # for joins that follow later
        self.replies: list[FakeReply] = []
        self.checked = False  # the last step has passed its checks
        self._ids = 0

    def new_id(self) -> int:
        """Return a number that no other command or key of this run has."""
        self._ids += 1
        return self._ids

    # Inputs

    def advance(self) -> None:
        """Let the account know the time, with everything that time alone does."""
        self.account.advance(self.story.now)

    def give(self, given: inputs.Input) -> None:
        """Give an input to the stream, and check what follows."""
        self.checked = False
        for effect in self.story.give(given):
            self.checks.check_effect(effect)
        self.checks.check_stream()
        self.checked = True

    def elapse(self) -> None:
        """Wake the room."""
        self.advance()
        self.give(inputs.Elapsed())

    def command(self, user_id: UserId, member_id: MemberId | None, command: c.MemberCommand) -> FakeReply:
        """Give a room command, over a connection or over HTTP; the answer may come later."""
        reply = FakeReply()
        self.give(inputs.RoomAction(person(user_id), member_id, command, UUID(int=1000 + self._ids), reply))
        return reply

    def read_meter(self, user_id: UserId) -> None:
        """Read what a join of this user needs from the database."""
        if (meter := self.story.read_meter(user_id)) is not None:
            self.meters_read[user_id] = meter

    def join(self, user_id: UserId, number: int) -> None:
        """A user joins with a connection, unless the account refuses it."""
        self.advance()
        stored = self.meters_read.pop(user_id, None) or self.story.read_meter(user_id)
        refused = self.account.why_not_join(user_id, number, self._viewer(stored))
        if refused is None:
            self.account.join(user_id, number)
        reply = FakeReply()
        self.give(inputs.Joined(device(user_id, number), user_id, reply, False, stored))
        moved = self.story.ledger.rooms[STREAM].epoch != self.story.epoch
        over = self.account.over or self.checks.fenced
        assert code(reply.answer) in ((refused, "ROOM_STARTING") if moved and over else (refused,))
        assert reply.answer is not None

    def _viewer(self, stored: StoredMeter | None) -> Viewer:
        price, known = self.account.price, stored or StoredMeter(0, 0, 0, Funds(0, -1))
        begun, paid = (known.committed - 1) * price.block, known.committed * price.block
        viewer = Viewer(price, min(max(known.active, begun), paid), known.committed)
        viewer.update_funds(known.funds)
        return viewer

    # Tickets

    def buy_ticket(self, user_id: UserId) -> None:
        """Buy a ticket, if it can be sold. It may be refunded before the room receives it; the refund comes next."""
        self.advance()
        ticket_id = self.story.book_ticket(user_id)
        if ticket_id is not None:
            self.account.holders.add(user_id)
            self.note_funds(user_id)
            self.give(inputs.TicketSold(user_id, ticket_id))

    def refund_ticket(self, user_id: UserId, *, by_operator: bool) -> None:
        """Refund a ticket beside the room, as an operator, or as the server does for a blocked user."""
        key = self.story.ledger.tickets.get((STREAM, user_id))
        if key is None or not (by_operator or user_id in self.story.blocked):
            return
        self.advance()
        if self.story.ledger.refund([key], advance=by_operator):
            self.note_funds(user_id)
            ticket_id = self.story.ledger.journal[key].ref_id
            assert ticket_id is not None
            self._receive_refund(inputs.TicketRefunded(user_id, ticket_id))

    def _receive_refund(self, refund: inputs.TicketRefunded) -> None:
        if self.story.stream.access_policy.tickets.get(refund.user_id) == refund.ticket_id:
            self.account.return_ticket(refund.user_id)
        self.give(refund)

    # The ledger

    def commit(self) -> None:
        """Commit the batch under way; the room has not received its receipts yet."""
        self.arrivals += self.story.committer.commit_batch(self.story.epoch, self.story.now)
        self.story.committer.send_batch()

    def deliver(self, most: int) -> None:
        """Give the next arrival to the room; of receipts, at most so many."""
        self.advance()
        arrival = self.arrivals.popleft()
        if isinstance(arrival, inputs.Receipts) and len(arrival.receipts) > most:
            self.arrivals.appendleft(inputs.Receipts(arrival.receipts[most:]))
            arrival = inputs.Receipts(arrival.receipts[:most])
        if isinstance(arrival, inputs.TicketRefunded):
            self.note_funds(arrival.user_id)
            self._receive_refund(arrival)
            return
        self._note_arrival(arrival)
        self.give(arrival)

    def _note_arrival(self, arrival: inputs.Input) -> None:
        if isinstance(arrival, inputs.Fenced):
            self.account.draining = self.checks.fenced = True
        if isinstance(arrival, inputs.Receipts):
            for receipt in arrival.receipts:
                self._note_receipt(receipt)

    def _note_receipt(self, receipt: Receipt) -> None:
        self.checks.fenced |= receipt.outcome in (Outcome.FENCED, Outcome.CLOSED)
        self.account.draining |= self.checks.fenced
        if receipt.posting.kind is Kind.BLOCK:
            viewer = self.account.viewers[UserId(receipt.posting.debit)]
            if receipt.outcome is Outcome.WITHDRAWN:
                assert viewer.evict or self.account.draining, "what fell due before the end is charged"
            if receipt.debit_after is not None and receipt.debit_n is not None:
                viewer.update_funds(Funds(receipt.debit_after, receipt.debit_n))
            self.account.settle(UserId(receipt.posting.debit), receipt.outcome.name)

    def catch_up(self) -> None:
        """Commit everything, and deliver every receipt."""
        self.commit()
        while self.arrivals or self.story.committer.batch:
            if self.arrivals:
                self.deliver(512)
            else:
                self.commit()

    def note_funds(self, user_id: UserId) -> None:
        """Note an event with a user's funds, which arrives later."""
        self.fund_events.append((user_id, self.story.funds(user_id)))

    def receive_funds(self, newest: bool) -> None:
        """Give the newest or the oldest funds that are under way to the room."""
        self.advance()
        user_id, funds = self.fund_events.pop() if newest else self.fund_events.popleft()
        if self.story.stream.viewing_sessions.find(user_id) is not None:  # the room keeps funds of payers that it knows
            self.account.viewers[user_id].update_funds(funds)
        self.give(inputs.FundsChanged(user_id, funds))

    # Servers

    def crash(self, committed: str, down: Duration) -> None:
        """The server crashes, and another adopts the stream; all, none or the postings of the batch were committed."""
        committer = self.story.committer
        if committed == "postings":
            committer.batch = [item for item in committer.batch if not isinstance(item, StreamRecord)]
        if committed != "nothing":
            self.commit()
        if committer.stored.status != "ended":
            self.checks.lost_time = True
            self._adopt(down)

    def drain(self, down: Duration) -> None:
        """The server drains, and another adopts the stream. No paid time is lost."""
        self.advance()
        over = self.account.over
        self.account.draining |= not over
        self.give(inputs.Drain())
        self.catch_up()
        if not over and not self.checks.fenced:
            self._check_drained()
        if self.story.committer.stored.status != "ended":
            self._adopt(down)

    def _check_drained(self) -> None:
        """Check that every clock is stored where it stood, or at the end of the last block."""
        assert self.story.stream.settled
        viewers, sessions = self.account.viewers, self.story.stream.viewing_sessions
        billed = {user_id: viewer.billed for user_id, viewer in viewers.items() if sessions.find(user_id)}
        self.checks.lost_time |= any(viewer.active > viewer.billed for viewer in viewers.values())
        assert {user_id: self.story.committer.active.get(user_id, 0) for user_id in billed} == billed

    def _adopt(self, down: Duration) -> None:
        for reply in self.replies:  # clients send commands again if the server crashed
            reply.answer = reply.answer or "lost"
        self.story.crash(down_seconds=down / 1_000_000)
        self.story.storage_away = True
        rows, active = self.story.ledger.meters, self.story.committer.active
        stored = {user_id: (active.get(user_id, 0), row.last_block) for (_, user_id), row in rows.items()}
        self.account.restart(self.story.now, stored)
        record, tickets = self.story.committer.stored, self.story.ledger.tickets
        released = self.story.ledger.rooms[STREAM].released
        self.account.restart_tickets({user_id for _, user_id in tickets}, set(record.removed), record.present, released)
        self.arrivals.clear()
        self.meters_read.clear()
        self.checks.restart()
