"""Refunds blocks that are stored as due: a server had no time to refund them, or their payee could not cover them.

A payee who ends a call within `payee_end_seconds` of a block's start owes that block (contract.md, A payee who ends).
The room stores the refund as due before it posts it, so that neither a crash nor an empty wallet cancels it.
"""

from collections.abc import Sequence

import structlog

from domain.ids import PostingKey
from storage.ledger.actor import StorageActor
from storage.ledger.refunds_due import find_refunds_due, settle_refunds_due
from storage.postgres import Postgres

REASON = "the payee ended it"

log = structlog.get_logger(__name__)


async def give_back_blocks(postgres: Postgres, actor: StorageActor, blocks: Sequence[PostingKey]) -> None:
    """Refund blocks of one payee, given by their posting keys, and settle those that are refunded in full.

    A part that the payee cannot cover stays due: it is logged for operators, and tried again when the payee earns.
    Idempotent. Raises StorageUnavailable; the blocks then stay due. The same holds after cancellation.
    """
    refunded = await actor.refund(blocks, REASON)
    await settle_refunds_due(postgres, blocks)
    if refunded.uncovered:
        log.error("block.refund_uncovered", uncovered=refunded.uncovered)


async def give_back_due(postgres: Postgres, actor: StorageActor) -> None:
    """Refund the due blocks of all rooms, payee by payee. Called by maintenance. Raises StorageUnavailable."""
    for due in await find_refunds_due(postgres):
        await give_back_blocks(postgres, actor, due.paid)
