"""A plain model of the ledger: it decides in memory what the SQL statements decide.

Tests give the same batch to both and compare the outcomes.
"""

from collections.abc import Iterable, Sequence

import msgspec

from domain.amounts import MAX_BALANCE_TOKENS
from domain.billing.posting import Kind, Outcome, Posting, Receipt, fault_of
from domain.ids import (
    ESCROW,
    LOSSES,
    PAYOUTS,
    PostingKey,
    RoomId,
    UserId,
    WalletId,
    derived_key,
    refund_key,
    refund_rest_key,
    release_key,
)
from tests.model.cover import Cover, Funds
from tests.model.rows import SPENDING, Debt, LimitRow, MeterRow, Parts, RoomRow, Wallet, follows


class Ledger:
    """Wallets, rooms, meters, tickets, limits, debts, open payouts, and a journal that only grows."""

    def __init__(self) -> None:
        self.wallets: dict[WalletId, Wallet] = {}
        self.rooms: dict[RoomId, RoomRow] = {}
        self.meters: dict[tuple[RoomId, WalletId], MeterRow] = {}
        self.tickets: dict[tuple[RoomId, WalletId], PostingKey] = {}  # the posting of each that is not refunded
        self.limits: dict[WalletId, LimitRow] = {}
        self.debts: list[Debt] = []
        self.payouts: dict[PostingKey, int] = {}  # open ones, in the order of asking: what is left of each
        self.journal: dict[PostingKey, Receipt] = {}
        self.other_keys: set[PostingKey] = set()  # keys that clients used for something other than a posting
        self.parts: dict[PostingKey, tuple[Parts, Parts]] = {}  # of each posting: out of the payer, into the payee

    def apply(self, postings: Iterable[Posting]) -> list[Receipt]:
        """Decide a batch posting by posting, in order; each sees what those before it did."""
        return [self._apply_one(posting) for posting in postings]

    def _apply_one(self, posting: Posting) -> Receipt:
        if fault_of(posting) is not None:
            return Receipt(posting, Outcome.INVALID)  # no statement is sent for it, so its key is not read either
        if (booked := self.journal.get(posting.key)) is not None:
            return _replayed(posting, booked)
        if posting.key in self.other_keys:
            return Receipt(posting, Outcome.CONFLICT)
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
        """Return the outcome of a posting under a new key; the first reason against it counts."""
        if not self._knows(posting):
            return Outcome.INVALID
        if posting.room_id is not None and posting.kind < Kind.REFUND:
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
        if not payer.is_system and posting.kind is Kind.PAYOUT and payer.earned < posting.tokens:
            return Outcome.INSUFFICIENT
        if max(posting.tokens - payer.balance, payee.balance + posting.tokens) > MAX_BALANCE_TOKENS:
            return Outcome.INVALID
        return Outcome.COMMITTED

    def _is_beyond_limit(self, posting: Posting) -> bool:
        limit = self.limits.get(posting.debit)
        if limit is None or limit.tokens is None or posting.kind not in SPENDING:
            return False
        return posting.tokens > 0 and limit.spent + posting.tokens > limit.tokens

    def _knows(self, posting: Posting) -> bool:
        """Return whether the rows of a posting exist: the statement reads them and creates none."""
        return (
            posting.debit in self.wallets
            and posting.credit in self.wallets
            and (posting.room_id is None or posting.room_id in self.rooms)
            and (posting.block_no is None or (posting.room_id, posting.debit) in self.meters)
        )

    def _commit(self, posting: Posting, out: Parts | None = None, into: Parts | None = None) -> Receipt:
        """Book a posting and the postings that follow from it; parts that are not given follow from the wallets."""
        receipt = self._move(posting, *self._parts_of(posting, out, into))
        if posting.room_id is not None and posting.block_no is not None:
            meter = self.meters[posting.room_id, posting.debit]
            meter.last_block = posting.block_no
            meter.tokens += posting.tokens
        if posting.room_id is not None and posting.kind is Kind.TICKET:
            self.tickets[posting.room_id, posting.debit] = posting.key
        if posting.kind in SPENDING and posting.debit in self.limits:
            self.limits[posting.debit].spent += posting.tokens
        if posting.kind is Kind.PAYOUT:
            self.payouts[posting.key] = posting.tokens
        self._follow_up(posting)
        return receipt

    def _parts_of(self, posting: Posting, out: Parts | None, into: Parts | None) -> tuple[Parts, Parts]:
        payer, payee = self.wallets[posting.debit], self.wallets[posting.credit]
        if payer.is_system:
            out = Parts()
        elif out is None:
            takes_earned = posting.kind in (Kind.PAYOUT, Kind.REPAYMENT)
            out = Parts(0, posting.tokens) if takes_earned else payer.spend(posting.tokens)
        if payee.is_system:
            return out, Parts()
        return out, self._gained_parts(posting, out) if into is None else into

    def _gained_parts(self, posting: Posting, out: Parts) -> Parts:
        match posting.kind:
            case Kind.BLOCK | Kind.TIP | Kind.TICKET:
                return Parts(out.promotional, posting.tokens - out.promotional)
            case Kind.CREDIT:
                return Parts(posting.tokens, 0)
            case Kind.REFUND if posting.content in self.parts:  # of a payout: as the tokens were taken
                taken = self.parts[PostingKey(posting.content)][0]
                back = [self.parts[key][1] for key in self._given_back(PostingKey(posting.content))]
                earned = min(posting.tokens, taken.earned - sum(parts.earned for parts in back))
                promotional = taken.promotional - sum(parts.promotional for parts in back)
                return Parts(max(0, min(promotional, posting.tokens - earned)), max(0, earned))
        return Parts()

    def _given_back(self, paid: PostingKey) -> list[PostingKey]:
        return [
            key
            for key, receipt in self.journal.items()
            if receipt.posting.kind is Kind.REFUND and receipt.posting.content == paid
        ]

    def _move(self, posting: Posting, out: Parts, into: Parts) -> Receipt:
        payer, payee = self.wallets[posting.debit], self.wallets[posting.credit]
        for wallet, sign, parts in ((payer, -1, out), (payee, 1, into)):
            wallet.balance += sign * posting.tokens
            wallet.promotional += sign * parts.promotional
            wallet.earned += sign * parts.earned
            wallet.n += 1
        self._count_lifetime(posting, payer, payee)
        receipt = Receipt(posting, Outcome.COMMITTED, payer.balance, payee.balance, payer.n, payee.n, posting.ref_id)
        self.journal[posting.key] = receipt
        self.parts[posting.key] = (out, into)
        return receipt

    def _count_lifetime(self, posting: Posting, payer: Wallet, payee: Wallet) -> None:
        """Count what was paid and earned, less refunds; credits, purchases and payouts do not count."""
        earned = posting.tokens if posting.kind in SPENDING or posting.kind is Kind.RELEASE else 0
        spent = posting.tokens if posting.kind in SPENDING else 0
        if posting.kind is Kind.REFUND or posting.kind is Kind.REPAYMENT:
            payer.lifetime_earned -= 0 if payer.is_system else posting.tokens
            given_back = posting.kind is Kind.REFUND and posting.debit != PAYOUTS
            payee.lifetime_spent -= posting.tokens if given_back and not payee.is_system else 0
        payer.lifetime_spent += 0 if payer.is_system else spent
        payee.lifetime_earned += 0 if payee.is_system else earned

    def _follow_up(self, posting: Posting) -> None:
        """Book what follows: the release of a ticket to a released stream, and the repayment of the payee's debt."""
        room = None if posting.room_id is None else self.rooms[posting.room_id]
        if posting.credit == ESCROW and room is not None and room.released and room.creator is not None:
            self._release(posting, room.creator)
        payee, gained = self.wallets[posting.credit], self.parts[posting.key][1].earned
        if payee.owed and gained:
            tokens = min(payee.owed, gained)
            payee.owed -= tokens
            self._repay(posting.credit, tokens)
            key = derived_key("repayment", posting.key)
            repayment = follows(posting, key, Kind.REPAYMENT, posting.credit, LOSSES, tokens)
            self._move(repayment, Parts(0, tokens), Parts())

    def _repay(self, debtor: WalletId, tokens: int) -> None:
        for debt in self.debts:
            part = min(tokens, debt.tokens - debt.repaid) if debt.debtor == debtor else 0
            debt.repaid += part
            tokens -= part

    # Releases and refunds

    def release(self, stream: RoomId) -> None:
        """Credit the tickets of a stream to its creator from here on."""
        room = self.rooms[stream]
        room.released = True
        for (room_id, _), key in self.tickets.items():
            posting = self.journal[key].posting
            if room_id == stream and self._is_in_escrow(posting) and room.creator is not None:
                self._release(posting, room.creator)

    def _release(self, ticket: Posting, creator: UserId) -> None:
        promotional = self.parts[ticket.key][0].promotional
        released = follows(ticket, release_key(ticket.key), Kind.RELEASE, ESCROW, creator, ticket.tokens)
        self._commit(released, Parts(), Parts(promotional, ticket.tokens - promotional))

    def _is_in_escrow(self, posting: Posting) -> bool:
        return posting.credit == ESCROW and release_key(posting.key) not in self.journal

    def refund(
        self, paid: Sequence[PostingKey], *, advance: bool = True, most_advanced: int | None = None
    ) -> list[Receipt]:
        """Refund these, each once and in full: from escrow, or from what the payee has, and the rest from `losses`.

        Without `advance`, what the payee does not cover in full is not refunded. Nothing is refunded if `losses` would
        then have advanced more than `most_advanced` in total.
        """
        plan: list[tuple[Posting, Cover | None]] = []
        funds: Funds | None = None
        refundable = [key for key in dict.fromkeys(paid) if self._is_refundable(key)]
        for posting in (self.journal[key].posting for key in refundable):
            if self._is_in_escrow(posting):
                plan.append((posting, None))
                continue
            funds = funds or self._funds_of(self.payee(posting), advance)
            cover = funds.cover(posting.tokens, self.parts[posting.key][0].promotional)
            if cover.rest == 0 or advance:
                funds.take(cover)
                plan.append((posting, cover))
        missing = sum(cover.rest for _, cover in plan if cover is not None)
        advanced = sum(debt.tokens for debt in self.debts)
        if most_advanced is None or missing == 0 or advanced + missing <= most_advanced:
            for posting, decided in plan:
                self._reverse(posting, decided)
        return self._refunds(paid)

    def _funds_of(self, user_id: WalletId, with_payouts: bool) -> Funds:
        wallet = self.wallets[user_id]
        open_ = [left for key, left in self.payouts.items() if self.journal[key].posting.debit == user_id]
        return Funds(wallet.promotional, wallet.bought, wallet.earned, sum(open_) if with_payouts else 0)

    def _is_refundable(self, key: PostingKey) -> bool:
        booked = self.journal.get(key)
        is_payment = booked is not None and booked.posting.kind in SPENDING and booked.posting.tokens > 0
        return is_payment and not self._refunds([key])

    def payee(self, posting: Posting) -> WalletId:
        """Return the wallet that holds its tokens: a ticket's are in escrow until it is released to the creator."""
        released = self.journal.get(release_key(posting.key))
        return posting.credit if released is None else released.posting.credit

    def _refunds(self, paid: Iterable[PostingKey]) -> list[Receipt]:
        keys = [derived for key in paid for derived in (refund_key(key), refund_rest_key(key))]
        return [self.journal[key] for key in keys if key in self.journal]

    def _reverse(self, paid: Posting, cover: Cover | None) -> None:
        taken = self.parts[paid.key][0]
        if paid.kind is Kind.BLOCK and paid.room_id is not None:
            meter = self.meters[paid.room_id, paid.debit]
            meter.refunded_blocks += 1
            meter.refunded_tokens += paid.tokens
        if cover is None:
            self._give_back(paid, refund_key(paid.key), ESCROW, paid.tokens, Parts(), taken)
        else:
            payee = self.payee(paid)
            cut = self._cut_payouts(paid, payee, cover.payouts)
            earned = min(taken.earned, cover.other)
            if cover.tokens:
                back, out = Parts(cover.promotional, earned), Parts(cover.of_promotional, cover.of_earned + cut)
                self._give_back(paid, refund_key(paid.key), payee, cover.tokens, out, back)
            if cover.rest:
                back = Parts(taken.promotional - cover.promotional, taken.earned - earned)
                self._give_back(paid, refund_rest_key(paid.key), LOSSES, cover.rest, Parts(), back)
                self.debts.append(Debt(refund_rest_key(paid.key), payee, cover.rest))
                self.wallets[payee].owed += cover.rest
        if paid.room_id is not None and self.tickets.get((paid.room_id, paid.debit)) == paid.key:
            del self.tickets[paid.room_id, paid.debit]

    def _give_back(self, paid: Posting, key: PostingKey, payer: WalletId, tokens: int, out: Parts, back: Parts) -> None:
        self._commit(follows(paid, key, Kind.REFUND, payer, paid.debit, tokens), out, back)

    def _cut_payouts(self, paid: Posting, payee: WalletId, tokens: int) -> int:
        """Take so many tokens out of the payee's open payouts, the newest first."""
        cut = 0
        for key, left in reversed(list(self.payouts.items())):
            payout = self.journal[key].posting
            part = min(left, tokens - cut) if payout.debit == payee else 0
            if part:
                self.payouts[key] -= part
                cut_key = derived_key("payout cut", key, refund_key(paid.key))
                self._commit(follows(payout, cut_key, Kind.REFUND, PAYOUTS, payee, part), Parts(), Parts(0, part))
                cut += part
        return cut

    def claim(self, room_id: RoomId) -> int:
        """Give the room a new owner, which fences the postings of the former one; return the new epoch."""
        room = self.rooms[room_id]
        room.epoch += 1
        return room.epoch

    def end(self, room_id: RoomId) -> None:
        """Close the room: no posting of it is booked any more."""
        self.rooms[room_id].ended = True

    def allow(self, user_id: WalletId, tokens: int | None) -> None:
        """Set a user's daily limit from here on, counting what they have spent today already."""
        spent = [receipt.posting for receipt in self.journal.values() if receipt.posting.debit == user_id]
        self.limits[user_id] = LimitRow(tokens, sum(posting.tokens for posting in spent if posting.kind in SPENDING))

    def total(self) -> int:
        """Return the sum over all wallets: always zero, since every token came out of a system wallet."""
        return sum(wallet.balance for wallet in self.wallets.values())


def _replayed(posting: Posting, booked: Receipt) -> Receipt:
    if _content(posting) != _content(booked.posting):
        return Receipt(posting, Outcome.CONFLICT)
    return msgspec.structs.replace(booked, posting=posting, outcome=Outcome.ALREADY)


def _content(posting: Posting) -> tuple[object, ...]:
    """Return what a key stands for; a replay with another reference, memo or epoch is the same posting."""
    return (
        posting.kind,
        posting.debit,
        posting.credit,
        posting.tokens,
        posting.room_id,
        posting.block_no,
        posting.content,
    )
