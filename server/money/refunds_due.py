"""Refunds blocks that are stored as due: a server had no time to refund them, or their payee could not cover them."""

from collections.abc import Sequence

import structlog

from domain.ids import PostingKey
from storage.ledger.actor import StorageActor
from storage.ledger.refunds_due import find_refunds_due, settle_refunds_due
from storage.postgres import Postgres

REASON = "the payee ended it"

log = structlog.get_logger(__name__)


async def give_back_blocks(postgres: Postgres, actor: StorageActor, blocks: Sequence[PostingKey]) -> None:
    """Refund blocks of one payee. A part that the payee cannot cover is logged for operators and tried again later.

    Idempotent. Raises StorageUnavailable.
    """
    refunded = await actor.refund(blocks, REASON)
    await settle_refunds_due(postgres, blocks)
    if refunded.uncovered:
        log.error("block.refund_uncovered", uncovered=refunded.uncovered)


async def give_back_due(postgres: Postgres, actor: StorageActor) -> None:
    """Refund all due blocks of all rooms. Raises StorageUnavailable."""
    for due in await find_refunds_due(postgres):
        await give_back_blocks(postgres, actor, due.paid)
