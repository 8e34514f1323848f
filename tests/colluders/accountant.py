"""An accountant that computes bills only from the events that the parties received, and their presence.

It knows no rule of the server's but the contract's: a block's price, that blocks are due by active time, and which
blocks are given back. From that follow each payer's bill, and how much of it pays for time.
"""

from collections.abc import Callable
from uuid import UUID

from domain.billing.block import BlockPrice
from domain.billing.posting import Kind, Posting
from domain.ids import PostingKey, RoomId, UserId, block_key
from domain.instant import Duration, duration
from domain.protocol import events as m
from domain.room import effects
from tests.colluders.rooms import CallRoom, Room, StreamRoom

PAYEE_END = duration(10)
BY_PAYEE = ("creator_ended", "ended", "owner_lost")
BY_EITHER = ("peer_lost", "pause_limit")  # the event does not name the party whose absence or pauses they were
Clock = tuple[RoomId, UserId]


class Viewing:
    """One payer in one room: the time that may be billed, and the blocks that were."""

    def __init__(self, price: BlockPrice) -> None:
        self.price = price
        self.accepted = False  # a call whose start was not sent yet
        self.paused: dict[UUID, bool] = {}  # of a stream's viewer, by connection
        self.runs = False  # according to the events of the parties
        self.time: Duration = 0  # the clock ran, and the payee was present
        self.doubt: Duration = 0  # … the clock ran, and the payee fell silent, which is not noticed yet
        self.slack: Duration = 0  # time that a crash may have restored
        self.limit: Duration = 0  # of the time, while the payer is away
        self.exact = True  # no crash and no refusal came between
        self.blocks: dict[int, int] = {}  # tokens by number, as the payer received them
        # At each end: the used active time, and the possible limits below which a block is refunded.
        self.ends: list[tuple[Duration, tuple[Duration, ...]]] = []

    def note_payer_away(self) -> None:
        """Time may run on, but not past the last block that is paid now, or is due now and under way."""
        due = (self.time + self.doubt) // self.price.block + 1
        self.limit = max(due, *self.blocks, 0) * self.price.block

    def pass_time(self, span: Duration, payee_is_here: bool, payee_is_silent: bool) -> None:
        if self.runs:
            self.time += span if payee_is_here else 0
            self.doubt += span if payee_is_silent else 0

    def end(self, limits: tuple[Duration, ...]) -> None:
        """End the payer's time. A block of which less than a limit was used is refunded; the limit is one of these."""
        self.ends.append((self.time + self.doubt, limits))

    def unused(self, *, at_most: bool) -> set[int]:
        """Return the blocks that are refunded: at least these, or at most."""
        blocks = set[int]()
        for time, limits in self.ends:
            limit = min(max(limits) if at_most else min(limits), self.price.block)
            blocks |= {n for n in self.blocks if time - (n - 1) * self.price.block < limit}
        return blocks


