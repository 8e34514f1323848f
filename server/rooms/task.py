"""One room: its inbox or its clock, then the rules, then their effects. Nothing else happens in a room."""

from collections import deque
from collections.abc import Collection, Iterable
from contextvars import Context
from typing import Protocol

import msgspec
import trio

from domain.billing.posting import Kind
from domain.ids import MemberId, UserId
from domain.instant import Instant
from domain.refusals import Code, Refusal
from domain.room import effects, inputs
from server.broadcast.audiences import MOVED, Audiences
from server.broadcast.fanout import Fanout
from server.clock import Clock
from server.observability.faults import Faults
from server.observability.metrics import Metrics
from server.rooms.committer import Committer, Storage
from server.rooms.inbox.inbox import Arrival, Inbox, ends_a_call
from server.rooms.ownership import Ownership

AT_ONCE = 64  # inputs that are handled before members hear of the first
ORDERS = inputs.EndNow | inputs.Drain | inputs.UserBlocked  # the server's own, which it gives once
BROKEN = Refusal(Code.INTERNAL, "Something went wrong on our side, and the room starts again")
NOT_ADMITTED = Refusal(Code.INTERNAL, "Something went wrong on our side; join again")


class RoomStopped(Exception):
    """The committer was cancelled though nobody asked for it, and the room is not settled."""


class Rules(Protocol):
    """What a room decides: a call, or a stream."""

    @property
    def over(self) -> bool: ...

    @property
    def settled(self) -> bool: ...

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]: ...

    def next_deadline(self) -> Instant | None: ...


class Sessions(Protocol):
    """Who can be told something although they may not be in the room."""

    def send_to_user(
        self, user_id: UserId, event: msgspec.Struct, n: int = 0, but: Collection[MemberId] = frozenset()
    ) -> None: ...

    def send_to_member(self, member_id: MemberId, event: msgspec.Struct) -> None: ...

    def removed(self, member_id: MemberId, fanout: Fanout) -> None: ...

    def close_silent(self, member_id: MemberId) -> None: ...


