"""Payouts: reserved, booked, settled by an operator, and returned if rejected.

Every step is idempotent under its posting key, so the next request or maintenance round completes one that a crash
interrupted.
"""

import structlog

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PAYOUTS, PostingKey, UserId, content_digest, refund_key
from domain.refusals import Code, Refusal, insufficient_tokens
from server.config.packs import PayoutSettings
from server.ids import new_uuid
from storage.ledger.actor import StorageActor
from storage.market.payouts import (
    CONFLICT,
    NewPayout,
    Payout,
    abandon_payout,
    find_payout,
    mark_given_back,
    payouts_owed_back,
    reserve_payout,
    unbooked_payouts,
)
from storage.postgres import Postgres

log = structlog.get_logger(__name__)


class Payouts:
    """Requests, books and returns payouts on the terms of `[payouts]`."""

    def __init__(self, postgres: Postgres, actor: StorageActor, terms: PayoutSettings) -> None:
        self._postgres = postgres
        self._actor = actor
        self._terms = terms

    async def request(self, creator_id: UserId, tokens: int, key: PostingKey) -> Payout | Refusal:
        """Move tokens from the creator's wallet to a payout, once under this key.

        First books payouts of this creator that a crash left reserved. Returns the refusal if the terms or the balance
        do not allow the payout. Raises StorageUnavailable; cancelled, the payout may be reserved or booked.
        """
        for left in await unbooked_payouts(self._postgres, creator_id):
            await self._book(left)
        terms = self._terms
        new = NewPayout(
            id=new_uuid(),
            creator_id=creator_id,
            posting_key=key,
            tokens=tokens,
            min_tokens=terms.min_tokens,
            holding_days=terms.holding_days,
            cents=tokens * terms.cents_per_token,
            currency=terms.currency,
        )
        wish = await reserve_payout(self._postgres, new)
        if isinstance(wish, Refusal) or wish.balance_after is not None:
            return wish
        return await self._book(wish)

    async def give_back(self, payout: Payout) -> None:
        """Return the tokens of a rejected payout, once. Raises StorageUnavailable."""
        posting = Posting(
            key=refund_key(payout.posting_key),
            kind=Kind.REFUND,
            debit=PAYOUTS,
            credit=payout.creator_id,
            tokens=payout.tokens - payout.cut_tokens,
            ref_id=payout.id,
            content=payout.posting_key,  # as of every refund: the key of the refunded posting
        )
        if (await self._actor.post([posting]))[0].paid:
            await mark_given_back(self._postgres, payout.id)
        else:
            log.error("payout.not_given_back", payout=str(payout.id))

    async def give_back_rejected(self) -> None:
        """Return the tokens of all rejected payouts that a crash left unreturned. Raises StorageUnavailable."""
        for payout in await payouts_owed_back(self._postgres):
            await self.give_back(payout)

    async def _book(self, wish: Payout) -> Payout | Refusal:
        receipt = (await self._actor.post([_posting(wish)]))[0]
        if receipt.paid:
            booked = await find_payout(self._postgres, wish.id)
            assert booked is not None, "its posting is in the journal"
            return booked
        await abandon_payout(self._postgres, wish.id)
        return _refusal(receipt)


def _posting(wish: Payout) -> Posting:
    return Posting(
        key=wish.posting_key,
        kind=Kind.PAYOUT,
        debit=wish.creator_id,
        credit=PAYOUTS,
        tokens=wish.tokens,
        ref_id=wish.id,
        content=content_digest("payout"),
    )


def _refusal(receipt: Receipt) -> Refusal:
    match receipt.outcome:
        case Outcome.CONFLICT:
            return CONFLICT
        case Outcome.INSUFFICIENT:
            return insufficient_tokens(receipt.posting.tokens, receipt.debit_after or 0, "to cash them out")
    return Refusal(Code.INTERNAL, "The payout could not be booked")
