"""Repeated tips, over REST and the websocket: finds the first result of an idempotency key."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from domain.billing.tip_posting import tip_posting, tip_result
from domain.ids import RoomId, UserId, client_key
from domain.protocol.commands import TipSend
from domain.refusals import KEY_IN_USE, Refusal
from server.ids import is_channel
from storage.idempotency import FirstUse, find_first_use, is_used
from storage.postgres import Postgres
from storage.rooms.tips import find_tipped


class Tipped(NamedTuple):
    """The receiver and the room of a tip."""

    creator_id: UserId
    room_id: RoomId | None
    channel: str | None


async def recall(postgres: Postgres, user_id: UserId, command: TipSend, tipped: Tipped | None, refusal: Refusal) -> Any:
    """Return the first result of a used idempotency key, or `refusal` for a new key. Raises StorageUnavailable.

    `tipped` is None if this user may not know of the room: then a used key was used for another request.
    """
    if tipped is None:
        return KEY_IN_USE if await is_used(postgres, client_key(user_id, command.key)) else refusal
    posting = tip_posting(
        giver=user_id, creator=tipped.creator_id, command=command, tip_id=user_id, room_id=tipped.room_id
    )
    match await find_first_use(postgres, posting.key, posting.content):
        case FirstUse() as first:
            return tip_result(posting, first.ref_id, first.debit_after, tipped.channel)
        case Refusal() as conflict:
            return conflict
    return refusal


def recall_in_room(postgres: Postgres, user_id: UserId, command: TipSend) -> Callable[[Refusal], Awaitable[Any]]:
    """Return `recall` bound to a tip into a room, which also finds the result after the room has ended."""

    async def find_first_result(refusal: Refusal) -> Any:
        found = await find_tipped(postgres, command.channel) if is_channel(command.channel) else None
        tipped = None if found is None else Tipped(*found, command.channel)
        return await recall(postgres, user_id, command, tipped, refusal)

    return find_first_result
