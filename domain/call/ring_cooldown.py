"""How long a fan waits before ringing a creator again after calls without a paid block (contract.md, Ringing)."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.instant import Duration, Instant, duration

FORGOTTEN_AFTER: Duration = duration(3600)
FIRST_WAIT: Duration = duration(10)  # after the second call without a block; doubles with each further one
MOST_WAITS = 10  # the longest wait, as a multiple of the cooldown
UNANSWERED = ("declined", "missed")
NOBODYS_FAULT = ("server_fault", "admin")


class PastCall(NamedTuple):
    """A call that has ended: when, the reason, and the number of its paid blocks."""

    ended_at: Instant
    end_reason: str
    blocks: int


def may_ring_at(past: Sequence[PastCall], now: Instant, cooldown: Duration) -> Instant | None:
    """Return when a fan may ring a creator again; None if they may now.

    `past` are their earlier calls, newest first. A call that was declined or missed costs the `cooldown`.
    Calls cancelled or ended otherwise without a block cost nothing the first time, then 10 s, and twice as long
    each further time, up to ten times the cooldown. A paid block, or an hour without a call, resets the count.
    """
    free_at, empty, later = now, list[Instant](), now
    for call in past:
        if call.blocks > 0 or later - call.ended_at > FORGOTTEN_AFTER:
            break
        later = call.ended_at
        if call.end_reason in UNANSWERED:
            free_at = max(free_at, call.ended_at + cooldown)
        elif call.end_reason not in NOBODYS_FAULT:
            empty.append(call.ended_at)
    if len(empty) > 1:
        wait = min(FIRST_WAIT << min(len(empty) - 2, 40), MOST_WAITS * cooldown)
        free_at = max(free_at, empty[0] + wait)
    return free_at if free_at > now else None
