"""Sends a session the events about its calls and streams that its new connection needs.

Private events have no history: a session that was away gets the present state instead of the events it missed
(contract.md, Messages).
"""

from collections.abc import Callable
from typing import Any

from domain.room import inputs
from server.rooms.registry import Registry
from server.sessions.session import Session

Send = Callable[[Any], None]


def resend(
    registry: Registry, ping_timeout_seconds: float, session: Session, send: Send, received_at: float | None
) -> None:
    """Resend a call's end, an invitation to a call, whether a payer's funds suffice, and the viewers of an own stream.

    Called by the gateway after `session:ready` of a new or resumed session; `send` sends over its connection.
    `received_at` is when the last byte arrived over the former connection, by trio's clock; None for a new session.
    Never waits: the funds and the viewers are sent by the tasks of the rooms, which answer an input.
    """
    if received_at is not None:
        _resend_call_end(session, send, received_at - ping_timeout_seconds)
        _resend_funds(session)
    _resend_invitation(registry, session, send)
    _resend_viewers(registry, session)


def _resend_call_end(session: Session, send: Send, moment: float) -> None:
    """Resend the end of a call since `moment`, which the former connection may not have delivered.

    That connection may have been dead for as long as a ping may be unanswered.
    """
    event = session.call_end_since(moment)
    if event is not None:
        send(event)


def _resend_funds(session: Session) -> None:
    """Have the rooms in which the user may pay send `balance:low` or `balance:ok`."""
    for membership in session.live_memberships().values():
        if membership.room.parties or membership.room.has_blocks:
            membership.room.inbox.deliver(inputs.PayerResumed(session.user_id))


def _resend_invitation(registry: Registry, session: Session, send: Send) -> None:
    """Send `call:ringing` or `call:accepted` to a session that opens before both parties are in the call."""
    room = registry.call_of(session.user_id)
    for invitation in () if room is None else room.invitations():
        if invitation.user_id == session.user_id:
            send(invitation.event)


def _resend_viewers(registry: Registry, session: Session) -> None:
    """Have a metered stream send its viewers to its owner, whose new connection knows none of them."""
    room = registry.metered_stream_of(session.user_id)
    if room is not None and session.identity.overlay_of is None:
        room.inbox.deliver(inputs.OwnerConnected(session.member_id))
