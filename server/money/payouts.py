"""A payout from its wish to its end: reserved, booked, settled by an operator, and given back if it was rejected.

Every step can be done again: what a crash cuts short is finished by the next look at it, under the same keys.
"""

import structlog

from domain.billing.posting import Kind, Outcome, Posting, Receipt
from domain.ids import PAYOUTS, PostingKey, UserId, content_digest, refund_key
from domain.refusals import Code, Refusal, insufficient_tokens
from server.context import House
from server.ids import new_uuid
from storage.market.payouts import (
    CONFLICT,
    NewPayout,
    Payout,
    find_payout,
    give_up_payout,
    mark_given_back,
    payouts_owed_back,
    reserve_payout,
    unbooked_payouts,
)

log = structlog.get_logger(__name__)


async def request_payout(house: House, creator_id: UserId, tokens: int, key: PostingKey) -> Payout | Refusal:
    """Take the tokens out of the wallet, once under this key. Raises StorageUnavailable."""
    for left in await unbooked_payouts(house.postgres, creator_id):
        await _book(house, left)
    terms = house.settings.payouts
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
    wish = await reserve_payout(house.postgres, new)
    if isinstance(wish, Refusal) or wish.balance_after is not None:
        return wish
    return await _book(house, wish)


async def give_back(house: House, payout: Payout) -> None:
    """The tokens of a rejected payout, once. Raises StorageUnavailable."""
    posting = Posting(
        key=refund_key(payout.posting_key),
        kind=Kind.REFUND,
        debit=PAYOUTS,
        credit=payout.creator_id,
        tokens=payout.tokens - payout.cut_tokens,
        ref_id=payout.id,
        content=payout.posting_key,  # as of every refund: what it gives back
    )
    if (await house.actor.post([posting]))[0].paid:
        await mark_given_back(house.postgres, payout.id)
    else:
        log.error("payout.not_given_back", payout=str(payout.id))


async def give_back_rejected(house: House) -> None:
    """What a server that stopped halfway owes. Raises StorageUnavailable."""
    for payout in await payouts_owed_back(house.postgres):
        await give_back(house, payout)


async def _book(house: House, wish: Payout) -> Payout | Refusal:
    receipt = (await house.actor.post([_posting(wish)]))[0]
    if receipt.paid:
        booked = await find_payout(house.postgres, wish.id)
        assert booked is not None, "its posting is in the journal"
        return booked
    await give_up_payout(house.postgres, wish.id)
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
