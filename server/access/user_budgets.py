"""Rate limits of a user over all devices together: joins, sessions, payments and other commands.

They come in addition to the limit of messages that each session has. The gateway calls both functions before it carries
out a command or opens a session.
"""

from domain.ids import UserId
from domain.protocol import commands as c
from domain.refusals import Code, Refusal
from server.access.rate_limits import Name, RateLimits, RateLimitsUnavailable, why_not
from server.access.tokens import Identity

# Each costs a database query, a stored record or a signature check. Sessions have a token bucket of their own, but a
# user may have several sessions.
COUNTED_AS_REQUESTS = (c.CallCommand, c.MemberMute, c.MemberRemove, c.TokenRefresh)


async def refuse_command(limits: RateLimits, identity: Identity, command: object) -> Refusal | None:
    """Count a command under the limit of the REST request that does the same, and return the refusal if it is over.

    Both transports share the buckets. Returns None for a command without a limit of the user, such as a chat message,
    which the room limits. A refused command was not carried out, and its refusal has `retryAfterSeconds`.
    Raises RateLimitsUnavailable.
    """
    if (name := _limit_of(command, identity.is_operator)) is None:
        return None
    taken = await limits.take(name, str(identity.user_id))
    if name == "join" and not taken.allowed:
        later = {"retryAfterSeconds": taken.more_after_seconds}
        return Refusal(Code.RATE_LIMITED, "Too many joins; wait a little", later)
    return why_not(taken)


def _limit_of(command: object, is_operator: bool) -> Name | None:
    match command:
        case c.RoomJoin():  # it is announced to the room, and so is the leave that follows
            return "join"
        case c.TipSend():
            return "user" if is_operator else "money"
        case _:
            return "user" if isinstance(command, COUNTED_AS_REQUESTS) else None


async def may_open(limits: RateLimits, user_id: UserId) -> bool:
    """Count one opened or resumed session, and return whether it is within the limit.

    A session costs queries, and presence events to the members of its rooms. Returns False if it cannot be counted.
    """
    try:
        return (await limits.take("open", str(user_id))).allowed
    except RateLimitsUnavailable:  # uncounted sessions are refused
        return False
