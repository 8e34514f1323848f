"""Passes joins and commands of sessions to rooms.

An unauthorised user gets NOT_FOUND, so that rooms cannot be probed. Reads of the database that a room's decision needs
happen here, before the input is offered: the room's task itself never waits for a read.
"""

import contextlib
from functools import partial
from typing import Any

import trio

from domain.billing.meter import StoredMeter
from domain.ids import UserId
from domain.protocol import commands as c
from domain.refusals import Code, Refusal
from domain.room import inputs
from domain.room.effects import Audience
from domain.stream.access_policy import pays
from domain.stream.record import StreamFacts
from server.broadcast.replies import AdmissionReply, KeyedReply
from server.ids import is_channel, new_uuid
from server.money.tips import recall_in_room
from server.rooms.leases.absent_rooms import AbsentRooms
from server.rooms.registry import Registry
from server.rooms.room import LiveRoom
from server.sessions.call_commands import FULL, NO_SUCH_ROOM, CallCommands
from server.sessions.directory import Sessions
from server.sessions.session import Membership, Session
from storage.database_errors import StatementRefused, StorageUnavailable
from storage.postgres import Postgres
from storage.rooms.streams import find_stream_in, open_viewing_session
from storage.rooms.tips import tips_after

STREAM_ENDED = Refusal(Code.STREAM_ENDED, "The stream has ended")
RIGHTS_SECONDS = 0.5  # for reading the payers' meters: a session without access is removed within a second
ONLY_AN_OVERLAY = Refusal(Code.FORBIDDEN, "This token is an overlay's, and an overlay only listens")


