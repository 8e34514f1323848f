"""The refusal that a payer receives when the posting of a payment was not committed."""

from domain.billing.posting import Outcome, Receipt
from domain.instant import Instant, next_day, rfc3339
from domain.refusals import FROZEN, KEY_IN_USE, Code, Refusal, insufficient_tokens, room_starting, spend_limit, unfit

RESTARTING = room_starting()

_REFUSALS = {
    Outcome.CONFLICT: KEY_IN_USE,
    Outcome.FENCED: RESTARTING,
    Outcome.CLOSED: Refusal(Code.STREAM_ENDED, "It has ended"),
    Outcome.WITHDRAWN: Refusal(Code.DRAINING, "The server is shutting down; nothing was paid"),
    Outcome.OWNED: Refusal(Code.ALREADY_PURCHASED, "You have a ticket to this stream"),
}


def why_not_paid(receipt: Receipt, purpose: str, at: Instant) -> Refusal:
    """Return the refusal for a receipt that is not `paid`.

    `purpose` completes the sentence "Need at least N tokens …"; `at` gives the day of a spending limit.
    """
    if receipt.outcome is Outcome.INSUFFICIENT:
        return insufficient_tokens(receipt.posting.tokens, receipt.debit_after or 0, purpose)
    if receipt.outcome is Outcome.LIMITED and receipt.day_limit is not None and receipt.day_limit < 0:
        return FROZEN
    if receipt.outcome is Outcome.LIMITED:
        return spend_limit(receipt.day_limit or 0, receipt.day_spent or 0, rfc3339(next_day(at)))
    unknown = unfit(("amountTokens", "cannot be booked"))
    return _REFUSALS.get(receipt.outcome, unknown)