class RoomTask:
    """Runs one room until it is settled: over, with every receipt in and its last record stored."""

    def __init__(
        self,
        room: Rules,
        clock: Clock,
        inbox: Inbox,
        audiences: Audiences,
        storage: Storage,
        sessions: Sessions,
        metrics: Metrics,
        faults: Faults,
        ownership: Ownership,
    ) -> None:
        self.room = room
        self.clock = clock
        self._inbox = inbox
        self._audiences = audiences
        self._sessions = sessions
        self._metrics = metrics
        self._faults = faults
        self._ownership = ownership
        self._disowned = False
        self._committer = Committer(storage, inbox)
        self._private: list[effects.Send | effects.SendToMember] = []
        self._handled = 0  # since members were last told
        self.cause: Context | None = None  # of what is handled, or was last
        self._taken: Arrival | None = None  # from the inbox, and not handled to its end
        self._ended_by: Arrival | None = None  # the input after which the room was over, though not settled yet

    async def run(self) -> None:
        """A room waits for its inbox or its clock, never for the database. Raises what its rules and effects raise."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._committer.run)
                while not self.room.settled:
                    self._taken = await self._inbox.next(self.room.next_deadline())
                    if not self._ownership.held:
                        await self._confirm_ownership()
                    self._handle_taken()
                    if not self._inbox.holds_more or self._handled == AT_ONCE:
                        if not self._ownership.held:
                            await self._confirm_ownership()
                        self._tell_all()
                nursery.cancel_scope.cancel()
            if not self.room.settled:
                raise RoomStopped
            self._answer_late()
        finally:
            if not (self._ownership.held or self._disowned):
                self._forget_untold()
            self._tell_all()  # what was decided before a crash, too

    def _answer_late(self) -> None:
        """Handle what arrived too late for a room that is settled. If the rules raise, what is left waits again."""
        waiting = deque(self._inbox.take_all())
        try:
            while waiting:
                self._taken = waiting.popleft()
                self._handle_taken()
        finally:
            self._inbox.put_back(waiting)

    async def _confirm_ownership(self) -> None:
        """Wait while the lease is in doubt. A room that was lost forgets what it decided and did not tell yet."""
        if await self._ownership.confirm() or self._disowned:
            return
        self._disowned = True
        self._forget_untold()
        self._handle(Arrival(inputs.Fenced(), self.clock.now()))

    def _forget_untold(self) -> None:
        self._audiences.discard()
        self._private.clear()

    def answer_broken(self) -> None:
        """After a crash: answer the command that was taken and not handled, or keep what must not be lost.

        That is the re-join of a member, and whatever was to end the room, be it handled already: what is not stored is
        lost with the rules, and nobody asks for it again. Restarts are bounded, so these are.
        """
        if self._ended_by is not None:
            self._inbox.put_back([self._ended_by])
        given = self._taken
        if given is None:
            return
        if given.is_rejoin or isinstance(given.given, ORDERS):
            self._inbox.put_back([given])
        elif isinstance(given.given, inputs.Request):
            given.given.reply.deliver(BROKEN)

    def begin(self, first: Iterable[effects.Effect]) -> None:
        """Carry out what is to happen before anything arrives."""
        self._perform(first, self.clock.now())
        self._tell_all()

    def _handle_taken(self) -> None:
        assert self._taken is not None
        self._handle(self._taken)
        self._taken = None

    def _handle(self, given: Arrival) -> None:
        self._handled += 1
        self.cause = given.context
        self._perform(self.room.handle(given.given, given.at), given.at)
        if self._ended_by is None and self.room.over and (isinstance(given.given, ORDERS) or ends_a_call(given.given)):
            self._ended_by = _answered(given)

    def _tell_all(self) -> None:
        """What fell together leaves together: the room's events, then what single users were to hear after them."""
        self._handled = 0
        self._audiences.flush()
        told, self._private = self._private, []
        for news in told:
            self._tell(news)

    def _tell(self, news: effects.Send | effects.SendToMember) -> None:
        with self._faults.contained("tell"):
            match news:
                case effects.Send(user_id, event, n, but):
                    self._sessions.send_to_user(user_id, event, n, but)
                case effects.SendToMember(member_id, event):
                    self._sessions.send_to_member(member_id, event)

    def _perform(self, wanted: Iterable[effects.Effect], at: Instant) -> None:
        for effect in wanted:
            match effect:
                case effects.Post(posting):
                    self._committer.post(posting)
                    if posting.kind is Kind.BLOCK:
                        self._metrics.block_posted(late=self.clock.now() - at)
                case effects.Withdraw(payer):
                    self._committer.withdraw(payer)
                case effects.Refund(user_id):
                    self._committer.refund(user_id)
                case effects.GiveBack(blocks):
                    self._committer.give_back(blocks)
                case effects.Release():
                    self._committer.release()
                case effects.Save(record):
                    self._committer.save(record)
                case effects.Publish(event, audience):
                    self._audiences.publish(event, audience)
                case effects.Send() | effects.SendToMember():
                    if self._audiences.has_unflushed:
                        self._private.append(effect)
                    else:
                        self._tell(effect)
                case effects.Admit():
                    self._admit(effect)
                case effects.Remove(member_id, audience):
                    self._audiences[audience].remove(member_id)
                    self._sessions.removed(member_id, self._audiences[audience])
                case effects.Disconnect(member_id):
                    self._sessions.close_silent(member_id)
                case effects.Answer(reply, result):
                    with self._faults.contained("reply"):
                        reply.deliver(result)
                case effects.Close(moved):
                    if moved:
                        self._audiences.close(at, MOVED)
                    self._audiences.clear()

    def _admit(self, admitted: effects.Admit) -> None:
        """A member whose answer cannot be sent leaves at once: nobody is billed who does not know that they are in."""
        member_id, reply = admitted.member_id, admitted.reply

        def refuse_waiting() -> None:
            self._inbox.deliver(inputs.Left(member_id))
            reply.deliver(NOT_ADMITTED)

        with self._faults.contained("reply", refuse_waiting):
            reply.deliver(admitted.event)
            self._audiences[admitted.audience].add(member_id)


def _answered(given: Arrival) -> Arrival:
    """The input as it is to be handled once more, by other rules: a command of it was answered."""
    if isinstance(given.given, inputs.CallAction):
        return msgspec.structs.replace(given, given=msgspec.structs.replace(given.given, reply=_NoReply()))
    return given


class _NoReply:
    """For a command that was answered before."""

    def deliver(self, _: object) -> None: ...
