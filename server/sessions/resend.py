"""Tells a session again of present calls and streams once it has a new connection."""

from collections.abc import Callable
from typing import Any

from domain.room import inputs
from server.rooms.registry import Registry
from server.sessions.session import Session

Send = Callable[[Any], None]


def resend(
    registry: Registry, ping_timeout_seconds: float, session: Session, send: Send, received_at: float | None
) -> None:
    """`received_at`: when the connection before was heard last, by trio's clock; None for a session that is new."""
    if received_at is not None:
        _tell_call_end(session, send, received_at - ping_timeout_seconds)
    _tell_ringing(registry, session, send)
    _tell_of_viewers(registry, session)


def _tell_call_end(session: Session, send: Send, moment: float) -> None:
    """How a call ended since then, which the connection before may not have delivered.

    It can have been dead for as long as a ping may go unanswered.
    """
    event = session.call_end_since(moment)
    if event is not None:
        send(event)


def _tell_ringing(registry: Registry, session: Session, send: Send) -> None:
    """A user who comes back while their call rings hears it ring."""
    room = registry.call_of(session.user_id)
    for invitation in () if room is None else room.invitations():
        if invitation.user_id == session.user_id:
            send(invitation.event)


def _tell_of_viewers(registry: Registry, session: Session) -> None:
    """Let the owner of a live metered stream hear of its viewers: this connection knows of none."""
    room = registry.metered_stream_of(session.user_id)
    if room is not None and session.identity.overlay_of is None:
        room.inbox.deliver(inputs.OwnerConnected(session.member_id))
