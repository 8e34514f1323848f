"""A call's state in one place, gathered from those who keep its parts."""

from domain.billing.meter import Meter
from domain.call.parties import Parties
from domain.call.record import CallRecord, Status
from domain.call.setup import Beginning
from domain.instant import Instant
from domain.room.termination import Closing


def record_of(beginning: Beginning, closing: Closing, parties: Parties, meter: Meter, at: Instant) -> CallRecord:
    """The state to store; its active time never passes what was paid."""
    return CallRecord(
        status=_status(beginning, closing, parties),
        accepted_at=beginning.accepted_at,
        started_at=beginning.started_at,
        ended_at=closing.ended_at,
        end_reason=closing.reason,
        fan_paused_at=parties.fan.paused_at,
        creator_paused_at=parties.creator.paused_at,
        fan_paused=parties.fan.paused_before,
        creator_paused=parties.creator.paused_before,
        holds=tuple(parties.standing()),
        active=meter.billed_active(at),
        set_back=meter.set_back,
    )


def _status(beginning: Beginning, closing: Closing, parties: Parties) -> Status:
    if closing.ended_at is not None:
        return "ended"
    if beginning.ringing:
        return "ringing"
    return "paused" if parties.holds else "active"
