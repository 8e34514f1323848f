"""A plain model of the books: what the batch statement in SQL decides, decided here in memory.

It is the store of simulations, and what the statement is compared with: the same batch must have the same outcomes.
"""

from collections.abc import Iterable, Sequence

import msgspec

from domain.ids import LOSSES, PostingKey, RoomId, WalletId, refund_key, refund_rest_key
from domain.posting import MAX_BALANCE_TOKENS, Kind, Outcome, Posting, Receipt, fault_of


class Wallet(msgspec.Struct):
    """What one owner has; only a system wallet may owe. `n` counts its postings."""

    is_system: bool = False
    balance: int = 0
    n: int = 0
    lifetime_earned: int = 0
    lifetime_spent: int = 0


class RoomRow(msgspec.Struct):
    """Which ownership of a room may post, and whether any may."""

    epoch: int = 1
    ended: bool = False


class MeterRow(msgspec.Struct):
    """What one payer has paid for in one room."""

    last_block: int = 0
    tokens: int = 0


class LimitRow(msgspec.Struct):
    """What one user allows themselves today, and has spent of it; no limit is None."""

    tokens: int | None
    spent: int = 0


class Ledger:
    """Wallets, rooms, meters, tickets, limits, and a journal that only grows."""

    def __init__(self) -> None:
        self.wallets: dict[WalletId, Wallet] = {}
        self.rooms: dict[RoomId, RoomRow] = {}
        self.meters: dict[tuple[RoomId, WalletId], MeterRow] = {}
        self.tickets: dict[tuple[RoomId, WalletId], PostingKey] = {}  # the posting of each that is not refunded
        self.limits: dict[WalletId, LimitRow] = {}
        self.journal: dict[PostingKey, Receipt] = {}

    def apply(self, postings: Iterable[Posting]) -> list[Receipt]:
        """Decide a batch posting by posting, in order; each sees what those before it did."""
        return [self._apply_one(posting) for posting in postings]

    def _apply_one(self, posting: Posting) -> Receipt:
        if fault_of(posting) is not None:
            return Receipt(posting, Outcome.INVALID)  # no statement is sent for it, so that not even its key is read
        if (booked := self.journal.get(posting.key)) is not None:
            return _replayed(posting, booked)
        outcome = self._decide(posting)
        if outcome is Outcome.COMMITTED:
            return self._commit(posting)
        if outcome is Outcome.INSUFFICIENT:
            payer = self.wallets[posting.debit]
            return Receipt(posting, outcome, debit_after=payer.balance, debit_n=payer.n)
        if outcome is Outcome.LIMITED:
            limit = self.limits[posting.debit]
            return Receipt(posting, outcome, day_limit=limit.tokens, day_spent=limit.spent)
        return Receipt(posting, outcome)

    def _decide(self, posting: Posting) -> Outcome:
        """The outcome of a posting under a new key; the first thing that stands against it counts."""
        if not self._knows(posting):
            return Outcome.INVALID
        if posting.room_id is not None and posting.kind is not Kind.REFUND:
            room = self.rooms[posting.room_id]
            if room.ended:
                return Outcome.CLOSED
            if room.epoch != posting.epoch and (posting.epoch or posting.block_no is not None):
                return Outcome.FENCED
            if posting.block_no is not None:
                meter = self.meters[posting.room_id, posting.debit]
                if posting.block_no != meter.last_block + 1:
                    return Outcome.GAP
            if posting.kind is Kind.TICKET and (posting.room_id, posting.debit) in self.tickets:
                return Outcome.OWNED
        if self._is_beyond_limit(posting):
            return Outcome.LIMITED
        payer, payee = self.wallets[posting.debit], self.wallets[posting.credit]
        if not payer.is_system and payer.balance < posting.tokens:
            return Outcome.INSUFFICIENT
        if max(posting.tokens - payer.balance, payee.balance + posting.tokens) > MAX_BALANCE_TOKENS:
            return Outcome.INVALID
        return Outcome.COMMITTED

    def _is_beyond_limit(self, posting: Posting) -> bool:
        limit = self.limits.get(posting.debit)
        if limit is None or limit.tokens is None or not posting.kind.is_spending:
            return False
        return posting.tokens > 0 and limit.spent + posting.tokens > limit.tokens

    def _knows(self, posting: Posting) -> bool:
        """Rows are made beforehand: the statement looks them up and makes none."""
        return (
            posting.debit in self.wallets
            and posting.credit in self.wallets
            and (posting.room_id is None or posting.room_id in self.rooms)
            and (posting.block_no is None or (posting.room_id, posting.debit) in self.meters)
        )

    def _commit(self, posting: Posting) -> Receipt:
        payer, payee = self.wallets[posting.debit], self.wallets[posting.credit]
        payer.balance -= posting.tokens
        payer.lifetime_spent += posting.tokens
        payer.n += 1
        payee.balance += posting.tokens
        payee.lifetime_earned += posting.tokens
        payee.n += 1
        if posting.room_id is not None and posting.block_no is not None:
            meter = self.meters[posting.room_id, posting.debit]
            meter.last_block = posting.block_no
            meter.tokens += posting.tokens
        if posting.room_id is not None and posting.kind is Kind.TICKET:
            self.tickets[posting.room_id, posting.debit] = posting.key
        if posting.kind.is_spending and posting.debit in self.limits:
            self.limits[posting.debit].spent += posting.tokens
        receipt = Receipt(posting, Outcome.COMMITTED, payer.balance, payee.balance, payer.n, payee.n, posting.ref_id)
        self.journal[posting.key] = receipt
        return receipt

    def refund(self, paid: Sequence[PostingKey]) -> list[Receipt]:
        """Give these back, each once: from who was paid what is there, the rest from the losses."""
        for key in paid:
            booked = self.journal.get(key)
            if booked is not None and booked.posting.kind.is_spending and not self._refunds([key]):
                self._reverse(booked.posting)
        return self._refunds(paid)

    def _refunds(self, paid: Iterable[PostingKey]) -> list[Receipt]:
        keys = [derived for key in paid for derived in (refund_key(key), refund_rest_key(key))]
        return [self.journal[key] for key in keys if key in self.journal]

    def _reverse(self, posting: Posting) -> None:
        there = min(posting.tokens, max(0, self.wallets[posting.credit].balance))
        for key, payer, tokens in (
            (refund_key(posting.key), posting.credit, there),
            (refund_rest_key(posting.key), LOSSES, posting.tokens - there),
        ):
            if tokens:
                self._apply_one(
                    Posting(
                        key=key,
                        kind=Kind.REFUND,
                        debit=payer,
                        credit=posting.debit,
                        tokens=tokens,
                        room_id=posting.room_id,
                        ref_id=posting.ref_id,
                        content=posting.key,
                    )
                )
        if posting.room_id is not None and self.tickets.get((posting.room_id, posting.debit)) == posting.key:
            del self.tickets[posting.room_id, posting.debit]

    def claim(self, room_id: RoomId) -> int:
        """A new owner takes the room: postings of the one before are fenced from here on. Returns its epoch."""
        room = self.rooms[room_id]
        room.epoch += 1
        return room.epoch

    def end(self, room_id: RoomId) -> None:
        """Nothing is booked in this room any more."""
        self.rooms[room_id].ended = True

    def allow(self, user_id: WalletId, tokens: int | None) -> None:
        """From here on a user may spend so much in a day, counting what they have spent of it already."""
        spent = [receipt.posting for receipt in self.journal.values() if receipt.posting.debit == user_id]
        self.limits[user_id] = LimitRow(tokens, sum(posting.tokens for posting in spent if posting.kind.is_spending))

    def total(self) -> int:
        """The sum over all wallets: always zero, since every token came out of a system wallet."""
        return sum(wallet.balance for wallet in self.wallets.values())


def _replayed(posting: Posting, booked: Receipt) -> Receipt:
    if _content(posting) != _content(booked.posting):
        return Receipt(posting, Outcome.CONFLICT)
    return msgspec.structs.replace(booked, posting=posting, outcome=Outcome.ALREADY)


def _content(posting: Posting) -> tuple[object, ...]:
    """What a key stands for. A replay may carry a new reference, memo or epoch: it is the same movement."""
    return (
        posting.kind,
        posting.debit,
        posting.credit,
        posting.tokens,
        posting.room_id,
        posting.block_no,
        posting.content,
    )
