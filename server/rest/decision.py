"""Validates an operator's decision about a payment or reversal: its reason and its idempotency key."""

from typing import Literal

from domain.ids import content_digest
from domain.refusals import Refusal
from domain.text import clean
from server.rest.request import Request
from server.rest.responses import invalid
from server.rest.strict_json import FieldError
from storage.idempotency import find_first_use
from storage.market.payment_settlements import Settlement


async def settlement_of(
    request: Request, action: Literal["credit", "reject", "release"], reason: str, *target: str
) -> Settlement | Refusal:
    """Build the settlement that an operator asks for.

    `target` identifies what is decided about; with `action` and `reason` it makes the content of the idempotency key.
    Refuses a reason without a visible character, and then the key of another decision.
    Raises StorageUnavailable.
    """
    reason = clean(reason)
    if not reason:
        return invalid(FieldError("reason", "must have a visible character"))
    content = content_digest("settle", *target, action, reason)
    known = await find_first_use(request.context.postgres, request.user_key, content)
    if isinstance(known, Refusal):
        return known
    return Settlement(action=action, reason=reason, operator_id=request.user_id, key=request.user_key, content=content)
