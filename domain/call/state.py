"""A call's state in one place, gathered from those who keep its parts."""

from domain.billing.meter import Meter
from domain.call.parties import Parties
from domain.call.record import CallRecord, Status
from domain.call.setup import CallSetup
from domain.instant import Instant
from domain.room.termination import Termination


def record_of(
    beginning: CallSetup, termination: Termination, parties: Parties, meter: Meter, at: Instant
) -> CallRecord:
    """The state to store; its active time never passes what was paid."""
    return CallRecord(
        status=_status(beginning, termination, parties),
        accepted_at=beginning.accepted_at,
        started_at=beginning.started_at,
        ended_at=termination.ended_at,
        end_reason=termination.reason,
        fan_paused_at=parties.fan.paused_at,
        creator_paused_at=parties.creator.paused_at,
        fan_paused=parties.fan.paused_before,
        creator_paused=parties.creator.paused_before,
        holds=tuple(parties.standing()),
        active=meter.billed_active(at),
        set_back=meter.set_back,
    )


def _status(beginning: CallSetup, termination: Termination, parties: Parties) -> Status:
    if termination.ended_at is not None:
        return "ended"
    if beginning.ringing:
        return "ringing"
    return "paused" if parties.holds else "active"
