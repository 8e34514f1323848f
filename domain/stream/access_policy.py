"""Which users have access to a stream, and the reason (contract.md, Access to rooms)."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple
from uuid import UUID

from domain.ids import MemberId, UserId
from domain.protocol.commands import MemberMute, MemberRemove
from domain.refusals import Code, Refusal, unfit
from domain.room.inputs import RoomAction
from domain.stream.record import StreamFacts

Reason = Literal["public_stream", "owner", "operator", "ticket", "metered", "ticket_required", "stream_ended", "banned"]


class Access(NamedTuple):
    """Whether a user may watch, and the reason that decides it."""

    has_access: bool
    reason: Reason


def access_to(
    facts: StreamFacts, user_id: UserId, *, is_operator: bool, holds_ticket: bool, is_banned: bool, ended: bool
) -> Access:
    """Decide access to a stream; the answer is the same over HTTP and when joining the room.

    The owner and operators have access even if they are banned; nobody has access once the stream has ended.
    """
    if ended:
        return Access(False, "stream_ended")
    if user_id == facts.owner_id:
        return Access(True, "owner")
    if is_operator:
        return Access(True, "operator")
    if is_banned:
        return Access(False, "banned")
    if facts.ticket_price_tokens is not None:
        return Access(True, "ticket") if holds_ticket else Access(False, "ticket_required")
    return Access(True, "public_stream" if facts.price is None else "metered")


def pays(facts: StreamFacts, user_id: UserId, is_operator: bool) -> bool:
    """Return whether this user would pay by the block: in a metered stream, except the owner and operators."""
    return facts.price is not None and user_id != facts.owner_id and not is_operator


class AccessPolicy:
    """The tickets, bans and operators of a live stream, complete as its room knows them."""

    def __init__(
        self, facts: StreamFacts, tickets: Mapping[UserId, UUID], blocked: Iterable[UserId], removed: Iterable[UserId]
    ) -> None:
        self._facts = facts
        self.tickets = dict(tickets)  # the ticket's id by its holder
        self.blocked = set(blocked)  # users blocked by the creator, or banned by an operator
        self.removed = set(removed)  # users that the creator removed from this stream
        self.operators: set[MemberId] = set()  # connections whose newest token is an operator's

    def access(self, user_id: UserId, is_operator: bool = False) -> Access:
        """Return whether this user has access to the live stream, and the reason."""
        is_banned = user_id in self.blocked or user_id in self.removed
        return access_to(
            self._facts,
            user_id,
            is_operator=is_operator,
            holds_ticket=user_id in self.tickets,
            is_banned=is_banned,
            ended=False,
        )

    def refund(self, user_id: UserId, ticket_id: UUID) -> bool:
        """Remove a refunded ticket, and return whether its holder has lost access by it.

        False if this id is not the user's present ticket.
        """
        if self.tickets.get(user_id) != ticket_id:
            return False
        del self.tickets[user_id]
        return not self.access(user_id).has_access

    def set_blocked(self, user_id: UserId, blocked: bool) -> bool:
        """Note that a user is blocked or unblocked; return whether they have no access now."""
        if blocked:
            self.blocked.add(user_id)
        else:
            self.blocked.discard(user_id)
        return not self.access(user_id).has_access

    def note_rights(self, member_id: MemberId, is_operator: bool) -> None:
        """Note whether a connection has an operator's rights."""
        if is_operator:
            self.operators.add(member_id)
        else:
            self.operators.discard(member_id)

    def role(self, user_id: UserId, is_operator: bool) -> str:
        """Return the role of a joining user: `owner`, `operator` or `viewer`."""
        return "owner" if user_id == self._facts.owner_id else "operator" if is_operator else "viewer"

    def pays(self, user_id: UserId, is_operator: bool) -> bool:
        """Return whether this user pays by the block here."""
        return pays(self._facts, user_id, is_operator)

    def refuse(self, user_id: UserId, is_operator: bool) -> Refusal | None:
        """Return why this user may not join, or None.

        CREATOR_UNAVAILABLE if they are blocked, FORBIDDEN without a ticket or after a removal.
        """
        access = self.access(user_id, is_operator)
        if access.has_access:
            return None
        if user_id in self.blocked:
            return Refusal(Code.CREATOR_UNAVAILABLE, "The creator is not available")
        if access.reason == "ticket_required":
            return Refusal(Code.FORBIDDEN, "This stream needs a ticket")
        return Refusal(Code.FORBIDDEN, "You were removed from this stream")

    def why_evicted(self, user_id: UserId) -> str:
        """Return the eviction reason for a user who has access no longer, since their operator rights have ended."""
        if user_id in self.removed:
            return "removed"
        return "banned" if user_id in self.blocked else "token_expired"

    def refuse_action(self, action: RoomAction, is_member: bool) -> Refusal | None:
        """Return why a user may not send this here, or None.

        Over a connection only members may. Over HTTP everybody with access may. Only the owner mutes and removes.
        """
        user_id = UserId(action.person.user_id)
        if action.member_id is None:
            return self.refuse(user_id, action.is_operator)
        if not is_member:
            return Refusal(Code.NOT_FOUND, "No such room")
        if not isinstance(action.command, MemberMute | MemberRemove):
            return None
        if user_id != self._facts.owner_id:
            return Refusal(Code.FORBIDDEN, "Only the stream's owner may do this")
        return unfit(("userId", "is your own")) if action.command.user_id == user_id else None
