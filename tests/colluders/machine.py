"""Hypothesis state machine of colluding users on the ledger model: actions of users, operators, provider, servers."""

from typing import NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from domain.billing.block import BlockPrice
from domain.ids import UserId
from domain.instant import Duration, duration
from domain.protocol import commands as c
from domain.room import inputs
from tests.colluders.ledger_checks import check_bills, check_ledger
from tests.colluders.money_rules import (
    MILLISECOND,
    MoneyRules,
    another,
    anything,
    prices,
    somebody,
    spans,
    sure,
    tokens,
)
from tests.colluders.platform_model import PACKS, PlatformModel
from tests.colluders.rooms import Room, StreamRoom
from tests.colluders.world import PRESENCE
from tests.domain.story import FakeReply
from tests.domain.stream_rows import person

COMMANDS = [c.CallPause, c.CallResume] * 3 + [c.CallAccept, c.CallAccept, c.CallDecline, c.CallCancel, c.CallEnd]

numbers = st.sampled_from([1, 1, 1, 2])


class Absence(NamedTuple):
    """An absence: whose, how long before the room's next deadline, how long, in which way, and how often."""

    whose: str
    before: Duration
    span: Duration
    way: str
    times: int


absences = st.builds(
    Absence,
    whose=st.sampled_from(["payee", "payer"]),
    before=st.sampled_from([0, 1, 4, 9, 24]).map(duration),
    span=st.sampled_from([2, 10, 12, 25]).map(duration),
    way=st.sampled_from(["silent", "silent", "lost", "lost", "left", "stalled"]),
    times=st.sampled_from([1, 2, 4]),
)


