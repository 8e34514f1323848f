"""What a tip is to the books."""

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
    """The posting of a tip, in a room or outside of any; its key is the giver's own, over whichever way it came.

    The content is the resolved meaning (CONTRACT §3): the payee, the amount, the words and the room.
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
    """What a tip's giver is told: the first time, and whenever the same key comes again."""
    tip = {
        "tipId": str(tip_id),
        "toCreatorId": str(posting.credit),
        "amountTokens": posting.tokens,
        "message": posting.memo,
        "channel": channel,
    }
    return {"tip": tip, "wallet": {"balance": balance}}
