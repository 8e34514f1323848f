"""Payouts: reserved, booked, settled by an operator, and returned if rejected.

A payout is first stored as reserved, so that its terms are fixed, and then booked: a posting moves the tokens from the
creator's wallet to the system wallet PAYOUTS. The server pays nobody; an operator does, and then settles the payout.
Every step is idempotent under its posting key, so the next request or maintenance round completes one that a crash
interrupted.
"""

import structlog

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PAYOUTS, PostingKey, UserId, content_digest, refund_key
from domain.refusals import KEY_IN_USE, Code, Refusal, insufficient_tokens
from server.config.packs import PayoutSettings
from server.ids import new_uuid
from storage.ledger.actor import StorageActor
from storage.market.payouts import (
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
    """Requests, books and returns payouts on the terms of `[payouts]`.

    REST routes call it, and maintenance calls `give_back_rejected`. The storage of settlements is in
    `storage/market/payouts.py`.
    """

    def __init__(self, postgres: Postgres, actor: StorageActor, terms: PayoutSettings) -> None:
        self._postgres = postgres
        self._actor = actor
        self._terms = terms

    async def request(self, creator_id: UserId, tokens: int, key: PostingKey) -> Payout | Refusal:
        """Move tokens from the creator's wallet to a payout, once under this key.

        First books payouts of this creator that a crash left reserved, whose tokens are still in the wallet.
        Returns the refusal if the terms or the balance do not allow the payout, and the earlier payout if the key was
        used for the same request. Raises StorageUnavailable; after that or a cancellation the payout may be reserved or
        booked, and the same request under the same key returns it.
        """
        for unbooked in await unbooked_payouts(self._postgres, creator_id):
            await self._book(unbooked)
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
        reserved = await reserve_payout(self._postgres, new)
        if isinstance(reserved, Refusal) or reserved.balance_after is not None:  # refused, or booked before
            return reserved
        return await self._book(reserved)

    async def give_back(self, payout: Payout) -> None:
        """Return the tokens of a rejected payout to the creator's wallet, once; they repay debts first.

        `cut_tokens`, by which refunds have reduced the payout, are not returned. A failure that is no outage is logged
        for operators, and maintenance tries again. Raises StorageUnavailable.
        """
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

    async def _book(self, reserved: Payout) -> Payout | Refusal:
        """Post a reserved payout; abandon it if the posting is refused, so that its key can be used again."""
        receipt = (await self._actor.post([_posting(reserved)]))[0]
        if receipt.paid:
            booked = await find_payout(self._postgres, reserved.id)
            assert booked is not None, "its posting is in the journal"
            return booked
        await abandon_payout(self._postgres, reserved.id)
        return _refusal(receipt)


def _posting(reserved: Payout) -> Posting:
    return Posting(
        key=reserved.posting_key,
        kind=Kind.PAYOUT,
        debit=reserved.creator_id,
        credit=PAYOUTS,
        tokens=reserved.tokens,
        ref_id=reserved.id,
        content=content_digest("payout"),
    )


def _refusal(receipt: Receipt) -> Refusal:
    match receipt.outcome:
        case Outcome.CONFLICT:
            return KEY_IN_USE
        case Outcome.INSUFFICIENT:
            return insufficient_tokens(receipt.posting.tokens, receipt.debit_after or 0, "to cash them out")
    return Refusal(Code.INTERNAL, "The payout could not be booked")
