"""The task of one room: waits for an input or a deadline, applies the rules, and carries out their effects."""

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

AT_ONCE = 64  # inputs that are handled before events are sent to members
ORDERS = inputs.EndNow | inputs.Drain | inputs.UserBlocked  # the server's own, which it gives once
BROKEN = Refusal(Code.INTERNAL, "Something went wrong on our side, and the room starts again")
NOT_ADMITTED = Refusal(Code.INTERNAL, "Something went wrong on our side; join again")


class RoomStopped(Exception):
    """The committer was cancelled from inside although the room is not settled."""


class Rules(Protocol):
    """The rules of a call or a stream."""

    @property
    def over(self) -> bool:
        """Whether the room has ended, or has left this server; receipts may be outstanding."""
        ...

    @property
    def settled(self) -> bool:
        """Whether the room is over, with every receipt received and its last record stored."""
        ...

    def handle(self, given: inputs.Input, at: Instant) -> list[effects.Effect]: ...

    def next_deadline(self) -> Instant | None:
        """When the rules must be called with `Elapsed`, if no input comes before."""
        ...


class Sessions(Protocol):
    """The sessions of this server, which receive private events whether or not they are in the room."""

    def send_to_user(
        self, user_id: UserId, event: msgspec.Struct, n: int = 0, but: Collection[MemberId] = frozenset()
    ) -> None: ...

    def send_to_member(self, member_id: MemberId, event: msgspec.Struct) -> None:
        """Send an event to one session, if it is still open."""
        ...

    def removed(self, member_id: MemberId, fanout: Fanout) -> None:
        """Note that the room has removed this session."""
        ...

    def close_silent(self, member_id: MemberId) -> None:
        """Close the connection of a session that is silent; the session can be resumed."""
        ...


class RoomTask:
    """Runs one room until it is settled: over, with every receipt received and its last record stored."""

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
        self._handled = 0  # inputs since events were last sent
        self.cause: Context | None = None  # context of the present or latest input, for log lines
        self._taken: Arrival | None = None  # from the inbox, not handled completely
        self._ended_by: Arrival | None = None  # the input after which the room was over, though not settled yet

    async def run(self) -> None:
        """Run the room; it waits for its inbox or a deadline, never for the database.

        Raises what its rules and effects raise, RoomBroken, and RoomStopped. Events decided before that are sent.
        """
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
                        self._send_all()
                nursery.cancel_scope.cancel()
            if not self.room.settled:
                raise RoomStopped
            self._answer_late()
        finally:
            if not (self._ownership.held or self._disowned):
                self._drop_unsent()
            self._send_all()  # also what was decided before a crash

    def _answer_late(self) -> None:
        """Handle the inputs that arrived after the room was settled. If the rules raise, the rest goes back."""
        waiting = deque(self._inbox.take_all())
        try:
            while waiting:
                self._taken = waiting.popleft()
                self._handle_taken()
        finally:
            self._inbox.put_back(waiting)

    async def _confirm_ownership(self) -> None:
        """Wait while the lease is not trusted. If the room has another owner, drop the events that are not sent."""
        if await self._ownership.confirm() or self._disowned:
            return
        self._disowned = True
        self._drop_unsent()
        self._handle(Arrival(inputs.Fenced(), self.clock.now()))

    def _drop_unsent(self) -> None:
        """Drop the events that are decided and not sent."""
        self._audiences.discard()
        self._private.clear()

    def answer_broken(self) -> None:
        """After a crash, answer the command that was not handled completely, or put back an input that must be kept.

        Put back are the rejoin of a member, the server's orders, and the input that ended the room, even if it was
        handled: its effect is lost with the rules, and it is not repeated by its sender.
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
        """Carry out the effects of the room's start, before the first input."""
        self._perform(first, self.clock.now())
        self._send_all()

    def _handle_taken(self) -> None:
        assert self._taken is not None
        self._handle(self._taken)
        self._taken = None

    def _handle(self, given: Arrival) -> None:
        """Apply the rules to one input and carry out their effects; remembers the input that ended the room."""
        self._handled += 1
        self.cause = given.context
        self._perform(self.room.handle(given.given, given.at), given.at)
        if self._ended_by is None and self.room.over and (isinstance(given.given, ORDERS) or ends_a_call(given.given)):
            self._ended_by = _answered(given)

    def _send_all(self) -> None:
        """Send the room's events that were decided together as one write, and then the private events behind them."""
        self._handled = 0
        self._audiences.flush()
        private, self._private = self._private, []
        for effect in private:
            self._send(effect)

    def _send(self, effect: effects.Send | effects.SendToMember) -> None:
        with self._faults.contained("tell"):
            match effect:
                case effects.Send(user_id, event, n, but):
                    self._sessions.send_to_user(user_id, event, n, but)
                case effects.SendToMember(member_id, event):
                    self._sessions.send_to_member(member_id, event)

    def _perform(self, wanted: Iterable[effects.Effect], at: Instant) -> None:
        """Carry out effects in order. None of them waits: postings and records go to the committer."""
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
                        self._send(effect)
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
        """Send a join's answer and add the member. If that raises, the member leaves, so that it is not billed."""
        member_id, reply = admitted.member_id, admitted.reply

        def undo() -> None:
            self._inbox.deliver(inputs.Left(member_id))
            reply.deliver(NOT_ADMITTED)

        with self._faults.contained("reply", undo):
            reply.deliver(admitted.event)
            self._audiences[admitted.audience].add(member_id)


def _answered(given: Arrival) -> Arrival:
    """The input as the next rules handle it: without its reply, since its command was answered."""
    if isinstance(given.given, inputs.CallAction):
        return msgspec.structs.replace(given, given=msgspec.structs.replace(given.given, reply=_NoReply()))
    return given


class _NoReply:
    """The reply of a command that was answered before."""

    def deliver(self, _: object) -> None: ...
