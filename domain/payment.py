"""What somebody is told whose payment was not booked."""

from domain.instant import Instant, rfc3339
from domain.posting import Outcome, Receipt
from domain.refusals import Code, Refusal, insufficient_tokens

DAY = 24 * 3600 * 1_000_000

_REFUSALS = {
    Outcome.CONFLICT: Refusal(Code.IDEMPOTENCY_CONFLICT, "This key was used for something else"),
    Outcome.FENCED: Refusal(Code.OVERLOADED, "The room is being taken up again; try again in a moment"),
    Outcome.CLOSED: Refusal(Code.STREAM_ENDED, "It has ended"),
    Outcome.WITHDRAWN: Refusal(Code.DRAINING, "The server is shutting down; nothing was paid"),
    Outcome.OWNED: Refusal(Code.ALREADY_PURCHASED, "You have a ticket to this stream"),
}


def why_not_paid(receipt: Receipt, purpose: str, at: Instant) -> Refusal:
    """`purpose` completes the sentence "Need at least N tokens …"."""
    if receipt.outcome is Outcome.INSUFFICIENT:
        return insufficient_tokens(receipt.posting.tokens, receipt.debit_after or 0, purpose)
    if receipt.outcome is Outcome.LIMITED:
        figures = {"limit": receipt.day_limit, "spent": receipt.day_spent, "resetsAt": rfc3339(_next_day(at))}
        return Refusal(Code.SPEND_LIMIT, "It is more than you allow yourself today", figures)
    unknown = Refusal(Code.VALIDATION_FAILED, "This payment cannot be booked")
    return _REFUSALS.get(receipt.outcome, unknown)


def _next_day(at: Instant) -> Instant:
    """The next midnight in UTC."""
    return (at // DAY + 1) * DAY