class Colluders(MoneyRules):
    """A state machine of two to five users with all rules of the platform model."""

    sound = False  # no step has failed

    @initialize(
        users=st.integers(2, 5),
        packs=st.lists(st.sampled_from([0, 500, 1000, *PACKS]), min_size=5, max_size=5),
        gifts=st.lists(st.sampled_from([0, 0, 50, 1000]), min_size=5, max_size=5),
        begins=st.sampled_from(["nothing", *["show", "call", "stream", "both"] * 3]),
        price=prices,
        absent=st.lists(absences, min_size=1, max_size=5),
    )
    def begin(
        self,
        users: int,
        packs: list[int],
        gifts: list[int],
        begins: str,
        price: BlockPrice,
        absent: list[Absence],
    ) -> None:
        self.platform = PlatformModel(users)
        for user_id, pack, gift in zip(self.platform.users, packs, gifts, strict=False):
            if pack:
                self.platform.buy(user_id, pack)
            if gift:
                self.platform.gift(user_id, gift)
        if begins in ("call", "both"):
            self.connect_call(0, 1, price)
        if begins in ("stream", "show", "both"):
            self.platform.announce(
                self.platform.users[-1], None if begins == "show" else price, 40 if begins == "show" else None
            )
            self.go_live(0)
        for number, absence in enumerate(absent):
            self.be_away_as_blocks_fall_due(number, absence)

    # Calls

    @rule(user=somebody, further=another, price=prices)
    def ring(self, user: int, further: int, price: BlockPrice) -> None:
        self.platform.ring(self._user(user), self._other(user, further), price)

    @rule(user=somebody, further=another, price=prices)
    def connect_call(self, user: int, further: int, price: BlockPrice) -> None:
        """One user rings another, who accepts; both join."""
        fan, creator = self._user(user), self._other(user, further)
        self.platform.ring(fan, creator, price)
        call = self.platform.call_of(creator)
        if call is not None and call.fan == fan:
            self.platform.give(call, inputs.CallAction(creator, c.CallAccept(call_id=call.id), FakeReply()))
            for party in (creator, fan):
                self.platform.join(party, call, 1)
            self.platform.commit()

    @rule(user=somebody, command=st.sampled_from(COMMANDS))
    def command(self, user: int, command: type[c.CallCommand]) -> None:
        if (call := self.platform.call_of(self._user(user))) is not None and self._user(
            user
        ) not in self.platform.banned:
            self.platform.return_to_rooms(self._user(user))
            self.platform.give(call, inputs.CallAction(self._user(user), command(call_id=call.id), FakeReply()))

    # Streams

    @rule(user=somebody, price=st.none() | prices, ticket=st.sampled_from([None, 40, 900]))
    def announce(self, user: int, price: BlockPrice | None, ticket: int | None) -> None:
        self.platform.announce(self._user(user), price, ticket)

    @rule(which=anything)
    def go_live(self, which: int) -> None:
        """Start a stream that all users join, with a ticket if they can buy one."""
        stream = self._stream(which)
        if stream is None or stream.opened or stream.payee in self.platform.banned:
            return
        self.platform.start(stream)
        if stream.opened:
            for user_id in self.platform.users:
                self.platform.buy_ticket(user_id, stream)
                self.platform.join(user_id, stream, 1)
            self.platform.commit()

    @rule(which=anything, user=somebody)
    def buy_a_ticket(self, which: int, user: int) -> None:
        if (stream := self._stream(which)) is not None:
            self.platform.buy_ticket(self._user(user), stream)

    @rule(which=anything, sure=sure)
    def end_stream(self, which: int, sure: bool) -> None:
        stream = self._stream(which)
        if stream is not None and sure and stream.opened:
            self.platform.give(stream, inputs.EndNow("ended"))
        elif stream is not None and sure:
            self.platform.cancel(stream)

    @rule(which=anything, user=somebody, sure=sure)
    def remove(self, which: int, user: int, sure: bool) -> None:
        stream, user_id = self._stream(which), self._user(user)
        if sure and stream is not None and stream.opened and stream.member_of(stream.payee) and user_id != stream.payee:
            self.platform.return_to_rooms(stream.payee)
            self.platform.remove(stream, user_id)

    # Presence

    @rule(which=anything, user=somebody, number=numbers)
    def join(self, which: int, user: int, number: int) -> None:
        if (room := self._room(which)) is not None:
            self.platform.join(self._user(user), room, number)

    @rule()
    def everybody_joins(self) -> None:
        for room in self.platform.open_rooms():
            for user_id in self.platform.users:
                self.platform.join(user_id, room, 1)

    @rule(which=anything, user=somebody, what=st.sampled_from(["leave", "fall silent", "break off", "come back"]))
    def join_or_leave(self, which: int, user: int, what: str) -> None:
        room, user_id = self._room(which), self._user(user)
        if what == "come back" and user_id not in self.platform.banned:
            self.platform.return_to_rooms(user_id)
        elif user_id not in self.platform.away and what == "fall silent":
            self.platform.vanish(user_id)
        elif user_id not in self.platform.away and what == "break off":
            self.platform.lose_network(user_id)
        elif user_id not in self.platform.away and what == "leave" and room is not None:
            self.platform.return_to_rooms(user_id)
            for member_id in room.member_of(user_id):
                self.platform.give(room, inputs.Left(member_id))

    @rule(which=anything, absence=absences)
    def be_away_as_blocks_fall_due(self, which: int, absence: Absence) -> None:
        """Let a user be away from some seconds before the room's next deadline until some seconds later."""
        room = self._room(which)
        for _ in range(absence.times):
            if room is None or room.ended or (deadline := room.rules.next_deadline()) is None:
                break
            viewers = [viewer for viewer in self.platform.users if room.member_of(viewer) and viewer != room.payee]
            user_id = room.payee if absence.whose == "payee" or not viewers else viewers[which % len(viewers)]
            self.platform.wait(max(0, deadline - absence.before - self.platform.now))
            self._go(room, user_id, absence.way, absence.span)
            self.platform.commit()
            if not room.ended:
                self.platform.join(user_id, room, 1)

    def _go(self, room: Room, user_id: UserId, way: str, span: Duration) -> None:
        if way == "stalled":
            self.platform.stall(span)
            return
        if way == "silent":
            self.platform.vanish(user_id)
        elif way == "lost" and user_id not in self.platform.away:
            self.platform.lose_network(user_id)
        elif not room.ended:
            for member_id in room.member_of(user_id):
                self.platform.give(room, inputs.Left(member_id))
        self.platform.wait(span)

    @rule(which=anything, user=somebody, tokens=tokens, key=st.sampled_from(["same", "new", "new"]))
    def tip_in_a_room(self, which: int, user: int, tokens: int, key: str) -> None:
        room, user_id = self._room(which), self._user(user)
        if room is not None and user_id not in self.platform.banned:
            name = key if key == "same" else f"tip {self.platform.next_number()}"
            command = c.TipSend(channel=room.facts.channel, amount_tokens=tokens, key=name)
            new_id = UUID(int=self.platform.next_number())
            self.platform.give(room, inputs.RoomAction(person(user_id), None, command, new_id, FakeReply()))

    # Time and servers

    @rule(span=spans)
    def wait(self, span: int) -> None:
        self.platform.wait(span)

    @rule(blocks=st.integers(1, 5))
    def let_time_pass(self, blocks: int) -> None:
        """Let time pass while batches are committed at once."""
        for _ in range(blocks):
            self.platform.wait(10_000 * MILLISECOND)
            self.platform.commit()

    @rule(span=spans)
    def stall(self, span: int) -> None:
        self.platform.stall(span)

    @rule()
    def commit(self) -> None:
        self.platform.commit()

    @rule(which=anything, what=st.sampled_from(["book", "deliver", "checkpoint"]))
    def store_for_a_room(self, which: int, what: str) -> None:
        """Book the postings of one room, deliver one of its receipts, or store the positions of its clocks."""
        if (room := self._room(which)) is None:
            return
        if what == "book":
            room.committer.commit_and_send(room.epoch)
        elif what == "deliver" and room.committer.arrivals:
            self.platform.give(room, room.committer.arrivals.pop(0))
        elif what == "checkpoint" and isinstance(room, StreamRoom) and not room.rules.termination.over:
            room.checkpoint(self.platform.now)

    @rule(
        which=anything,
        what=st.sampled_from(["nothing", "nothing", "drain", "lose a room", *["crash"] * 3]),
        committed=st.sampled_from(["nothing", "postings", "all"]),
        down=spans,
        set_back=st.sampled_from([0, 0, 3600]).map(duration),
    )
    def fail(self, which: int, what: str, committed: str, down: Duration, set_back: Duration) -> None:
        if what == "crash":
            self.platform.crash(committed, down, set_back)
        elif what == "drain":
            self.platform.drain(down)
        elif what == "lose a room" and (room := self._room(which)) is not None:
            self.platform.lose_room(room)

    @rule(times=st.integers(2, 6), away=st.sampled_from([2, 6]).map(duration))
    def restart_again_and_again(self, times: int, away: Duration) -> None:
        """Restart the servers repeatedly; all users rejoin some seconds after each restart."""
        for _ in range(times):
            self.platform.crash("all", away, 0)
            self.platform.wait(away)
            self.everybody_joins()
            self.platform.commit()

    # The invariants

    @invariant()
    def the_ledger_is_true(self) -> None:
        self.sound = False
        check_ledger(self.platform)
        self.sound = True

    def teardown(self) -> None:
        """End all rooms and compare the bills."""
        if not self.sound:
            return
        platform = self.platform
        platform.commit()
        for room in platform.rooms:
            if isinstance(room, StreamRoom) and not room.opened and not room.ended:
                platform.cancel(room)
            elif not room.ended and room.id not in platform.accountant.ended:
                platform.give(room, inputs.EndNow("admin"))
        platform.wait(PRESENCE)
        platform.commit()
        check_ledger(platform)
        check_bills(platform)
