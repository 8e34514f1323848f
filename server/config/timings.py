"""The times of this server of which clients see the effect."""

import msgspec

from server.config.settings import Settings


class Timings(msgspec.Struct, frozen=True, rename="camel"):
    """The times of this server that a client shows or waits for, in seconds."""

    ring_seconds: float
    join_seconds: float
    drop_grace_seconds: float
    drop_limit_seconds: float
    pause_limit_seconds: float
    payee_end_seconds: float
    storage_grace_seconds: float
    ring_cooldown_seconds: float
    presence_seconds: float
    ping_timeout_seconds: float
    session_seconds: float
    stream_drop_limit_seconds: float
    ticket_release_seconds: float


def timings_of(settings: Settings) -> Timings:
    """Return the times in these settings."""
    calls, websocket, streams = settings.calls, settings.websocket, settings.streams
    return Timings(
        ring_seconds=calls.ring_seconds,
        join_seconds=calls.join_seconds,
        drop_grace_seconds=calls.drop_grace_seconds,
        drop_limit_seconds=calls.drop_limit_seconds,
        pause_limit_seconds=calls.pause_limit_seconds,
        payee_end_seconds=calls.payee_end_seconds,
        storage_grace_seconds=calls.storage_grace_seconds,
        ring_cooldown_seconds=calls.ring_cooldown_seconds,
        presence_seconds=websocket.presence_seconds,
        ping_timeout_seconds=websocket.ping_timeout_seconds,
        session_seconds=websocket.session_seconds,
        stream_drop_limit_seconds=streams.stream_drop_limit_seconds,
        ticket_release_seconds=streams.ticket_release_seconds,
    )