class Accountant:
    """Computes each payer's bill from the effects that send events."""

    def __init__(
        self,
        is_here: Callable[[Room, UserId], bool],
        is_silent: Callable[[Room, UserId], bool],
        grace_of: Callable[[UserId], Duration | None],
    ) -> None:
        self._is_here, self._is_silent, self._grace_of = is_here, is_silent, grace_of
        self.viewing_sessions: dict[Clock, Viewing] = {}
        self.rooms: dict[RoomId, Room] = {}
        self.shows: dict[RoomId, Viewing] = {}  # of streams: for how long the owner was live and present
        self.tips: dict[UUID, tuple[UserId, int]] = {}
        self.bought: dict[UUID, tuple[UserId, int]] = {}  # tickets
        self.refunds: dict[PostingKey, tuple[UserId, int]] = {}
        self.unsure: set[PostingKey] = set()  # under way as a server crashed: their outcomes were never sent
        self.ended: set[RoomId] = set()

    def open(self, room: Room) -> None:
        self.rooms[room.id] = room
        if isinstance(room, CallRoom):
            self.viewing_sessions[room.id, room.fan] = Viewing(room.price)
        elif isinstance(room, StreamRoom):
            self.shows[room.id] = show = Viewing(BlockPrice(1, 1))
            show.runs = True

    def pass_time(self, span: Duration) -> None:
        for (room_id, payer), viewing in self.viewing_sessions.items():
            if viewing.accepted and self._are_met(self.rooms[room_id], payer):  # its start is sent with the first block
                viewing.runs, viewing.accepted = True, False
            grace = self._grace_of(payer)
            runs_on = span if grace is None else min(span, grace, max(0, viewing.limit - viewing.time - viewing.doubt))
            self._pass(room_id, viewing, runs_on)
        for room_id, show in self.shows.items():
            self._pass(room_id, show, span)

    def _pass(self, room_id: RoomId, viewing: Viewing, span: Duration) -> None:
        room = self.rooms[room_id]
        if room_id not in self.ended:
            viewing.pass_time(span, self._is_here(room, room.payee), self._is_silent(room, room.payee))

    # Presence

    def _are_met(self, room: Room, payer: UserId) -> bool:
        """Return whether both are in the room and neither is known to be away."""
        return all(self._is_here(room, user) or self._is_silent(room, user) for user in (payer, room.payee))

    def note_away(self, user_id: UserId) -> None:
        """Note a silence that was noticed: time since then is not billed if it is the payee's."""
        for (_, payer), viewing in self.viewing_sessions.items():
            if payer == user_id:
                viewing.note_payer_away()
        for viewing in self._presence_of_payee(user_id):
            viewing.slack += viewing.doubt
            viewing.doubt = 0

    def note_payee_back(self, user_id: UserId) -> None:
        """Note that a silent payee responded before the silence was noticed: by the contract they were present."""
        for viewing in self._presence_of_payee(user_id):
            viewing.time += viewing.doubt
            viewing.doubt = 0

    def _presence_of_payee(self, user_id: UserId) -> list[Viewing]:
        viewings = [
            viewing for (room_id, _), viewing in self.viewing_sessions.items() if self.rooms[room_id].payee == user_id
        ]
        return viewings + [show for room_id, show in self.shows.items() if self.rooms[room_id].payee == user_id]

    def note_crash(self, room: Room) -> None:
        """Note a crash: outcomes under way are never sent, and an end that is not stored did not happen."""
        if room.committer.stored.status != "ended":
            self.ended.discard(room.id)
        self.unsure |= {posting.key for posting in room.committer.under_way()}
        for viewing in self._viewings_in(room):
            viewing.slack, viewing.doubt = viewing.slack + viewing.doubt, 0
            viewing.accepted = viewing.accepted or (viewing.runs and not viewing.blocks)  # it may start once more
            viewing.runs, viewing.exact, viewing.paused = False, False, {}
        if (show := self.shows.get(room.id)) is not None:
            show.slack, show.doubt = show.slack + show.doubt, 0

    def _viewings_in(self, room: Room) -> list[Viewing]:
        return [viewing for (room_id, _), viewing in self.viewing_sessions.items() if room_id == room.id]

    def note_eviction(self, room: Room, payer: UserId, *, may_return: bool) -> None:
        """Record that the payee removed or blocked a viewer."""
        if (viewing := self.viewing_sessions.get((room.id, payer))) is not None and room.id not in self.ended:
            viewing.end((PAYEE_END if viewing.paused else 0,))
            viewing.exact = viewing.exact and not may_return  # a payer who returns begins with a new block

    # Effects of the rooms

    def record(self, room: Room, effect: effects.Effect) -> None:
        match effect:
            case effects.Send(_, m.CallAccepted()):
                self._only_viewing(room).accepted = True
            case effects.Publish(m.CallStateChanged() as change):  # a late event names the holds of that time
                viewing = self._only_viewing(room)
                viewing.runs, viewing.accepted = not change.holds, False
            case effects.Publish(m.CallBlockCharged() as charged):
                assert isinstance(room, CallRoom)
                self._note_block(room, room.fan, charged.block_no, charged.tokens)
            case effects.Send(receiver, m.ViewerBlockCharged() as charged) if receiver == charged.user_id:
                self._note_block(room, UserId(charged.user_id), charged.block_no, charged.tokens)
            case effects.Publish(m.TipNew() as tip, effects.Audience.MEMBERS):
                assert tip.tip_id not in self.tips, "each tip is published once"
                self.tips[tip.tip_id] = (UserId(tip.from_.user_id), tip.amount_tokens)
            case effects.Send(receiver, m.ViewerChanged() as change) if receiver == room.payee:
                self._note_viewer(room, change)
            case effects.Release():
                show = self.shows[room.id]
                assert show.time + show.doubt + show.slack >= duration(90), "the show was given before it is paid for"

    def note_refused(self, room: Room, payer: UserId) -> None:
        """Note that the time since the refused block fell due is unpaid, so that the bill is no longer exact."""
        self.viewing_sessions[room.id, payer].exact = False

    def _only_viewing(self, room: Room) -> Viewing:
        assert isinstance(room, CallRoom)
        return self.viewing_sessions[room.id, room.fan]

    def _note_block(self, room: Room, payer: UserId, block_no: int, tokens: int) -> None:
        viewing = self.viewing_sessions[room.id, payer]
        assert block_no not in viewing.blocks, "each block is sent once"
        assert tokens == viewing.price.tokens(block_no)
        before = block_key(room.id, payer, block_no - 1)
        assert block_no == 1 or block_no - 1 in viewing.blocks or before in self.unsure, "no block is left out"
        viewing.blocks[block_no] = tokens

    def _note_viewer(self, room: Room, change: m.ViewerChanged) -> None:
        assert isinstance(room, StreamRoom)
        if room.price is None:
            return
        viewing = self.viewing_sessions.setdefault((room.id, UserId(change.user_id)), Viewing(room.price))
        match change:
            case m.ViewerLeft():
                viewing.paused.pop(change.member_id, None)
            case m.ViewerPaused():
                viewing.paused[change.member_id] = True
            case _:
                viewing.paused[change.member_id] = False
        viewing.runs = not all(viewing.paused.values())

    def note_end(self, room: Room, reason: str, members: set[UserId]) -> None:
        """Note an end, after which nothing falls due. `members`: the members of a stream's room until its end."""
        if room.id in self.ended:
            return
        self.ended.add(room.id)
        for (room_id, payer), viewing in self.viewing_sessions.items():
            if room_id != room.id:
                continue
            viewing.end(self._limits(reason, isinstance(room, CallRoom) or payer in members))
            viewing.time, viewing.doubt, viewing.runs = viewing.time + viewing.doubt, 0, False

    def _limits(self, reason: str, there: bool) -> tuple[Duration, ...]:
        if reason in BY_EITHER:
            return (0, PAYEE_END)
        return (PAYEE_END,) if reason in BY_PAYEE and there else (0,)

    def note_ticket(self, user_id: UserId, ticket_id: UUID, tokens: int) -> None:
        self.bought[ticket_id] = (user_id, tokens)

    def note_tip(self, user_id: UserId, tip_id: UUID, tokens: int) -> None:
        """Note the answer to a tip outside of rooms."""
        self.tips[tip_id] = (user_id, tokens)

    def note_refund(self, posting: Posting) -> None:
        """Record a `wallet:changed` event."""
        self.refunds[posting.key] = (UserId(posting.credit), posting.tokens)

    # The bill

    def bill(self, user_id: UserId) -> int:
        """Return what a user paid for blocks, tips and tickets, less refunds, according to the events they received."""
        blocks = sum(
            sum(viewing.blocks.values()) for (_, payer), viewing in self.viewing_sessions.items() if payer == user_id
        )
        paid = [tokens for payer, tokens in (*self.tips.values(), *self.bought.values()) if payer == user_id]
        back = [tokens for payer, tokens in self.refunds.values() if payer == user_id]
        return blocks + sum(paid) - sum(back)

    def knows(self, posting: Posting) -> bool:
        if posting.kind is Kind.BLOCK:
            assert posting.room_id is not None
            return posting.block_no in self.viewing_sessions[posting.room_id, posting.debit].blocks
        return posting.ref_id in self.tips

    def check_time(self, room: Room) -> None:
        """Check after a room's end that nobody paid for time in which the payee was away, or watched without paying."""
        asked_back = room.committer.asked_back
        for (room_id, payer), viewing in self.viewing_sessions.items():
            if room_id != room.id:
                continue
            back = {n for n in viewing.blocks if block_key(room.id, payer, n) in asked_back}
            kept = len(set(viewing.blocks) - back)
            assert kept == 0 or (kept - 1) * viewing.price.block <= viewing.time + viewing.slack, (
                "paid for time that nobody gave"
            )
            if viewing.exact:
                assert kept == 0 or (kept - 1) * viewing.price.block <= viewing.time, "paid for time that nobody gave"
                assert len(viewing.blocks) * viewing.price.block >= viewing.time, "watched unbilled"
                assert viewing.unused(at_most=False) <= back <= viewing.unused(at_most=True), (
                    "what a payee ends is given back"
                )
