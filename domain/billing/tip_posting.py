"""The ledger posting of a tip, and the answer to its sender."""

from typing import Any
from uuid import UUID

from domain.billing.posting import Kind, Posting
from domain.ids import RoomId, UserId, client_key, content_digest
from domain.protocol.commands import TipSend
from domain.text import clean


def tip_posting(
    *,
    giver: UserId,
    creator: UserId,
    command: TipSend,
    tip_id: UUID,
    room_id: RoomId | None = None,
    epoch: int = 0,
) -> Posting:
    """Build the posting of a tip, in a room or outside of any; its key is derived from the sender's own key.

    The key is the same over websocket and HTTP. The content covers what the command means (contract.md, Idempotency):
    the payee, the amount, the message and the room.
    """
    message = clean(command.message or "") or None
    content = content_digest("tip", str(creator), str(command.amount_tokens), message or "", str(room_id or ""))
    return Posting(
        key=client_key(giver, command.key),
        kind=Kind.TIP,
        debit=giver,
        credit=creator,
        tokens=command.amount_tokens,
        room_id=room_id,
        epoch=epoch,
        ref_id=tip_id,
        content=content,
        memo=message,
    )


def tip_result(posting: Posting, tip_id: UUID | None, balance: int | None, channel: str | None) -> dict[str, Any]:
    """Return the answer to the sender of a booked tip, the same for every request with its key."""
    tip = {
        "tipId": str(tip_id),
        "toCreatorId": str(posting.credit),
        "amountTokens": posting.tokens,
        "message": posting.memo,
        "channel": channel,
    }
    return {"tip": tip, "wallet": {"balance": balance}}
