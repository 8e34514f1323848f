"""Which commands a party may give to its call, and when."""

from domain.call.parties import Party, Role
from domain.call.record import CallRecord
from domain.instant import Instant
from domain.protocol import commands as c
from domain.refusals import Code, Refusal, too_early


def refuse_command(command: c.CallCommand, role: Role, call: CallRecord) -> Refusal | None:
    """Return why a party may not give this command now (contract.md, Call states), or None if it may.

    CALL_ENDED, FORBIDDEN if it is the other party's command, CALL_NOT_ACTIVE in the wrong state. `call:end` is accepted
    after the end, so that a retry succeeds.
    """
    if call.status == "ended":
        return None if isinstance(command, c.CallEnd) else Refusal(Code.CALL_ENDED, "The call has ended")
    match command:
        case c.CallAccept() | c.CallDecline() if role is not Role.CREATOR:
            return Refusal(Code.FORBIDDEN, "Only the creator may do this")
        case c.CallCancel() if role is not Role.FAN:
            return Refusal(Code.FORBIDDEN, "Only the fan may do this")
        case c.CallAccept() | c.CallDecline() | c.CallCancel() if call.accepted_at is not None:
            return Refusal(Code.CALL_NOT_ACTIVE, "The call does not ring any more")
        case c.CallPause() | c.CallResume() if call.started_at is None:
            return Refusal(Code.CALL_NOT_ACTIVE, "The call has not begun")
        case c.CallResume() if _only_the_other_paused(role, call):
            return Refusal(Code.FORBIDDEN, "Only the party that paused the call may resume it")
    return None


def refuse_hurry(command: c.CallCommand, party: Party, at: Instant) -> Refusal | None:
    """Return RATE_LIMITED if a party ends its own pause too soon after many others, or None.

    A pause is never refused, since nobody is billed against their will; limiting the ends of pauses limits both.
    """
    if isinstance(command, c.CallResume) and party.paused_at is not None and (wait := party.resumes.wait(1, at)):
        return too_early("You pause and resume too often; resume a little later", wait)
    return None


def _only_the_other_paused(role: Role, call: CallRecord) -> bool:
    mine, others = call.fan_paused_at, call.creator_paused_at
    if role is Role.CREATOR:
        mine, others = others, mine
    return mine is None and others is not None
