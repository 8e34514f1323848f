"""What one user may cause over all their devices together: joins that others hear of, and sessions that are opened."""

from domain.ids import UserId
from domain.refusals import Code, Refusal
from server.limits import Limits, LimitsAway

NOT_COUNTED = Refusal(Code.OVERLOADED, "Joins cannot be counted now; try again")


async def refuse_join(limits: Limits, user_id: UserId) -> Refusal | None:
    """Count one `room:join`: others in the room are told of it, and of the leave that follows."""
    try:
        taken = await limits.take("join", str(user_id))
    except LimitsAway:
        return NOT_COUNTED
    if taken.allowed:
        return None
    later = {"retryAfterSeconds": taken.more_after_seconds}
    return Refusal(Code.RATE_LIMITED, "Too many joins; wait a little", later)


async def may_open(limits: Limits, user_id: UserId) -> bool:
    """Count one session that is opened or resumed: it costs look-ups, and rooms and an owner's viewers are told."""
    try:
        return (await limits.take("open", str(user_id))).allowed
    except LimitsAway:  # whom nobody can count does not get in
        return False