class RoomCommands:
    """Joins sessions to rooms, and passes their commands to the rooms they are in.

    Its methods run in the task of a connection. Every command gets exactly one answer, from here or from the room,
    through its reply; a method that raises has delivered none, and the gateway answers.
    """

    def __init__(
        self,
        postgres: Postgres,
        registry: Registry,
        sessions: Sessions,
        calls: CallCommands,
        absent_rooms: AbsentRooms,
        rooms_per_session: int,
    ) -> None:
        self._postgres = postgres
        self._absent_rooms = absent_rooms
        self._registry = registry
        self._sessions = sessions
        self._calls = calls
        self._rooms_per_session = rooms_per_session

    async def join(self, session: Session, command: c.RoomJoin, reply: inputs.Reply) -> None:
        """Pass a join to the room, which answers `room:joined` or the refusal.

        Refused here: a member's join with an overlay's token (FORBIDDEN), an unknown or forbidden room (NOT_FOUND), a
        room that has ended or is starting, more than `rooms_per_session` rooms and a full inbox (OVERLOADED), and a
        join as the other kind of member (FORBIDDEN). A second join of the same kind is passed on: the answer to the
        first one may have been lost.
        Raises StorageUnavailable, with nothing done. Cancellation may leave a membership that the room never admits; it
        ends with the session.
        """
        room, memberships = self._registry.find_channel(command.channel), session.live_memberships()
        if command.as_ == "member" and session.identity.overlay_of is not None:
            reply.deliver(ONLY_AN_OVERLAY)
        elif room is None:
            reply.deliver(await self._no_room(session.user_id, command.channel))
        elif room.parties and session.creator_id not in room.parties:
            reply.deliver(NO_SUCH_ROOM)
        elif command.channel not in memberships and len(memberships) >= self._rooms_per_session:
            reply.deliver(Refusal(Code.OVERLOADED, "Too many rooms in one session"))
        elif (membership := memberships.get(command.channel)) is not None and membership.audience is not Audience(
            f"{command.as_}s"
        ):
            reply.deliver(
                Refusal(Code.FORBIDDEN, f"You are in this room as {membership.audience.value}; leave it first")
            )
        else:
            membership = Membership(room, Audience(f"{command.as_}s"))
            entering = AdmissionReply(
                reply, partial(session.admit, membership), partial(session.drop_refused_join, membership)
            )
            await self._enter(session, membership, command, entering)

    async def _enter(self, session: Session, membership: Membership, command: c.RoomJoin, reply: inputs.Reply) -> None:
        """Add the membership, read what the room needs of the database, and offer the join to the room."""
        session.enter(membership)  # first, so that the room receives changes of the payer's funds
        try:
            joining = await self._joining(session, membership.room, command, reply)
        except Exception:  # reason: raised again; the membership would otherwise never end
            session.drop_refused_join(membership)
            raise
        if not session.has(membership):  # it has left meanwhile, so the room would never receive its `Left`
            reply.deliver(NO_SUCH_ROOM)
        elif not membership.room.inbox.offer(joining):
            reply.deliver(FULL)
        elif session.is_silent:  # the silence began before the room knew the session
            membership.room.inbox.deliver(session.silence_in(membership.room))

    async def _joining(
        self, session: Session, room: LiveRoom, command: c.RoomJoin, reply: inputs.Reply
    ) -> inputs.Joined | inputs.OverlayJoined:
        """The input for a join, with the stored meter of a payer, or the tips that an overlay missed."""
        if command.as_ == "member":
            meter = await self._stored_meter(session, room)
            return inputs.Joined(session.member_id, session.user_id, reply, session.identity.is_operator, meter)
        asked_at = room.clock.now()
        missed = await self._missed_tips(room, command)
        return inputs.OverlayJoined(session.member_id, session.creator_id, tuple(missed), asked_at, reply)

    async def _stored_meter(self, session: Session, room: LiveRoom) -> StoredMeter | None:
        """The stored meter of a viewer who would pay in this stream; None for others, and for one who has no access.

        Also read while the stream restarts, since it handles the join afterwards.
        """
        facts, is_operator = room.facts, session.identity.is_operator
        if not isinstance(facts, StreamFacts) or not pays(facts, session.user_id, is_operator):
            return None
        if room.why_no_access(session.user_id, is_operator) is not None:
            return None
        return await open_viewing_session(self._postgres, room.id, session.user_id)

    def check_rights(self, session: Session) -> None:
        """Have every room of a session check its access again, after a token with other rights.

        Returns at once; the check runs in a background task, even if the connection is lost. A session that cannot be
        checked is ended.
        """
        sessions = self._sessions
        self._registry.spawn("rights", partial(self._check_rights, session), partial(sessions.drop, session))

    async def _check_rights(self, session: Session) -> None:
        """Check the rooms that need no database first, so that they do not wait for it.

        A former operator whose meter cannot be read within RIGHTS_SECONDS is checked without one, and so loses access
        to a metered stream rather than watching it for free.
        """
        is_operator = session.identity.is_operator
        memberships = [
            membership for membership in session.live_memberships().values() if membership.audience is Audience.MEMBERS
        ]
        paid = [membership for membership in memberships if not is_operator and membership.room.has_blocks]
        for membership in memberships:
            if membership not in paid:
                membership.room.inbox.deliver(inputs.RightsChanged(session.member_id, is_operator))
        deadline = trio.current_time() + RIGHTS_SECONDS
        for membership in paid:
            meter = None
            with trio.move_on_at(deadline), contextlib.suppress(StorageUnavailable, StatementRefused):
                meter = await self._stored_meter(session, membership.room)
            if not session.identity.is_operator:  # otherwise a later token has its own check
                membership.room.inbox.deliver(inputs.RightsChanged(session.member_id, is_operator, meter))

    async def _missed_tips(self, room: LiveRoom, command: c.RoomJoin) -> list[Any]:
        """The tips since the one that a reconnecting overlay has shown last; none if it names no tip."""
        if command.since_tip_id is None or room.rules is None:
            return []
        facts, hidden = room.rules.facts, room.hidden_users()
        creator_id = UserId(facts.creator.user_id)
        return await tips_after(self._postgres, room.id, creator_id, facts.created_at, hidden, command.since_tip_id)

    def send_to_room(self, session: Session, command: c.MemberCommand, reply: inputs.Reply) -> None:
        """Pass chat, a tip, a signal or a moderation command to the room, which answers. Only members may send them.

        A session that is no member gets NOT_FOUND, and a full inbox OVERLOADED. A refused tip is looked up under its
        idempotency key before it is answered, since the same tip may have been paid before.
        """
        if isinstance(command, c.TipSend):
            recall = recall_in_room(self._postgres, session.user_id, command)
            reply = KeyedReply(reply, recall, partial(self._registry.spawn, "recall"))
        membership = session.live_memberships().get(command.channel)
        if membership is None or membership.audience is not Audience.MEMBERS:
            reply.deliver(NO_SUCH_ROOM)
            return
        action = inputs.RoomAction(
            session.person, session.member_id, command, new_uuid(), reply, session.identity.is_operator
        )
        if not membership.room.inbox.offer(action):
            reply.deliver(FULL)

    async def _no_room(self, user_id: UserId, channel: str) -> Refusal:
        """The refusal of a join for a channel without a live room, by its stored stream or call.

        Raises StorageUnavailable.
        """
        stream = await find_stream_in(self._postgres, channel) if is_channel(channel) else None
        if stream is None:
            return await self._calls.why_no_room(user_id, channel)
        if stream.record.status == "scheduled":
            return Refusal(Code.STREAM_NOT_LIVE, "The stream has not begun")
        return await self._absent_rooms.why_absent(stream.facts.id) or STREAM_ENDED
