"""A model of the platform: its users buy, earn, cash out and cheat on the ledger model, within the server's rules."""

from collections.abc import Iterable
from uuid import UUID

from domain.billing.block import BlockPrice
from domain.billing.posting import Kind, Posting, Receipt
from domain.ids import (
    ESCROW,
    PAYOUTS,
    PROMOTIONS,
    TOKEN_SALES,
    PostingKey,
    UserId,
    client_key,
    purchase_key,
    refund_key,
)
from domain.protocol import commands as c
from domain.room import inputs
from domain.stream.record import StreamRecord
from tests.colluders.rooms import CallRoom, Room, StreamRoom
from tests.colluders.world import World
from tests.domain.story import FakeReply, device
from tests.domain.stream_rows import person
from tests.model.rows import LimitRow

PACKS = {100: 699, 500: 3299, 1000: 6299}  # cents by tokens, as in config.toml
CENTS_PER_TOKEN = 5  # of a payout
FROZEN = -1  # the daily spend limit that marks a frozen wallet


class PlatformModel(World):
    """The actions of users, operators and the provider that concern money or other users."""

    def __init__(self, users: int) -> None:
        super().__init__(users)
        self.purchases: dict[PostingKey, tuple[UserId, int]] = {}  # tokens of each that is not reversed
        self.bought_cents = self.reversed_cents = self.cashed_cents = 0
        self.lost_cents = 0  # of reversed purchases

    # Money

    def post(self, user_id: UserId, kind: Kind, debit: UserId, credit: UserId, tokens: int, name: str) -> Receipt:
        posting = Posting(
            key=client_key(user_id, name),
            kind=kind,
            debit=debit,
            credit=credit,
            tokens=tokens,
            ref_id=UUID(int=self.next_number()),
        )
        (receipt,) = self.ledger.apply([posting])
        self.changed += [debit, credit]
        return receipt

    def buy(self, user_id: UserId, tokens: int) -> None:
        key = purchase_key("stripe", UUID(int=self.next_number()))
        bought = Posting(key=key, kind=Kind.PURCHASE, debit=TOKEN_SALES, credit=user_id, tokens=tokens)
        assert self.ledger.apply([bought, bought])[0].paid
        self.purchases[key] = (user_id, tokens)
        self.bought_cents += PACKS[tokens]
        self.changed.append(user_id)

    def reverse_purchase(self, key: PostingKey) -> None:
        """Charge a payment back: freeze the wallet, and count its spent tokens as lost."""
        user_id, tokens = self.purchases.pop(key)
        self.reversed_cents += PACKS[tokens]
        self.lost_cents += PACKS[tokens]  # the rest is in a frozen wallet, which is no loss yet
        self.frozen.add(user_id)
        spent = self.ledger.limits.get(user_id, LimitRow(None)).spent
        self.ledger.limits[user_id] = LimitRow(FROZEN, spent)

    def thaw(self, user_id: UserId) -> None:
        self.frozen.discard(user_id)
        self.ledger.allow(user_id, None)

    def gift(self, user_id: UserId, tokens: int) -> None:
        """Credit promotional tokens as an operator."""
        self.post(user_id, Kind.CREDIT, PROMOTIONS, user_id, tokens, f"gift {self.next_number()}")

    def correct(self, user_id: UserId, tokens: int) -> None:
        """Debit tokens as an operator, never below zero."""
        self.post(user_id, Kind.CREDIT, user_id, PROMOTIONS, tokens, f"correction {self.next_number()}")

    def tip(self, payer: UserId, payee: UserId, tokens: int, key: str) -> None:
        """Tip a creator outside a room."""
        if payer != payee and payer not in self.banned and (payee, payer) not in self.blocks:
            receipt = self.post(payer, Kind.TIP, payer, payee, tokens, key)
            if receipt.paid and receipt.ref_id is not None:
                self.accountant.note_tip(payer, receipt.ref_id, tokens)

    def request_payout(self, user_id: UserId, tokens: int) -> None:
        if user_id not in self.frozen and user_id not in self.banned:
            self.post(user_id, Kind.PAYOUT, user_id, PAYOUTS, tokens, f"payout {self.next_number()}")

    def settle_payout(self, key: PostingKey, paid: bool) -> None:
        left = self.ledger.payouts.pop(key)
        payout = self.ledger.journal[key].posting
        if paid:
            self.cashed_cents += CENTS_PER_TOKEN * left
        elif left:
            back = Posting(
                key=refund_key(key), kind=Kind.REFUND, debit=PAYOUTS, credit=payout.debit, tokens=left, content=key
            )
            assert self.ledger.apply([back])[0].paid
        self.changed.append(payout.debit)

    def refund(self, keys: Iterable[PostingKey], *, advance: bool) -> None:
        """Refund these postings as an operator; rooms are informed of refunded tickets."""
        receipts = self.ledger.refund(list(keys), advance=advance, most_advanced=2000)
        for key in {PostingKey(receipt.posting.content or b"") for receipt in receipts}:
            paid = self.ledger.journal[key].posting
            self.changed += [paid.debit, receipts[0].posting.debit]
            for room in self.open_rooms():
                if room.id == paid.room_id and paid.kind is Kind.TICKET and paid.ref_id is not None:
                    self.give(room, inputs.TicketRefunded(paid.debit, paid.ref_id))

    # Tickets

    def buy_ticket(self, user_id: UserId, stream: StreamRoom) -> None:
        is_banned = user_id in self.banned or (stream.payee, user_id) in self.blocks
        if stream.ticket is None or stream.committer.stored.status == "ended" or user_id == stream.payee or is_banned:
            return
        posting = Posting(
            key=client_key(user_id, f"ticket {self.next_number()}"),
            kind=Kind.TICKET,
            debit=user_id,
            credit=ESCROW,
            tokens=stream.ticket,
            room_id=stream.id,
            ref_id=UUID(int=self.next_number()),
        )
        (receipt,) = self.ledger.apply([posting])
        self.changed.append(user_id)
        if receipt.paid and posting.ref_id is not None:
            self.accountant.note_ticket(user_id, posting.ref_id, posting.tokens)
            if stream.live:
                self.give(stream, inputs.TicketSold(user_id, posting.ref_id))

    def cancel(self, stream: StreamRoom) -> None:
        """Cancel a stream that was never started."""
        stream.committer.stored = StreamRecord(status="ended", end_reason="cancelled")
        self.ledger.end(stream.id)
        self.settle_tickets()

    # Blocks, removals and bans

    def block(self, by: UserId, user_id: UserId) -> None:
        """End the call of both, evict the user from the other's streams, and refund their tickets."""
        if by == user_id:
            return
        self.blocks.add((by, user_id))
        for room in self.rooms:
            if isinstance(room, StreamRoom) and room.payee == by:
                room.blocked.add(user_id)
                if room.opened and not room.ended:
                    self.accountant.note_eviction(room, user_id, may_return=True)
                    self.give(room, inputs.UserBlocked(user_id))
                if not room.ended:
                    for arrival in room.committer.refund_ticket(user_id):
                        if room.opened:
                            self.give(room, arrival)
        call = self.call_of(by)
        if call is not None and user_id in (call.fan, call.payee):
            self.give(call, inputs.UserBlocked(user_id))

    def remove(self, stream: StreamRoom, user_id: UserId) -> None:
        """Remove a viewer from a stream for good, as its owner."""
        self.accountant.note_eviction(stream, user_id, may_return=False)
        command = c.MemberRemove(channel=stream.facts.channel, user_id=user_id)
        owner, new_id = stream.payee, UUID(int=self.next_number())
        action = inputs.RoomAction(person(owner), stream.member_of(owner)[0], command, new_id, FakeReply())
        self.give(stream, action)

    def unblock(self, by: UserId, user_id: UserId) -> None:
        self.blocks.discard((by, user_id))
        for room in self.rooms:
            if isinstance(room, StreamRoom) and room.payee == by:
                room.blocked.discard(user_id)
                if room.opened and not room.ended:
                    self.give(room, inputs.UserBlocked(user_id, blocked=False))

    def ban(self, user_id: UserId) -> None:
        """Close the user's sessions and end their rooms."""
        self.banned.add(user_id)
        for room in self.open_rooms():
            for member_id in room.member_of(user_id):
                self.give(room, inputs.Left(member_id))
            if user_id == room.payee or (isinstance(room, CallRoom) and user_id == room.fan):
                self.give(room, inputs.EndNow("admin"))

    # Rooms

    def ring(self, fan: UserId, creator: UserId, price: BlockPrice) -> None:
        free = fan != creator and self.call_of(fan) is None and self.call_of(creator) is None
        allowed = not {fan, creator} & self.banned and (creator, fan) not in self.blocks and fan not in self.frozen
        if free and allowed and self.stream_of(creator) is None and self.balance(fan) >= price.tokens(1):
            call = CallRoom(self.ledger, self.next_number(), fan, creator, price, self.now, self.accountant)
            self.rooms.append(call)
            self.accountant.open(call)

    def announce(self, creator: UserId, price: BlockPrice | None, ticket: int | None) -> None:
        number = self.next_number()
        stream = StreamRoom(self.ledger, number, creator, price, ticket, self.now, self.accountant)
        stream.blocked = {user_id for by, user_id in self.blocks if by == creator}
        self.rooms.append(stream)

    def start(self, stream: StreamRoom) -> None:
        if self.stream_of(stream.payee) is None and self.call_of(stream.payee) is None:
            self.accountant.open(stream)
            stream.start(self.now)

    def join(self, user_id: UserId, room: Room, number: int) -> None:
        if user_id in self.banned:
            return
        self.return_to_rooms(user_id)
        viewing = room.ask(user_id) if isinstance(room, StreamRoom) else None
        self.give(room, inputs.Joined(device(user_id, number), user_id, FakeReply(), False, viewing))
