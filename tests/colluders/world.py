"""The platform model's state: ledger, users, rooms, presence, clock, and servers that stall, crash and move."""

from uuid import UUID

from domain.billing.posting import Kind, Posting
from domain.ids import (
    ESCROW,
    LOSSES,
    PAYOUTS,
    PROMOTIONS,
    TOKEN_SALES,
    PostingKey,
    UserId,
)
from domain.instant import Duration, Instant, duration
from domain.room import inputs
from domain.stream.ticket_release import are_earned
from tests.colluders.accountant import Accountant
from tests.colluders.rooms import STREAM_RULES, CallRoom, Room, StreamRoom
from tests.domain.story import START
from tests.model.ledger import Ledger
from tests.model.rows import Wallet

PRESENCE = duration(10)
GRACE = duration(10)  # for which a payer's time runs on as their connection breaks


class World:
    """The state of the model; its clock moves only when a rule advances it."""

    def __init__(self, users: int) -> None:
        self.ledger = Ledger()
        systems = (TOKEN_SALES, PROMOTIONS, PAYOUTS, LOSSES, ESCROW)
        self.ledger.wallets = {wallet_id: Wallet(is_system=True) for wallet_id in systems}
        self.users = [UserId(UUID(int=0x100 + number)) for number in range(users)]
        self.ledger.wallets.update({user_id: Wallet() for user_id in self.users})
        self.now: Instant = START  # by the server's clock
        self.rooms: list[Room] = []
        self.silent_since: dict[UserId, Instant] = {}  # silent users whose silence is not noticed yet: since when
        self.away: dict[UserId, Instant] = {}  # users whose silence has been noticed, and when
        self.banned, self.frozen = set[UserId](), set[UserId]()
        self.blocks: set[tuple[UserId, UserId]] = set()  # pairs of a user and the user whom they blocked
        self.accountant = Accountant(self.is_here, self.is_silent, self.grace_of)
        self.changed: list[UserId] = []  # users with a changed wallet that rooms do not know of yet
        self._sent_refunds = set[PostingKey]()
        self._number = 0

    def next_number(self) -> int:
        self._number += 1
        return self._number

    # Presence

    def is_here(self, room: Room, user_id: UserId) -> bool:
        gone = user_id in self.silent_since or user_id in self.away
        return not gone and bool(room.opened and room.member_of(user_id))

    def is_silent(self, room: Room, user_id: UserId) -> bool:
        return user_id in self.silent_since and bool(room.opened and room.member_of(user_id))

    def grace_of(self, user_id: UserId) -> Duration | None:
        """Return how much longer time may run on for a payer who is away; None for a user who is present."""
        return max(0, self.away[user_id] + GRACE - self.now) if user_id in self.away else None

    def open_rooms(self) -> list[Room]:
        return [room for room in self.rooms if room.opened and not room.ended]

    def call_of(self, user_id: UserId) -> CallRoom | None:
        calls = (room for room in self.open_rooms() if isinstance(room, CallRoom))
        return next((call for call in calls if user_id in (call.fan, call.payee)), None)

    def stream_of(self, creator: UserId) -> StreamRoom | None:
        streams = (room for room in self.open_rooms() if isinstance(room, StreamRoom))
        return next((stream for stream in streams if stream.payee == creator), None)

    def give(self, room: Room, given: inputs.Input) -> None:
        room.give(given, self.now)

    def give_all(self, given: inputs.Input) -> None:
        for room in self.open_rooms():
            self.give(room, given)

    def vanish(self, user_id: UserId) -> None:
        """Let a user send nothing more; the silence is noticed later."""
        if user_id not in self.away:
            self.silent_since.setdefault(user_id, self.now)

    def lose_network(self, user_id: UserId) -> None:
        """Break a user's connections, which is noticed at once."""
        self.vanish(user_id)
        self._notice(user_id)

    def return_to_rooms(self, user_id: UserId) -> None:
        if user_id in self.silent_since:
            self.accountant.note_payee_back(user_id)
        self.silent_since.pop(user_id, None)
        self.away.pop(user_id, None)
        for room in self.open_rooms():
            for member_id in room.member_of(user_id):
                self.give(room, inputs.ConnectionResponsive(member_id))

    def _notice(self, user_id: UserId) -> None:
        since = self.silent_since.pop(user_id)
        self.away[user_id] = self.now
        self.accountant.note_away(user_id)
        for room in self.open_rooms():
            for member_id in room.member_of(user_id):
                self.give(room, inputs.ConnectionSilent(member_id, since))

    # Time

    def wait(self, span: Duration) -> None:
        """Let time pass; deadlines of rooms and silences take effect when they are due."""
        target = self.now + span
        while True:
            moments = [(at + PRESENCE, user_id) for user_id, at in self.silent_since.items()]
            due = [at for room in self.open_rooms() if (at := room.rules.next_deadline()) is not None]
            graces = [at + GRACE for at in self.away.values() if at + GRACE > self.now]
            soonest = min([*(at for at, _ in moments), *graces, *due], default=target + 1)
            if soonest > target:
                break
            self._pass(soonest)
            for at, user_id in moments:
                if at <= self.now:
                    self._notice(user_id)
            self.give_all(inputs.Elapsed())
        self._pass(target)

    def _pass(self, to: Instant) -> None:
        self.accountant.pass_time(max(0, to - self.now))
        self.now = max(self.now, to)

    def stall(self, span: Duration) -> None:
        """Let the server stall; after a long stall every user counts as silent until they respond."""
        until, all_silent = self.now + span, span >= PRESENCE
        self.give_all(inputs.Stalled(until, all_silent))
        if all_silent:
            for user_id in self.users:
                if user_id in self.silent_since:
                    self.accountant.note_payee_back(user_id)
                    del self.silent_since[user_id]
                self.away.setdefault(user_id, self.now - GRACE)
        self._pass(until)

    def crash(self, committed: str, down: Duration, set_back: Duration) -> None:
        """Crash every room and restart it from its rows, on a machine with another clock."""
        for room in self.open_rooms():
            if committed != "nothing":
                room.committer.commit_batch(room.epoch, without_record=committed == "postings")
            self._abandon(room)
        self.now += down - set_back
        self.silent_since.clear()
        self.away = dict.fromkeys(self.users, self.now - GRACE)
        for room in self.rooms:
            if room.opened and room.committer.stored.status != "ended":
                room.adopt(self.now)

    def drain(self, down: Duration) -> None:
        """Drain every server; paid time is kept."""
        for room in self.open_rooms():
            self.give(room, inputs.Drain())
            room.commit(self.now)
        self.crash("nothing", down, 0)

    def lose_room(self, room: Room) -> None:
        """Let another server adopt a room while postings of this server are under way."""
        self._abandon(room, keep=True)
        if room.committer.stored.status != "ended":
            room.adopt(self.now)
        late = room.committer.batch
        room.committer.batch = []
        self.ledger.apply(item for item in late if isinstance(item, Posting))  # they are fenced

    def _abandon(self, room: Room, *, keep: bool = False) -> None:
        self.accountant.note_crash(room)
        batch = room.committer.batch
        room.committer.lose()
        if keep:
            room.committer.batch = batch
        if room.committer.stored.status == "ended":
            self._finish(room)

    def _finish(self, room: Room) -> None:
        """Complete the end of a room whose end was stored but not reported, as a server does later."""
        if isinstance(room, CallRoom) and (blocks := room.committer.stored.given_back):
            room.committer.give_back(blocks)
        if room.id not in self.accountant.ended:
            self.accountant.note_end(room, "crashed", set())
        room.rules.termination.settle()

    def commit(self) -> None:
        """Commit everything under way and deliver the receipts."""
        for room in self.rooms:
            if room.opened:
                room.commit(self.now)
        for user_id in self.changed:
            self.send_funds(user_id)
        self.changed.clear()
        self.settle_tickets()
        self.deliver_refunds()

    def send_funds(self, user_id: UserId) -> None:
        for room in self.open_rooms():
            self.give(room, inputs.FundsChanged(user_id, room.funds(user_id)))

    def deliver_refunds(self) -> None:
        """Send `wallet:changed` to each user who received a refund."""
        for key, receipt in list(self.ledger.journal.items()):
            posting = receipt.posting
            if posting.kind is Kind.REFUND and posting.debit != PAYOUTS and key not in self._sent_refunds:
                self._sent_refunds.add(key)
                self.accountant.note_refund(posting)

    def settle_tickets(self) -> None:
        """Settle tickets of streams that have ended, as a server does every few seconds."""
        for stream in self.rooms:
            if isinstance(stream, StreamRoom) and stream.committer.stored.status == "ended":
                if are_earned(stream.committer.stored.present, STREAM_RULES):
                    self.ledger.release(stream.id)
                else:
                    held = [key for (room_id, _), key in self.ledger.tickets.items() if room_id == stream.id]
                    self.ledger.refund(held, advance=False)

    def balance(self, user_id: UserId) -> int:
        return self.ledger.wallets[user_id].balance
